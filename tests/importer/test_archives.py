"""Archives into a volume: real tars, good ones and ones that want out."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from datamover.agent.importer import filling, inventory
from support.image_server import ImageServer, Plain
from support.importing import MIB, Volume, noise, refused, succeeded

Member = tuple[str, bytes | None, dict]


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            info.mtime = 1_700_000_000
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content) if content is not None else None)
    return stream.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> dict:
    return {"type": kind, "linkname": target}


GOOD = (
    ("./", None, {"type": tarfile.DIRTYPE}),
    ("etc", None, {"type": tarfile.DIRTYPE, "mode": 0o500}),
    ("etc/motd", b"hello", {"mode": 0o4640}),
    ("no/folder/said/file", noise(3 * MIB + 5), {}),
    ("etc/link", None, link("../no/folder")),
    ("etc/hard", None, link("etc/motd", tarfile.LNKTYPE)),
    ("n" * 200, b"long", {}),
    ("empty", b"", {}),
    ("etc/motd", b"the later one", {}),
)
ASKED = {"CONTENT_TYPE": "archive"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_an_archive_becomes_the_files_of_the_volume(volume: Volume, server: ImageServer, pack, form: int) -> None:
    (volume.data / "empty").mkdir()
    (volume.data / "lost+found").mkdir()
    server.objects["/files"] = Plain(pack(tar(*GOOD, form=form)))
    outcome = succeeded(volume.run(URL=server.url("/files"), **ASKED))
    data = volume.data
    assert volume.left() == sorted(["empty", "etc", "lost+found", "n" * 200, "no"])
    assert (data / "etc" / "motd").read_bytes() == b"the later one"
    assert (data / "etc" / "hard").read_bytes() == b"hello"
    assert (data / "etc" / "hard").stat().st_mode & 0o7777 == 0o640
    assert os.readlink(data / "etc" / "link") == "../no/folder"
    assert (data / "no/folder/said/file").read_bytes() == noise(3 * MIB + 5)
    assert (data / "no/folder/said/file").stat().st_mtime == 1_700_000_000
    assert (outcome.files, outcome.bytes) == (5, 3 * MIB + 5 + 5 + 4 + 13)


def _replace(path: Path, what: bytes) -> None:
    path.unlink()
    path.write_bytes(what)


SPOILED = {
    "one bit of a file": lambda stage: (stage / "no/folder/said/file").write_bytes(b"\0" + noise(3 * MIB + 5)[1:]),
    "the end of a file": lambda stage: os.truncate(stage / "no/folder/said/file", 3 * MIB),
    "a file with two names": lambda stage: _replace(stage / "again", b"hellO"),
    "a file is gone": lambda stage: (stage / "etc" / "motd").unlink(),
    "an empty file is gone": lambda stage: (stage / "empty").unlink(),
    "an empty folder is gone": lambda stage: (stage / "void").rmdir(),
    "a name more": lambda stage: (stage / "etc" / "more").write_bytes(b""),
    "another name": lambda stage: (stage / "empty").rename(stage / "emptY"),
    "a link elsewhere": lambda stage: (stage / "etc/link").unlink() or (stage / "etc/link").symlink_to("motd"),
}  # fmt: skip
LINKED = (
    *GOOD,
    ("void", None, {"type": tarfile.DIRTYPE}),
    ("again", None, link("etc/hard", tarfile.LNKTYPE)),
    ("once more", None, link("again", tarfile.LNKTYPE)),
    ("etc/hard", b"another", {}),
    ("link too", None, link("again", tarfile.LNKTYPE)),
    ("etc/link", None, link("../no")),
)


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_was_extracted_is_read_back_and_compared_with_what_came(
    volume: Volume, server: ImageServer, monkeypatch, spoil: str
) -> None:
    flush = filling.flush_file_system

    def fail(folder: str) -> None:
        flush(folder)
        SPOILED[spoil](Path(folder, ".datamover-import"))

    server.objects["/files"] = Plain(tar(*LINKED))
    monkeypatch.setattr(filling, "flush_file_system", fail)
    refused(volume.run(URL=server.url("/files"), **ASKED), "VerificationFailed")
    assert volume.left() == []
    monkeypatch.undo()
    outcome = succeeded(volume.run(URL=server.url("/files"), **ASKED))
    assert "read back" in outcome.message
    assert (volume.data / "once more").read_bytes() == b"hello"


def test_reading_back_is_right_also_where_little_of_hard_links_is_remembered(
    volume: Volume, server: ImageServer, monkeypatch
) -> None:
    monkeypatch.setattr(inventory, "_MOST", 1)
    server.objects["/files"] = Plain(tar(*LINKED))
    succeeded(volume.run(URL=server.url("/files"), **ASKED))
    names = ("again", "once more", "link too")
    assert {(volume.data / name).stat().st_ino for name in names} == {(volume.data / "again").stat().st_ino}


def test_what_many_hard_links_lead_to_is_read_back_once(volume: Volume, server: ImageServer, monkeypatch) -> None:
    read, real = list[str](), inventory.Inventory._read
    monkeypatch.setattr(
        inventory.Inventory, "_read", lambda self, leaf, parent: read.append(leaf) or real(self, leaf, parent)
    )
    names = [(f"name {number}", None, link("file", tarfile.LNKTYPE)) for number in range(100)]
    server.objects["/files"] = Plain(tar(("file", noise(100), {}), *names))
    succeeded(volume.run(URL=server.url("/files"), **ASKED))
    assert len(read) == 2  # when it got its second name, and in the end


HOSTILE: dict[str, tuple[Member, ...]] = {
    "upwards": (("../out", b"x", {}),),
    "upwards in the middle": (("a/../../out", b"x", {}),),
    "absolute": (("/tmp/out", b"x", {}),),
    "a link out": (("a", None, link("../../out")),),
    "an absolute link": (("a", None, link("/etc/passwd")),),
    "a link out by way of another": (("d", None, link(".")), ("e", None, link("d/.."))),
    "through a link": (("a", None, link("b")), ("a/file", b"x", {})),
    "through a file": (("a", b"x", {}), ("a/file", b"x", {})),
    "a folder in the place of a file": (("a/b", b"x", {}), ("a", b"x", {})),
    "a hard link out": (("a", None, link("../../etc/passwd", tarfile.LNKTYPE)),),
    "an absolute hard link": (("a", None, link("/etc/passwd", tarfile.LNKTYPE)),),
    "a hard link through a link": (("a", None, link("b")), ("c", None, link("a/x", tarfile.LNKTYPE))),
    "a hard link to nothing": (("a", None, link("b", tarfile.LNKTYPE)),),
    "a hard link to a folder": (("b/c", b"", {}), ("a", None, link("b", tarfile.LNKTYPE))),
    "a device": (("sda", None, {"type": tarfile.BLKTYPE, "devmajor": 8}),),
    "a terminal": (("tty", None, {"type": tarfile.CHRTYPE, "devmajor": 5}),),
    "a pipe": (("pipe", None, {"type": tarfile.FIFOTYPE}),),
    "a hard link that makes a link lead out": (
        ("a/b/c", None, link("../..")), ("out", None, link("a/b/c", tarfile.LNKTYPE)),
    ),
    "a name longer than any": (("n" * 300, b"x", {}),),
    "a link longer than any": (("a", None, link("n" * 5000)),),
    "folders without an end": (("d/" * 2000 + "file", b"x", {}),),
    "our own folder": ((".datamover-import/x", b"x", {}),),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_leads_out_is_refused_as_a_whole_and_touches_nothing(
    volume: Volume, server: ImageServer, case: str
) -> None:
    server.objects["/files"] = Plain(tar(("first", b"good", {}), *HOSTILE[case]))
    outside = sorted(os.listdir(volume.root)), sorted(os.listdir(volume.root.parent))
    outcome = refused(volume.run(URL=server.url("/files"), **ASKED), "ImageRefused")
    assert "'" in outcome.message
    assert volume.left() == []
    assert (sorted(os.listdir(volume.root)), sorted(os.listdir(volume.root.parent))) == outside


def huge_header() -> bytes:
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    return info.tobuf(tarfile.USTAR_FORMAT if info.size < 8**11 else tarfile.GNU_FORMAT) + noise(4 * MIB)


def sparse(count: int) -> bytes:
    """A file of GNU's form 1.0 that says where its holes are, in so many numbers."""
    body = b"%d\n" % count + b"0\n" * (2 * count)
    fields = {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "0"}}
    return tar(("sparse", body, fields))


def old_sparse(count: int) -> bytes:
    """A file of GNU's older form, whose map goes on in so many blocks."""
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[482] = 1
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    block = b"00000000001\0" * 42
    return bytes(head) + (block + b"\1" + bytes(7)) * count


def nested(kind: bytes, count: int) -> bytes:
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 0
    return info.tobuf(tarfile.USTAR_FORMAT) * count + tar(("file", b"x", {}))


def pax(raw: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, len(raw)
    return info.tobuf(tarfile.USTAR_FORMAT) + raw.ljust(-(-len(raw) // 512) * 512, b"\0")


def globals_of(count: int) -> bytes:
    """Headers for all that follows, each of which says something new, with a file after each."""
    one = tar(("file", b"", {}))[:512]

    def record(number: int) -> bytes:
        text = b"k%07d=%s\n" % (number, b"v" * 500_000)
        return b"%d %s" % (len(text) + 7, text)

    return b"".join(pax(record(number), tarfile.XGLTYPE) + one for number in range(count)) + bytes(1024)


# made when a test wants them: packing takes longer than all else that is done to find the tests
DAMAGED = {
    "a map of holes without an end": (lambda: gzip.compress(sparse(20_000_000)), "ImageRefused"),
    "an older map without an end": (lambda: gzip.compress(old_sparse(40_000)), "ImageRefused"),
    "headers of headers": (lambda: nested(tarfile.XHDTYPE, 5000), "ImageRefused"),
    "long names of long names": (lambda: nested(tarfile.GNUTYPE_LONGNAME, 5000), "ImageRefused"),
    "headers for all that add up": (lambda: gzip.compress(globals_of(40)), "ImageRefused"),
    "a header that takes an hour to search": (lambda: pax(b"1" * 900_000), "ImageRefused"),
    "cut off": (lambda: tar(("a", noise(MIB), {}))[: MIB // 2], "ImageDamaged"),
    "no tar": (lambda: noise(MIB), "ImageDamaged"),
    "larger than the volume": (lambda: tar(("a", bytes(9 * MIB), {})), "DestinationTooSmall"),
    "a bomb": (lambda: gzip.compress(tar(("a", bytes(64 * MIB), {}))), "DestinationTooSmall"),
    "a header of gigabytes": (lambda: huge_header(), "ImageRefused"),
    "a page": (lambda: b"<!doctype html>", "NotAnImage"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_an_archive_that_cannot_be_read_leaves_nothing(volume: Volume, server: ImageServer, case: str) -> None:
    make, reason = DAMAGED[case]
    server.objects["/files"] = Plain(make())
    refused(volume.run(URL=server.url("/files"), **ASKED), reason)
    assert volume.left() == []


@pytest.mark.parametrize("spoil", ["checksum", "cut"])
def test_the_end_of_the_packer_counts_also_where_the_archive_has_ended(
    volume: Volume, server: ImageServer, spoil: str
) -> None:
    packed = gzip.compress(tar(("a", noise(MIB), {})) + bytes(2 * MIB))
    packed = packed[:-8] + (b"\1" * 8 if spoil == "checksum" else b"")
    server.objects["/files"] = Plain(packed)
    refused(volume.run(URL=server.url("/files"), **ASKED), "ImageDamaged")
    assert volume.left() == []


def test_a_bomb_behind_the_end_of_the_archive_is_refused(volume: Volume, server: ImageServer) -> None:
    server.objects["/files"] = Plain(gzip.compress(tar(("a", b"x", {})) + bytes(64 * MIB)))
    refused(volume.run(URL=server.url("/files"), **ASKED), "DestinationTooSmall")


def test_the_folder_of_a_file_system_itself_is_left_where_it_is(volume: Volume, server: ImageServer) -> None:
    (volume.data / "lost+found").mkdir()
    before = (volume.data / "lost+found").stat().st_ino
    server.objects["/files"] = Plain(tar(("lost+found", None, {"type": tarfile.DIRTYPE}), ("a", b"x", {})))
    succeeded(volume.run(URL=server.url("/files"), **ASKED))
    assert (volume.data / "lost+found").stat().st_ino == before
    assert volume.left() == ["a", "lost+found"]
