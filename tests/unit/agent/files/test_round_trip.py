"""A tree is walked, comes back from a store as contents and names only, and its manifest gives it everything else again."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamover.agent.files import manifest, restoration
from datamover.agent.files.walk import Tally, walk
from support.fidelity import NOBODY, Kept, as_ordinary_user, bring_back, fingerprint, give_away, remove

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
USER, GROUP, NAMED_USER, MASK, OTHERS = 1, 4, 2, 16, 32


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


FOR_BOB = acl(
    (USER, 6, 0xFFFFFFFF), (NAMED_USER, 6, 1234), (GROUP, 0, 0xFFFFFFFF), (MASK, 6, 0xFFFFFFFF), (OTHERS, 0, 0xFFFFFFFF)
)
"""Of mode 0660 as `ls` shows it, with nothing for the group."""


def write_manifest(source: Path, path: Path) -> None:
    writer = manifest.Writer(str(path), manifest.Header(run_id="run-1"))
    for _ in walk(os.fsencode(source), tally=Tally(), add=writer.add, prefix_size=0, tick=lambda: None):
        pass
    writer.close()


def apply(path: Path, top: Path, *, special: bool = True) -> list[str]:
    said: list[str] = []
    restoration.apply(str(path), str(top), privileges=True, special=special, say=said.append)
    return said


def changed(before: dict[bytes, Kept], after: dict[bytes, Kept]) -> dict[bytes, set[str]]:
    """Return which facts differ, by path; paths that are on one side only with all of them."""
    found: dict[bytes, set[str]] = {}
    for name in before.keys() | after.keys():
        one, two = before.get(name), after.get(name)
        facts = {fact for fact in Kept._fields if getattr(one, fact, None) != getattr(two, fact, None)}
        if facts:
            found[name] = facts
    return found


# --- as root --------------------------------------------------------------------------------------------------------------


def furnish(root: Path) -> None:
    """Make a tree with everything that a volume can hold."""
    root.mkdir()
    os.setxattr(root, "user.top", b"mine")
    (root / "plain").write_text("plain")
    (root / "setuid").write_text("x")
    (root / "read-only").write_text("x")
    os.setxattr(root / "read-only", "user.note", b"\0x")
    (root / "nothing-allowed").write_text("x")
    (root / "shared").write_text("for bob")
    os.setxattr(root / "shared", "system.posix_acl_access", FOR_BOB)
    (root / "closed/inner").mkdir(parents=True)
    (root / "closed/inner/file").write_text("x")
    (root / "empty").mkdir()
    (root / "link").symlink_to("plain")
    (root / "dangling").symlink_to("no/where")
    os.link(root / "plain", root / "closed/second")
    (root / "twins").mkdir()
    (root / "twins/a").write_text("")
    os.link(root / "twins/a", root / "twins/b")
    os.mkfifo(root / "pipe")
    with (root / "disk").open("wb") as file:
        file.truncate(4 << 20)
        file.seek(1 << 20)
        file.write(b"data")
    if ROOT:
        os.mknod(root / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        for name in ("plain", "setuid", "empty", "link", "pipe"):
            os.chown(root / name, 1234, 4321, follow_symlinks=False)
        os.chown(root, 26, 26)
    for name, mode in (
        ("setuid", 0o4711),
        ("read-only", 0o400),
        ("nothing-allowed", 0),
        ("twins/a", 0),
        ("pipe", 0o620),
        ("empty", 0o2750),
        ("closed/inner", 0o500),
        ("closed", 0o550),
        ("twins", 0),
        (".", 0o700),
    ):
        os.chmod(root / name, mode)
    for number, name in enumerate(
        ("plain", "link", "pipe", "closed/inner/file", "closed/inner", "closed", "empty", ".")
    ):
        when = 1_500_000_000_123_456_789 + number
        os.utime(root / name, ns=(when, when), follow_symlinks=False)


@needs_root
def test_everything_comes_back_for_root_the_top_folder_and_the_holes_included(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    furnish(source)
    before = fingerprint(source)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    assert len(changed(before, fingerprint(target))) > 10
    for _ in range(2):
        assert apply(tmp_path / "manifest", target) == []
        assert changed(before, fingerprint(target)) == {}
    assert (target / "disk").stat().st_blocks <= (source / "disk").stat().st_blocks
    assert fingerprint(source) == before


NAMES = st.binary(min_size=1, max_size=12).filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw.strip(b"."))
MODES = st.integers(0, 0o7777)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=MODES,
    files=st.dictionaries(st.tuples(st.sampled_from([b"", b"d", b"\xff\x1b\n"]), NAMES), MODES, max_size=5),
    mtime=st.integers(-(2**31) * 10**9, 2**33 * 10**9),
    user=st.booleans(),
)
def test_any_name_mode_and_time_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    top: int,
    files: dict[tuple[bytes, bytes], int],
    mtime: int,
    user: bool,
) -> None:
    root = tmp_path_factory.mktemp("any")
    source, target = root / "source", root / "target"
    source.mkdir()
    for folder, name in files:
        os.makedirs(os.path.join(os.fsencode(source), folder), exist_ok=True)
        path = os.path.join(os.fsencode(source), folder, name)
        if not os.path.isdir(path):
            with open(path, "wb") as file:
                file.write(name)
    if user:
        give_away(source)
    for (folder, name), mode in files.items():
        path = os.path.join(os.fsencode(source), folder, name)
        if not os.path.isdir(path):
            os.chmod(path, mode)
            os.utime(path, ns=(mtime, mtime))
    os.chmod(source, top)
    os.utime(source, ns=(mtime, mtime))
    before = fingerprint(source) if ROOT else {}
    write_manifest(source, root / "manifest")
    bring_back(source, target)
    if user:
        give_away(target)
        said = as_ordinary_user(lambda: apply(Path("manifest"), Path("target")), folder=root)
    else:
        said = apply(root / "manifest", target)
    assert said == []
    if ROOT:
        assert changed(before, fingerprint(target)) == {}
    remove(root)


# --- as an ordinary user --------------------------------------------------------------------------------------------------


@needs_root
def test_an_ordinary_user_gets_everything_but_what_only_root_may_give_and_each_kind_is_told_once(
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    furnish(source)
    before = fingerprint(source)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    give_away(target)
    for _ in range(2):
        said = as_ordinary_user(lambda: apply(Path("manifest"), Path("target")), folder=tmp_path)
        kinds = [line.split(" (", 1)[0] for line in said]
        assert len(kinds) == len(set(kinds)), said
        assert kinds == [
            "left out: owner or group, which only root may give away",
            "left out: set-user-ID and set-group-ID bits, which would give another one's rights, because owner or group did not come back",
            "left out: devices, which only root may make",
        ], said
        assert "'null'" in said[2]
        lost = changed(before, fingerprint(target))
        assert all(
            facts <= {"uid", "gid"} for name, facts in lost.items() if name not in {b"null", b"setuid", b"empty"}
        )
        assert lost[b"setuid"] == {"uid", "gid", "mode"}
        assert stat.S_IMODE((target / "setuid").stat().st_mode) == 0o711
    assert (target / "disk").stat().st_blocks <= (source / "disk").stat().st_blocks


@needs_root
def test_a_group_that_is_ours_comes_back_without_root(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_text("x")
    give_away(source)
    os.chown(source / "file", NOBODY, 5555)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    give_away(target)
    said = as_ordinary_user(lambda: apply(Path("manifest"), Path("target")), folder=tmp_path, groups=(5555,))
    assert said == []
    assert (target / "file").stat().st_gid == 5555


@needs_root
@pytest.mark.parametrize(("mode", "told"), [(0o2775, 0), (0o2700, 1)])
def test_a_volume_that_a_pod_may_write_to_by_its_group_alone_is_restored_whole(
    tmp_path: Path, mode: int, told: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_text("x")
    give_away(source)
    os.chown(source, 0, NOBODY)
    source.chmod(mode)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    give_away(target)
    os.chown(target, 0, NOBODY)
    target.chmod(0o2775)
    said = as_ordinary_user(lambda: apply(Path("manifest"), Path("target")), folder=tmp_path)
    lost = ["left out: the mode, because: Operation not permitted (1 path): '.'"][:told]
    assert said == [*lost, "note: the directory itself is another user's and keeps its own time."]


# --- what cannot be had keeps nothing else away -----------------------------------------------------------------------------


def refuse_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    def setxattr(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", setxattr)


def refuse_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    def punch(_: int) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("datamover.agent.files.holes.punch", punch)


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", link)


def refuse_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    def chmod(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", chmod)


def drop_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)


def round_times(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.utime

    def utime(path: str, *, ns: tuple[int, int], **rest: Any) -> None:
        real(path, ns=(ns[0], ns[1] - ns[1] % 10**9), **rest)

    monkeypatch.setattr(os, "utime", utime)


@needs_root
@pytest.mark.parametrize(
    ("refuse", "facts", "words"),
    [
        (refuse_attributes, {"attributes", "mode"}, "attributes, because: Operation not supported (3 paths): '"),
        (refuse_holes, set[str](), "holes, because: Operation not supported (1 path): 'disk'"),
        (refuse_links, {"group"}, "the hard link, because: Too many links (2 paths)"),
        (refuse_modes, {"mode"}, "the mode, because: Operation not permitted ("),
        (drop_modes, {"mode"}, "the mode, which became another one ("),
        (round_times, {"mtime"}, "the time, which became another one ("),
    ],
)
def test_what_the_disk_refuses_is_told_once_and_all_else_comes_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuse: Callable[[pytest.MonkeyPatch], None],
    facts: set[str],
    words: str,
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    furnish(source)
    before = fingerprint(source)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    with monkeypatch.context() as patched:
        refuse(patched)
        said = apply(tmp_path / "manifest", target)
    assert len(said) == 1, said
    assert words in said[0]
    assert set[str]().union(*changed(before, fingerprint(target)).values()) <= facts


@needs_root
def test_a_file_whose_acl_cannot_be_set_is_no_more_open_than_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    furnish(source)
    assert stat.S_IMODE((source / "shared").stat().st_mode) == 0o660
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    refuse_attributes(monkeypatch)
    apply(tmp_path / "manifest", target)
    assert stat.S_IMODE((target / "shared").stat().st_mode) == 0o600


@needs_root
def test_an_acl_that_a_file_did_not_have_does_not_stay(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "file").write_text("x")
    write_manifest(source, tmp_path / "manifest")
    target.mkdir()
    os.setxattr(target, "system.posix_acl_default", FOR_BOB)
    (target / "file").write_text("x")
    assert os.listxattr(target / "file")
    assert apply(tmp_path / "manifest", target) == []
    assert changed(fingerprint(source), fingerprint(target)) == {}


@needs_root
def test_an_immutable_file_is_told_and_the_others_come_back(tmp_path: Path) -> None:
    import fcntl

    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("fixed", "free"):
        (source / name).write_text("x")
        (source / name).chmod(0o604)
    write_manifest(source, tmp_path / "manifest")
    bring_back(source, target)
    with (target / "fixed").open() as file:
        try:
            fcntl.ioctl(file, 0x40086602, struct.pack("l", 0x10))  # FS_IOC_SETFLAGS, immutable
        except OSError:
            pytest.skip("this file system has no immutable files, or not for us")
        try:
            said = apply(tmp_path / "manifest", target)
        finally:
            fcntl.ioctl(file, 0x40086602, struct.pack("l", 0))
    assert said == [
        "left out: the mode, because: Operation not permitted (1 path): 'fixed'",
        "left out: the time, because: Operation not permitted (1 path): 'fixed'",
    ]
    assert stat.S_IMODE((target / "free").stat().st_mode) == 0o604
