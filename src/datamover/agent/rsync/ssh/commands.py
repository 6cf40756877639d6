"""What a client of the destination's sshd may ask for: pure.

There are three requests: to receive into the volume by `rsync --server`, the block differ, and `shutdown CODE`. Nothing else is run, and nothing is
given to a shell. Of rsync's options those are known that a client of rsync sends by itself; one that names a file outside the
volume, that follows links out of it, or that hides further options from us is refused.
"""

import re
import shlex
from typing import Final

import msgspec

BLOCKS: Final = "datamover-blocks"
"""The request for the block differ."""
LONGEST: Final = 1 << 13
"""Letters of a request. Those of rsync have about a hundred."""


class Refused(ValueError):  # noqa: N818 - it is the word for what the client is told
    """The request is not permitted. The message goes on "refused: "."""


class Shutdown(msgspec.Struct, frozen=True):
    """The source has ended: `code` is what it ended with, 0 after a success."""

    code: int


class Blocks(msgspec.Struct, frozen=True):
    """The block differ."""


class Server(msgspec.Struct, frozen=True):
    """rsync as a server. `options` are as the client has sent them, `path` is relative to the volume; `sends`: it reads the volume."""

    options: tuple[str, ...]
    path: str
    sends: bool


Request = Shutdown | Blocks | Server

_SHORT: Final = re.compile(r"-([A-Za-z0-9]*?)(?:e([0-9]*)\.([A-Za-z0-9]*))?")
_FORBIDDEN_SHORT: Final = {
    "s": "it hides arguments from this check",
    "K": "it writes through links",
    "e": "it names a program",
    "M": "it names options of another side",
}
_LINKS: Final = frozenset("Lk")
"""Short options by which a sender follows links, out of the volume perhaps."""
_PLAIN: Final = frozenset(
    {
        "--append", "--append-verify", "--checksum", "--compress", "--delay-updates", "--delete", "--delete-after", "--delete-before", "--delete-delay",
        "--delete-during", "--delete-excluded", "--delete-missing-args", "--existing", "--fake-super", "--force", "--fsync", "--fuzzy", "--ignore-errors",
        "--ignore-existing", "--ignore-missing-args", "--ignore-non-existing", "--inc-recursive", "--inplace", "--list-only", "--mkpath", "--munge-links",
        "--new-compress", "--no-implied-dirs", "--no-inc-recursive", "--no-relative", "--no-r", "--no-i-r", "--no-specials", "--no-devices", "--no-D", "--no-W",
        "--no-whole-file", "--no-munge-links", "--numeric-ids", "--old-compress", "--omit-dir-times", "--omit-link-times", "--one-file-system", "--open-noatime",
        "--partial", "--preallocate", "--prune-empty-dirs", "--remove-source-files", "--remove-sent-files", "--safe-links", "--size-only", "--sparse", "--specials",
        "--stats", "--super", "--no-super", "--timeout", "--update", "--use-qsort", "--whole-file", "--atimes", "--crtimes", "--executability", "--from0",
    }
)  # fmt: skip
_VALUED: Final = re.compile(
    r"--(?:block-size|bwlimit|checksum-choice|checksum-seed|cc|compress-choice|zc|compress-level|zl|compress-threads|chmod|debug|info|log-format|max-alloc"
    r"|max-delete|max-size|min-size|modify-window|only-write-batch|out-format|protocol|skip-compress|stop-after|stop-at|timeout|groupmap|usermap|iconv)=[^\0/]*"
)


def read_request(text: str) -> Request:
    """Return what a client asks for. Raises Refused."""
    if not text.strip():
        raise Refused("there is no shell here")
    if len(text) > LONGEST or "\0" in text:
        raise Refused("the command is too long")
    try:
        words = shlex.split(text)
    except ValueError:
        raise Refused("the command cannot be taken apart") from None
    if words[0] == BLOCKS:
        if len(words) > 1:
            raise Refused(f"{BLOCKS} takes no argument")
        return Blocks()
    if words[0] == "shutdown":
        return _read_shutdown(words[1:])
    if words[0] in {"rsync", "/usr/bin/rsync"}:
        return _read_server(words[1:])
    raise Refused("only rsync into the volume, the block differ and shutdown are run here")


def _read_shutdown(words: list[str]) -> Shutdown:
    if len(words) != 1 or not re.fullmatch(r"[0-9]{1,3}", words[0], re.ASCII) or int(words[0]) > 255:
        raise Refused("shutdown takes one code from 0 to 255")
    return Shutdown(int(words[0]))


def _read_server(words: list[str]) -> Server:
    if words[:1] != ["--server"]:
        raise Refused("rsync is run as a server only")
    rest = words[1:]
    sends = rest[:1] == ["--sender"]
    if sends:
        rest = rest[1:]
    options: list[str] = []
    while rest and rest[0] != ".":
        option = rest.pop(0)
        _check_option(option, sends=sends)
        options.append(option)
    # behind the dot, which ends the options, are paths; a server has one
    if len(rest) != 2:
        raise Refused("rsync wants one path of the volume")
    return Server(options=tuple(options), path=_check_path(rest[1]), sends=sends)


def _check_option(option: str, *, sends: bool) -> None:
    if option.startswith("--"):
        if option not in _PLAIN and not _VALUED.fullmatch(option):
            raise Refused(f"rsync's option {option.partition('=')[0]!a} is not allowed here")
        if option.startswith(("--remove-source", "--remove-sent")) and sends:
            raise Refused("nothing is removed by reading")
        return
    match = _SHORT.fullmatch(option)
    if match is None or not option[1:]:
        raise Refused(f"{option[:40]!a} is no option that a client of rsync sends")
    letters = match[1]
    for letter, why in _FORBIDDEN_SHORT.items():
        if letter in letters:
            raise Refused(f"rsync's option -{letter} is not allowed here: {why}")
    if sends and _LINKS & set(letters):
        raise Refused("rsync may not follow links of the volume")


def _check_path(path: str) -> str:
    """Return a path below the volume, without dots and slashes at its ends: empty for the volume itself."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise Refused("the path leads out of the volume")
    return "/".join(parts)
