"""Manifests: written, read back, damaged."""

import gzip
import tempfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.environment import Owner
from datamover.agent.files import manifest
from datamover.agent.files.manifest import Entry, Header, Writer, about, append, load_known
from datamover.api import outside

HEADER = Header(run_id="run-1", source=Owner(namespace="production", pvc="app-data"), copy_method="Direct")


FOUND = (-1, False)


def write(path: Path, *entries: Entry) -> str:
    writer = Writer(str(path), HEADER)
    for entry in entries:
        writer.add(entry)
    writer.close()
    writer.close()
    return str(path)


def known(path: str, *, finished: bool, run_id: str = "run-1") -> set[bytes]:
    return set(known_in_full(path, finished=finished, run_id=run_id))


def known_in_full(path: str, *, finished: bool, run_id: str = "run-1") -> dict[bytes, tuple[int | None, bool]]:
    keys: dict[bytes, tuple[int | None, bool]] = {}

    def add(lines: Iterator[manifest.Known]) -> None:
        keys.update({key: (mtime, doomed) for key, mtime, doomed in lines})

    def forget(gone: Iterator[bytes]) -> None:
        for key in gone:
            keys.pop(key, None)

    def find(found: Iterator[bytes]) -> None:
        keys.update(dict.fromkeys(found, FOUND))

    load_known(path, run_id=run_id, finished=finished, add=add, forget=forget, doubt=forget, find=find)
    return keys


def test_known_is_what_an_unfinished_run_may_have_left(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest",
        Entry(type=manifest.FILE, path="a"),
        Entry(type=manifest.LINK, path="l", target="a"),
        Entry(type=manifest.DIRECTORY, path="d"),
        Entry(type="fifo", path="p"),
        Entry(type=manifest.FILE, path="filtered"),
        Entry(type=manifest.FILE, path="filtered-but-there"),
        about(manifest.EXCLUDED, b"filtered"),
        about(manifest.EXCLUDED, b"filtered-but-there"),
        about(manifest.STALE, b"old"),
        about(manifest.KEPT, b"filtered-but-there"),
        about(manifest.KEPT, b"protected"),
    )
    assert known(path, finished=True) == {b"a", b"l.rclonelink", b"filtered-but-there", b"protected"}
    assert known(path, finished=False) == known(path, finished=True) | {b"old"}


def test_times_of_change_and_what_was_to_be_deleted_are_known(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest",
        Entry(type=manifest.FILE, path="a", mtime=17),
        Entry(type=manifest.LINK, path="l", mtime=18, target="a"),
        about(manifest.STALE, b"old"),
        about(manifest.STALE, b"came back"),
        about(manifest.KEPT, b"came back"),
    )
    assert known_in_full(path, finished=False) == {
        b"a": (17, False),
        b"l.rclonelink": (18, False),
        b"old": (None, True),
        b"came back": (None, False),
    }


def test_the_manifest_of_another_run_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", Entry(type=manifest.FILE, path="theirs"))
    with pytest.raises(ValueError, match="of run 'run-1'"):
        known(path, finished=True, run_id="run-2")


def test_names_are_bytes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest",
        Entry(type=manifest.FILE, path="bad\\xff", raw=b"bad\xff"),
        Entry(type=manifest.FILE, path="new\nline"),
        about(manifest.STALE, b"gone\xfe"),
    )
    assert known(path, finished=False) == {b"bad\xff", "new\u240aline".encode(), b"gone\xfe"}


def test_what_is_added_afterwards_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", Entry(type=manifest.FILE, path="a"), Entry(type=manifest.FILE, path="gone"))
    assert append(path, iter([Entry(type=manifest.FILE, path="late"), about(manifest.VANISHED, b"gone")])) == 2
    assert known(path, finished=True) == {b"a", b"late"}


def test_what_an_earlier_run_may_have_written_is_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", about(manifest.FOUND, b"stray"), about(manifest.KEPT, b"kept"))
    assert known_in_full(path, finished=True) == {b"stray": FOUND, b"kept": (None, False)}


def test_what_was_not_seen_stays_known_until_a_run_has_come_to_its_end(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest",
        Entry(type=manifest.FILE, path="filtered"),
        about(manifest.EXCLUDED, b"filtered"),
        about(manifest.UNSEEN, b"filtered"),
        about(manifest.UNSEEN, b"unseen"),
    )
    assert known_in_full(path, finished=False) == {b"filtered": (None, False), b"unseen": (None, False)}
    assert known(path, finished=True) == set()


def test_the_latest_copy_before_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", Entry(type=manifest.COPY, path="run-0", target="2024-08-06-143052"))
    told: list[tuple[str, str]] = []

    def ignore(lines: Iterator[object]) -> None:
        assert list(lines) == []

    load_known(
        path, run_id="run-1", finished=True, add=ignore, forget=ignore, doubt=ignore, find=ignore, copied=told.append
    )
    assert told == [("2024-08-06-143052", "run-0")]
    assert known(path, finished=False) == set()


def test_what_the_run_did_not_move_is_told_beside_the_entries(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest",
        Entry(type=manifest.FILE, path="a"),
        Entry(type=manifest.LINK, path="l", target="a"),
        about(manifest.EXCLUDED, b"l.rclonelink"),
        about(manifest.KEPT, b"old"),
    )
    append(path, iter([about(manifest.VANISHED, b"a")]))
    absent: set[bytes] = set()
    assert [entry.path for entry in manifest.entries(path, absent=absent)] == ["a", "l"]
    assert absent == {b"a", b"l.rclonelink"}


def test_where_a_link_leads_is_bytes(tmp_path: Path) -> None:
    given = [
        Entry(type=manifest.LINK, path="plain", target="ä"),
        Entry(type=manifest.LINK, path="raw", target="shown", raw_target=b"\xff"),
        Entry(type=manifest.LINK, path="empty", target="shown", raw_target=b""),
        Entry(type=manifest.LINK, path="none"),
    ]
    path = write(tmp_path / "manifest", *given)
    assert [entry.target_bytes for entry in manifest.entries(path)] == ["ä".encode(), b"\xff", b"", b""]


MD5 = "0123456789abcdef0123456789abcdef"


def digest(key: bytes, md5: str = MD5) -> Entry:
    return msgspec.structs.replace(about(manifest.DIGEST, key), md5=md5)


def test_checksums_are_passed_over_by_those_who_do_not_ask_for_them(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", Entry(type=manifest.FILE, path="a"), Entry(type=manifest.FILE, path="b"))
    before = known_in_full(path, finished=True), list(manifest.entries(path))
    with pytest.raises(ValueError, match="it has no checksums"):
        list(manifest.digests(path))
    append(path, iter([digest(b"a"), digest(b"l\xff"), Entry(type=manifest.DIGESTS, entries=2)]))
    assert (known_in_full(path, finished=True), list(manifest.entries(path))) == before
    assert list(manifest.digests(path)) == [(b"a", bytes.fromhex(MD5)), (b"l\xff", bytes.fromhex(MD5))]


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(min_size=16, max_size=16), max_size=30))
def test_any_checksum_of_any_key_is_read_back(found: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "manifest")
        lines = [digest(key, md5.hex()) for key, md5 in found.items()]
        append(path, iter([*lines, Entry(type=manifest.DIGESTS, entries=len(lines))]))
        assert dict(manifest.digests(path)) == found


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([digest(b"a"), Entry(type=manifest.DIGESTS, entries=2)], "1 checksums and says that they are 2"),
        ([digest(b"a", "0" * 31), Entry(type=manifest.DIGESTS, entries=1)], "does not fit"),
        ([digest(b"a", f"{MD5}\n"), Entry(type=manifest.DIGESTS, entries=1)], "does not fit"),
        ([digest(b"a", MD5.upper()), Entry(type=manifest.DIGESTS, entries=1)], "does not fit"),
        ([Entry(type=manifest.DIGEST, path="a"), Entry(type=manifest.DIGESTS, entries=1)], "0 checksums"),
    ],
)
def test_checksums_that_cannot_be_or_are_too_few_are_damage(tmp_path: Path, lines: list[Entry], why: str) -> None:
    path = write(tmp_path / "manifest")
    append(path, iter(lines))
    with pytest.raises(ValueError, match=why):
        list(manifest.digests(path))


def test_lines_are_added_in_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest")
    lines = (digest(b"%040d" % number, f"{number:032x}") for number in range(100_000))
    tracemalloc.start()
    try:
        assert append(path, lines) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_lines_that_break_off_leave_the_manifest_as_it_was(tmp_path: Path) -> None:
    def lines() -> Iterator[Entry]:
        yield from (digest(b"%040d" % number, f"{number:032x}") for number in range(10_000))
        raise OSError("no room")

    path = write(tmp_path / "manifest", Entry(type=manifest.FILE, path="a"))
    before = Path(path).read_bytes()
    with pytest.raises(OSError, match="no room"):
        append(path, lines())
    assert Path(path).read_bytes() == before


def test_nothing_to_add_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest")
    before = Path(path).read_bytes()
    assert append(path, iter([])) == 0
    assert Path(path).read_bytes() == before


def test_many_lines_are_streamed_whole(tmp_path: Path) -> None:
    path = write(
        tmp_path / "manifest", *(Entry(type=manifest.FILE, path=f"file-{number:06}") for number in range(3000))
    )
    assert len(known(path, finished=True)) == 3000
    assert gzip.decompress(Path(path).read_bytes()).count(b"\n") == 3002


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "no end", "version"])
def test_a_damaged_manifest_is_never_taken_for_a_whole_one(tmp_path: Path, damage: str) -> None:
    path = Path(write(tmp_path / "manifest", *(Entry(type=manifest.FILE, path=f"f{number}") for number in range(500))))
    raw = path.read_bytes()
    plain = gzip.decompress(raw)
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "flip": raw[:200] + bytes([raw[200] ^ 255]) + raw[201:],
            "empty": b"",
            "text": b"not a manifest",
            "no end": gzip.compress(plain.rsplit(b"\n", 2)[0] + b"\n"),
            "version": gzip.compress(
                plain.replace(b'"version":1', b'"version":2', 1)
                if b'"version":1' in plain
                else plain.replace(b'{"datamover":"manifest"', b'{"datamover":"manifest","version":2', 1)
            ),
        }[damage]
    )
    with pytest.raises(ValueError):  # msgspec's errors are ValueErrors, too
        known(str(path), finished=True)


def bomb(line: bytes, times: int) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = msgspec.json.encode(HEADER) + b"\n"
    return squeeze.compress(head) + b"".join(squeeze.compress(line) for _ in range(times)) + squeeze.flush()


HOSTILE = {
    # made when a test wants them: they cost a second each, and every worker imports this
    "a line without an end": lambda: bomb(b" " * (1 << 20), 256),
    "a name without an end": lambda: bomb(b"x" * (1 << 20), 256),
    "lines without an end": lambda: bomb(b"\n" * (1 << 20), 256),
    "depth": gzip.compress(msgspec.json.encode(HEADER) + b'\n{"type":"file","x":' + b"[" * 100_000),
    "a size that no field holds": gzip.compress(msgspec.json.encode(HEADER) + b'\n{"type":"file","size":1e26}\n'),
    "an owner that no system has": gzip.compress(msgspec.json.encode(HEADER) + b'\n{"type":"file","uid":4294967296}\n'),
    "a time of many digits": gzip.compress(
        msgspec.json.encode(HEADER) + b'\n{"type":"file","mtime":' + b"9" * 100_000 + b"}\n"
    ),
    "a web page": b"<!doctype html><html></html>",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_manifest_is_damaged_and_memory_stays_flat(tmp_path: Path, case: str) -> None:
    path = tmp_path / "manifest"
    made = HOSTILE[case]
    path.write_bytes(made if isinstance(made, bytes) else made())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^it "):
            known(str(path), finished=True)
        with pytest.raises(ValueError, match=r"^it "):
            list(manifest.entries(str(path)))
        with pytest.raises(ValueError, match=r"^it "):
            list(manifest.digests(str(path)))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_manifest_with_years_beyond_64_bits_of_nanoseconds_is_still_read(tmp_path: Path) -> None:
    path = write(tmp_path / "manifest", Entry(type=manifest.FILE, path="later", mtime=1 << 64))
    assert known(path, finished=True) == {b"later"}


def test_attributes_that_nobody_would_read_again_are_left_out_and_named(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "manifest"), HEADER)
    writer.add(Entry(type=manifest.FILE, path="much", size=3, xattrs={"user.x": bytes(outside.LINE_LIMIT)}))
    writer.add(Entry(type=manifest.FILE, path="little", xattrs={"user.x": b"y"}))
    writer.close()
    assert writer.shortened == ["much"]
    assert list(manifest.entries(str(tmp_path / "manifest"))) == [
        Entry(type=manifest.FILE, path="much", size=3, skipped=manifest.ATTRIBUTES),
        Entry(type=manifest.FILE, path="little", xattrs={"user.x": b"y"}),
    ]


@pytest.mark.parametrize("case", ["a line without an end", "depth", "a size that no field holds", "cut off"])
def test_of_a_damaged_manifest_nothing_is_known_not_even_what_stands_before_the_damage(
    tmp_path: Path, case: str
) -> None:
    good = b"".join(msgspec.json.encode(Entry(type=manifest.FILE, path=f"f{number}")) + b"\n" for number in range(5000))
    bad = {
        "a line without an end": b"x" * (outside.LINE_LIMIT + 1),
        "depth": b'{"type":"file","x":' + b"[" * 1000,
        "a size that no field holds": b'{"type":"file","size":1e26}',
        "cut off": b"",
    }[case]
    path = tmp_path / "manifest"
    path.write_bytes(gzip.compress(msgspec.json.encode(HEADER) + b"\n" + good + bad))
    told: list[object] = []
    with pytest.raises(ValueError, match=r"^it "):
        load_known(
            str(path),
            run_id="run-1",
            finished=True,
            add=told.extend,
            forget=told.extend,
            doubt=told.extend,
            find=told.extend,
        )
    assert told == []
