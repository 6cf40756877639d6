"""A tree with all that rsync has to keep, and comparing two of them."""

import os
import struct
from pathlib import Path

from support.fidelity import Kept, fingerprint

ACL = "system.posix_acl_access"
NAMED_USER = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, who)
    for tag, permissions, who in (
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 4, 4242),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
)
"""An access list that lets one more user read."""


def make(root: Path) -> None:
    """Fill a volume."""
    (root / "modes").mkdir(mode=0o750)
    for mode in (0o400, 0o640, 0o755, 0o4755):
        path = root / "modes" / f"{mode:o}"
        path.write_text(f"{mode:o}\n")
        path.chmod(mode)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    links = root / "links"
    links.mkdir()
    (links / "first").write_text("one inode\n")
    os.link(links / "first", links / "second")
    os.link(links / "first", root / "third")
    for name, target in (
        ("absolute", "/etc/hostname"),
        ("relative", "../third"),
        ("dangling", "nowhere"),
        ("munged", "/rsyncd-munged/elsewhere"),
        ("up", "../../../../etc"),
    ):
        os.symlink(target, links / name)
        os.utime(links / name, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    os.symlink("links", root / "folder-link")
    # rsync looks at whole seconds, and would leave a link that it made within the same one
    os.utime(root / "folder-link", (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    with (root / "sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
    (root / "empty").touch()
    (root / "empty-folder").mkdir()
    for name in (
        b"new\nline",
        b"latin-\xe9",
        b"#comment",
        b";semicolon",
        b"-option",
        b" blank ",
        b"carriage\rreturn",
        "ütf-8".encode(),
    ):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    acl = root / "acl"
    acl.write_text("shared\n")
    try:
        os.setxattr(acl, ACL, NAMED_USER)
    except OSError:  # a file system without them
        acl.unlink()
    if os.geteuid() == 0:
        os.chown(root / "modes" / "640", 1234, 4321)
        os.chown(links / "dangling", 1234, 4321, follow_symlinks=False)
        (root / "modes" / "4755").chmod(0o4755)
    for folder in ("modes", "links", "sticky", "empty-folder"):
        os.utime(root / folder, (1_100_000_000, 1_100_000_000))


def described(root: Path, *, owners: bool = True) -> dict[bytes, Kept]:
    """Return all that is below `root`, without lost+found and without the root itself, which is not sent."""
    found = {
        path: kept
        for path, kept in fingerprint(root).items()
        if path not in {b"", b"."} and path.split(b"/")[0] != b"lost+found"
    }
    return found if owners else {path: kept._replace(uid=0, gid=0) for path, kept in found.items()}
