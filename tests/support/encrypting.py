"""A bucket with default encryption by a key service, as AWS has it: before an S3 server stands a proxy that makes every answer look so.

What differs from a plain bucket: the ETag of an object is 32 hex digits that are no MD5 of it (for one in parts with `-N` behind), in every
answer that has one, and the answers about an object name the encryption. Parts of an upload keep theirs: nobody looks at them.
"""

import asyncio
import contextlib
import hashlib
import re

from support.proxy import Proxy

KEY = b"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_ETAG = re.compile(rb'(?i)(\r\netag: "?|<ETag>(?:&#34;|&quot;|")?)([0-9a-f]{32})')


def disguise(etag: bytes) -> bytes:
    """Return the ETag that stands for a real one: always the same, and no MD5 of anything that is stored."""
    return hashlib.md5(b"wrapped with a data key" + etag).hexdigest().encode()


class EncryptingStore(Proxy):
    """See the module. `algorithm` is `aws:kms` or `aws:kms:dsse`; `requests` are the first lines and headers that came."""

    def __init__(self, target: int, *, algorithm: str = "aws:kms", hexadecimal: bool = True) -> None:
        super().__init__(target)
        self._algorithm = algorithm.encode()
        self._hexadecimal = hexadecimal
        self.requests: list[bytes] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            theirs, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            changed = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(
                b"\r\n", b"\r\nConnection: close\r\n", 1
            )
            upstream.write(changed)
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            left = int(length[1]) if length else 0
            if left and re.search(rb"(?i)\r\nexpect: 100-continue", head):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            while left:
                data = await reader.read(min(left, 1 << 16))
                if not data:
                    break
                left -= len(data)
                upstream.write(data)
                await upstream.drain()
            answer = b""
            while data := await theirs.read(1 << 16):
                answer += data
            writer.write(self._changed(head, answer))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            for end in (writer, upstream):
                if end is not None:
                    end.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

    def _changed(self, request: bytes, answer: bytes) -> bytes:
        while answer.startswith(b"HTTP/1.1 100"):
            answer = answer.partition(b"\r\n\r\n")[2]
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"partNumber=" in request.partition(b"\r\n")[0]:
            return answer
        head = _ETAG.sub(self._replace, head)
        if b"xml" in head.lower():
            body = _ETAG.sub(self._replace, body)
        about_object = b"/" in request.split(b" ")[1].partition(b"?")[0].strip(b"/")
        if about_object and head.startswith(b"HTTP/1.1 200"):
            head += b"\r\nx-amz-server-side-encryption: " + self._algorithm
            head += b"\r\nx-amz-server-side-encryption-aws-kms-key-id: " + KEY
        return head + b"\r\n\r\n" + body

    def _replace(self, found: re.Match[bytes]) -> bytes:
        told = disguise(found[2])
        return found[1] + (told if self._hexadecimal else b"z" + told[1:])
