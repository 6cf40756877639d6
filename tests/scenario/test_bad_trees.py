"""Trees that nobody would make on purpose: what can be kept is kept under its own name, the rest is refused before anything moves."""

import asyncio
import contextlib
import gzip
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datamover.api import transfer
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from support.scenario import TREE
from support.stage import POWERLESS, Act, Stage, env, run_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad trees")]

MIRROR = {"addTimestampPrefix": False}
KEEP: dict[str, bytes] = {"keep/one.txt": b"1", "keep/two.txt": b"2"}
LONG = "n" * 255
DEEP = "/".join(["d" * 100] * 8)


def manifest_of(act: Act, mover: DataMover) -> dict[str, dict[str, Any]]:
    """Return path to entry of the manifest of a run."""
    raw = act.objects()[f".datamover/runs/{run_of(mover).id}/manifest.jsonl.gz"]
    entries = [json.loads(line) for line in gzip.decompress(raw).splitlines()[1:]]
    return {entry["path"]: entry for entry in entries if "path" in entry and entry["type"] != "digest"}


ODD_NAMES = {
    "spaces at both ends": " both ends ",
    "only a space": " ",
    "a tab": "a\tb",
    "letters of other scripts": "日本語-ß-\U0001f69a",
    "two letters for one": "e\u0301clair",
    "a name of 255 bytes": LONG,
    "a name of 255 bytes in another script": "ü" * 127,
    "a flag": "--delete",
    "two flags": "-rf",
    "a flag with a value": "--s3-endpoint=evil.example",
    "a pattern": "*?[a-z]{b,c}",
    "a comment": "# x ; y",
    "quotes and backslashes": "a'b\"c\\d`e",
    "a variable": "$(HOME) ${HOME} %41",
    "a device of another system": "CON",
    "dots": "...",
    "a remote": "other:bucket",
    "a name of ours further down": "sub/.datamover",
}


@pytest.mark.parametrize("case", ODD_NAMES)
async def test_an_odd_name_arrives_as_it_is(case: str, stage: Stage) -> None:
    """One run for each kind would be a run for nothing: they share one, and each looks for its own."""
    found = await odd_names(stage)
    assert found[ODD_NAMES[case]] == case.encode()


_odd: dict[int, dict[str, bytes]] = {}


async def odd_names(stage: Stage) -> dict[str, bytes]:
    if id(stage) not in _odd:
        async with stage.act("odd names", {name: case.encode() for case, name in ODD_NAMES.items()}) as act:
            await act.create_secret()
            await act.start(additionalEnv=env(VERIFY_BACKUP="true"))
            _odd[id(stage)] = await act.copied()
    return _odd[id(stage)]


async def test_a_name_that_is_not_utf_8_arrives_and_the_manifest_has_its_bytes(stage: Stage) -> None:
    async with stage.act("not UTF-8", KEEP) as act:
        with open(os.fsencode(act.source) + b"/caf\xe9", "wb") as file:
            file.write(b"latin-1")
        await act.create_secret()
        await act.start()
        mover = await act.expect_completed()
        assert b"latin-1" in (await act.copied()).values()
        entry = next(e for path, e in manifest_of(act, mover).items() if path.startswith("caf"))
        assert entry["raw"] == "Y2Fm6Q==", "base64 of the bytes themselves"


@pytest.mark.parametrize("letter", ["\n", "\x01"], ids=["a line break", "a control character"])
async def test_a_name_with_a_control_character_arrives_or_is_refused_before_anything_moves(
    letter: str, stage: Stage
) -> None:
    """A store that cannot list a name cannot give it back."""
    async with stage.act("control characters", {**KEEP, f"a{letter}b": b"odd"}) as act:
        await act.create_secret()
        await act.start()
        mover = await act.cluster.wait_phase("mover", "Completed", "Failed")
        if mover.status is not None and mover.status.phase == "Completed":
            assert (await act.copied())[f"a{letter}b"] == b"odd"
        else:
            await act.expect_failed(
                transfer.REASON_NAME_REFUSED, "cannot be restored", "Rename them, or exclude them", touched=True
            )


# --- what is refused before anything is moved ---------------------------------------------------------------------------


def too_long(source: Path) -> None:
    place = source / "/".join(["p" * 200] * 5)
    place.mkdir(parents=True)
    (place / ("f" * 100)).write_text("x")


def reserved(source: Path) -> None:
    (source / ".datamover").mkdir()
    (source / ".datamover" / "owner.json").write_text("{}")


def collision(source: Path) -> None:
    (source / "x").symlink_to("keep")
    (source / "x.rclonelink").write_text("a file")


REFUSED: dict[str, tuple[Callable[[Path], None], dict[str, Any], str, tuple[str, ...]]] = {
    "a path of more than 1024 bytes": (
        too_long,
        {},
        transfer.REASON_NAME_TOO_LONG,
        ("1 file", "1024 bytes", "Shorten the names", "Nothing was moved"),
    ),
    "a file and a link that become one object": (
        collision,
        {},
        transfer.REASON_NAME_COLLISION,
        ("x.rclonelink", "Rename one of them", "Nothing was moved"),
    ),
    "our own folder in a mirror": (
        reserved,
        MIRROR,
        transfer.REASON_RESERVED_NAME,
        ("'.datamover'", "Rename or remove it, or set addTimestampPrefix", "Nothing was moved"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_tree_that_cannot_be_kept_is_refused(case: str, stage: Stage) -> None:
    arrange, spec, reason, words = REFUSED[case]
    async with stage.act(case, KEEP) as act:
        arrange(act.source)
        await act.create_secret()
        await act.start(**spec)
        await act.expect_failed(reason, *words)


async def test_our_own_folder_is_an_ordinary_one_in_a_timestamped_copy(stage: Stage) -> None:
    async with stage.act("our own folder", KEEP) as act:
        reserved(act.source)
        await act.create_secret()
        await act.start()
        mover = await act.expect_completed()
        everything = act.s3.objects(run_of(mover).timestamp, bucket=act.bucket, records=True)
        assert everything == {**KEEP, ".datamover/owner.json": b"{}"}


# --- what is kept, counted or left out ----------------------------------------------------------------------------------


async def test_links_are_kept_and_never_followed(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("not part of the volume")
    links = {
        "to-a-file": "keep/one.txt",
        "to-a-folder": "keep",
        "to-nothing": "no/such/thing",
        "to-itself": "to-itself",
        "loop/back": "..",
        "out": str(tmp_path / "outside"),
        "out-file": str(tmp_path / "outside" / "secret.txt"),
        "out-relative": "../../../../../../etc/passwd",
        "to-root": "/",
    }
    async with stage.act("links", KEEP) as act:
        for name, target in links.items():
            (act.source / name).parent.mkdir(exist_ok=True)
            (act.source / name).symlink_to(target)
        await act.create_secret()
        await act.start(additionalEnv=env(VERIFY_BACKUP="true"))
        assert await act.copied() == {
            **KEEP,
            **{f"{name}.rclonelink": target.encode() for name, target in links.items()},
        }


async def test_what_is_no_file_is_counted_named_and_left_out(stage: Stage) -> None:
    async with stage.act("special files", KEEP) as act:
        os.mkfifo(act.source / "pipe")
        # A socket's path may have 107 bytes: bound from its own folder, wherever the checkout and the temporary folder are.
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as server, contextlib.chdir(act.source):
            server.bind("socket")
        expected = 2
        if os.geteuid() == 0:
            os.mknod(act.source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
            expected = 3
        await act.create_secret()
        await act.start(copyMethod="Direct")
        mover = await act.expect_completed()
        assert run_of(mover).skipped == expected
        assert await act.copied() == KEEP
        kinds = {path: entry["type"] for path, entry in manifest_of(act, mover).items()}
        assert (kinds["pipe"], kinds["socket"]) == ("fifo", "socket")


async def test_a_clone_of_special_files_is_made_and_moved_as_well(stage: Stage) -> None:
    async with stage.act("a clone of special files", KEEP) as act:
        os.mkfifo(act.source / "pipe")
        await act.create_secret()
        await act.start()
        mover = await act.expect_completed()
        assert run_of(mover).skipped == 1
        assert await act.copied() == KEEP


async def test_modes_owners_times_and_hard_links_are_recorded_and_the_source_keeps_them(stage: Stage) -> None:
    async with stage.act("modes and times", KEEP) as act:
        (act.source / "setuid").write_text("x")
        (act.source / "setuid").chmod(0o4755)
        (act.source / "nobody").write_text("x")
        (act.source / "twin").hardlink_to(act.source / "nobody")
        (act.source / "sticky").mkdir()
        (act.source / "sticky").chmod(0o1777)
        (act.source / "old").write_text("x")
        os.utime(act.source / "old", ns=(-(10**18), -(10**18)))
        (act.source / "new").write_text("x")
        os.utime(act.source / "new", ns=(13 * 10**18, 13 * 10**18))
        await act.create_secret()
        await act.start()
        mover = await act.expect_completed()
        entries = manifest_of(act, mover)
        assert entries["setuid"]["mode"] == 0o4755
        assert entries["sticky"]["mode"] == 0o1777
        assert entries["nobody"]["hardlink"] == entries["twin"]["hardlink"]
        assert entries["old"]["mtime"] == os.stat(act.source / "old").st_mtime_ns < 0
        assert entries["new"]["mtime"] == os.stat(act.source / "new").st_mtime_ns
        assert (await act.copied()).keys() == {*KEEP, "setuid", "nobody", "twin", "old", "new"}


async def test_a_sparse_file_arrives_whole_and_is_recorded_as_sparse(stage: Stage) -> None:
    async with stage.act("a sparse file", KEEP) as act:
        with (act.source / "sparse").open("wb") as file:
            file.truncate(24 << 20)
            file.seek(20 << 20)
            file.write(b"data")
        await act.create_secret()
        await act.start(additionalEnv=env(VERIFY_BACKUP="true"))
        mover = await act.expect_completed()
        arrived = (await act.copied())["sparse"]
        assert (len(arrived), arrived[20 << 20 :][:4]) == (24 << 20, b"data")
        assert manifest_of(act, mover)["sparse"]["sparse"] is True


async def test_more_tiny_files_than_two_pages_of_a_listing_hold(stage: Stage) -> None:
    async with stage.act("many tiny files", {}) as act:
        for folder in range(25):
            (act.source / f"{folder:02}").mkdir()
            for number in range(100):
                (act.source / f"{folder:02}" / f"{number:02}").write_bytes(b"%d" % number)
        await act.create_secret()
        await act.start(copyMethod="Direct")
        mover = await act.expect_completed(seconds=100)
        assert (run_of(mover).files, run_of(mover).transferred_files) == (2_500, 2_500)
        assert len(await act.copied()) == 2_500


@pytest.mark.parametrize("files", [{}, {"a/b/": b"", "c/": b""}], ids=["nothing at all", "folders only"])
async def test_a_volume_without_files_is_a_backup_of_nothing(files: dict[str, bytes], stage: Stage) -> None:
    async with stage.act("an empty volume", {}) as act:
        for name in files:
            (act.source / name).mkdir(parents=True)
        await act.create_secret()
        await act.start()
        mover = await act.expect_completed()
        assert run_of(mover).files == 0
        assert await act.copied() == {}
        assert {p for p, e in manifest_of(act, mover).items() if e["type"] == "directory"} >= {
            name.rstrip("/") for name in files
        }


async def test_a_folder_and_a_file_that_changed_places(stage: Stage) -> None:
    async with stage.act("changed places", {**KEEP, "a": b"file", "b/inner": b"folder"}, shared=False) as act:
        await act.create_secret()
        await act.start("first", **MIRROR)
        await act.expect_completed(name="first")
        (act.source / "a").unlink()
        (act.source / "b" / "inner").unlink()
        (act.source / "b").rmdir()
        (act.source / "a").mkdir()
        (act.source / "a" / "inner").write_bytes(b"now a folder")
        (act.source / "b").write_bytes(b"now a file")
        await act.start("second", **MIRROR)
        await act.expect_completed(name="second")
        assert act.objects(records=False) == {**KEEP, "a/inner": b"now a folder", "b": b"now a file"}
        act.remember()


# --- what cannot be read, and what does not keep still ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Clone", "Direct"])
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_what_the_mover_may_not_read_fails_the_run_and_everything_else_arrives(
    what: str, method: str, stage: Stage
) -> None:
    if method == "Clone" and os.geteuid() != 0:
        pytest.skip("the node cannot copy what its own user may not read; Direct shows the same of the mover")
    async with stage.act(f"an unreadable {what} {method}", {**KEEP, "locked/inside.txt": b"x"}) as act:
        place = act.source / "locked" if what == "folder" else act.source / "locked" / "inside.txt"
        with unreadable(place):
            await act.create_secret()
            await act.start(copyMethod=method, image={"repository": POWERLESS})
            failed = await act.expect_failed(
                transfer.REASON_SOURCE_UNREADABLE, "cannot be read", "fsGroup", "nothing was deleted", touched=True
            )
            assert run_of(failed).attempts == 1
            arrived = act.s3.objects(run_of(failed).timestamp, bucket=act.bucket)
            assert arrived == KEEP
        act.remember()


@contextlib.contextmanager
def unreadable(place: Path) -> Iterator[None]:
    """Take every right away for a while. Root has them all the same, so the mover runs without its privileges."""
    before = place.stat().st_mode
    place.chmod(0)
    try:
        yield
    finally:
        place.chmod(stat.S_IMODE(before))


@contextlib.asynccontextmanager
async def restless(work: Callable[[int], None]) -> AsyncIterator[None]:
    """Do something to the source again and again while the block runs."""

    async def go_on() -> None:
        number = 0
        while True:
            work(number)
            number += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


SLOW = env(RCLONE_BWLIMIT="4M", RCLONE_TRANSFERS="1")


async def test_a_file_that_grows_all_the_time_fails_the_run_and_says_to_take_a_copy(stage: Stage) -> None:
    async with stage.act("a growing file", {**KEEP, "log": bytes(3 << 20)}) as act:
        await act.create_secret()

        def grow(number: int) -> None:
            with (act.source / "log").open("ab") as file:
                file.write(b"%d\n" % number)

        await act.start(copyMethod="Direct", additionalEnv=SLOW)
        async with restless(grow):
            mover = await act.cluster.wait_phase("mover", "Failed", "Completed", seconds=60)
        act.remember()
        assert mover.status is not None
        assert mover.status.phase == "Failed", mover.status.message
        await act.expect_failed(
            transfer.REASON_SOURCE_CHANGED, "changed while they were read", "clone or a snapshot", touched=True
        )


async def test_files_that_come_and_go_are_no_failure_and_what_stays_arrives(stage: Stage) -> None:
    async with stage.act("vanishing files", {**KEEP, "big": bytes(4 << 20)}) as act:
        await act.create_secret()

        def flicker(number: int) -> None:
            (act.source / f"temporary-{number}").write_bytes(b"here")
            (act.source / f"temporary-{number - 20}").unlink(missing_ok=True)

        await act.start(copyMethod="Direct", additionalEnv=SLOW)
        async with restless(flicker):
            mover = await act.cluster.wait_phase("mover", "Failed", "Completed", seconds=60)
        act.remember()
        assert mover.status is not None
        assert mover.status.phase == "Completed", mover.status.message
        arrived = await act.copied()
        assert {name: arrived.get(name) for name in KEEP} == KEEP
        assert arrived["big"] == bytes(4 << 20)


async def test_a_volume_that_goes_while_it_is_read_directly_is_told(stage: Stage) -> None:
    async with stage.act("a volume that goes", TREE) as act:
        await act.create_secret()
        hidden = act.source.with_name("hidden")
        act.source.rename(hidden)
        try:
            await act.cluster.create_mover("mover", copyMethod="Direct", addTimestampPrefix=True)
            mover = await act.cluster.wait_mover(
                "mover", lambda m: "does not exist" in ((m.status and m.status.message) or ""), seconds=30
            )
        finally:
            hidden.rename(act.source)
        assert mover.metadata.name
        await act.client.delete(DATA_MOVERS, "mover", namespace=act.namespace)
        await act.cluster.wait_gone(DATA_MOVERS, "mover")
        act.remember()
