"""Which objects have no plain MD5, as the engine's requests tell it while it compares. Pure.

The listing has the MD5 of what came in one piece. Of what did not, the engine asks the store by a request of its own (HEAD), and then goes by the checksum that
whoever wrote the object has put beside it: that one says what was sent, and nothing of what lies there (law L4).

Assumptions: the engine asks for an object so exactly when the listing has no plain MD5 of it, unless it is told to list nothing (`--no-traverse`).
"""

from urllib.parse import unquote_to_bytes

from datamover.agent.files import names

TELLING = {"RCLONE_LOG_LEVEL": "DEBUG", "RCLONE_DUMP": "headers"}
"""What has the engine log its requests."""
WORD = b'"msg":"HEAD /'
"""What the lines about these requests have in them."""


def is_asking(message: str) -> bool:
    """Tell whether the engine logged such a request."""
    return message.startswith("HEAD /")


def key_of(request: str, *, target: str) -> bytes | None:
    """Return the key below `target` (`remote:bucket/folder/`) that a dumped HEAD request is about, None for another one.

    Where the store's spelling of a name is not the engine's (bytes that are not UTF-8), the key is of no file; the caller counts.
    """
    bucket, _, folder = target.partition(":")[2].partition("/")
    head, _, rest = request.partition("\r\n")
    path = unquote_to_bytes(head.split(" ")[1].partition("?")[0]).removeprefix(b"/")
    if not any(line.lower().startswith(f"host: {bucket.lower()}.") for line in rest.split("\r\n")):
        path = path.removeprefix(bucket.encode() + b"/")
    start = folder.encode()
    if not path.startswith(start) or path == start:
        return None
    return names.key_of(path[len(start) :])
