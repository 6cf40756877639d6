"""The state directory of the embedded world: private, locked, without Secrets, restored; and what is said when it cannot be used."""

import asyncio
import os
import stat
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from datamover.cli.embedded import saving
from datamover.cli.embedded.saving import Saver
from datamover.cli.embedded.state import WorldError
from datamover.cli.embedded.world import (
    EmbeddedWorld,
    WorldOptions,
    adopt_volume,
    ensure_namespace,
    mover_images,
    start_world,
)
from datamover.cli.places import default_state
from datamover.cli.volumes import Volume
from kubekit.client.errors import NotFound
from kubekit.words.core import CONFIG_MAPS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS, SECRETS

CANARY = "canary-2b7e151628aed2a6"


@asynccontextmanager
async def world(state: Path) -> AsyncIterator[EmbeddedWorld]:
    """A world without an operator: what is tested here is what it stands on."""
    async with asyncio.timeout(20), start_world(WorldOptions(state=state, operator=None)) as found:
        yield found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def create_secret(found: EmbeddedWorld, name: str = "s") -> None:
    await found.client.create(
        SECRETS, {"metadata": {"name": name, "namespace": "default"}, "stringData": {"KEY": CANARY}}
    )


async def test_only_its_owner_can_read_the_state(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with world(tmp_path / "deep" / "state") as found:
            await create_secret(found)
    finally:
        os.umask(before)
    state = tmp_path / "deep" / "state"
    assert mode(state) == 0o700
    assert mode(state / "objects") == 0o600


async def test_a_directory_that_others_could_read_is_closed_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with world(state):
        pass
    state.chmod(0o755)
    async with world(state):
        assert mode(state) == 0o700


async def test_a_directory_with_other_things_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(WorldError, match="holds other things than state: choose an empty or new directory"):
        async with world(tmp_path):
            pass
    assert mode(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


async def test_secrets_are_on_disk_at_no_time(tmp_path: Path) -> None:
    """Not while the world runs either: it may be killed at any moment."""
    async with world(tmp_path / "state") as found:
        await create_secret(found)
        await found.client.create(
            CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "default"}, "data": {"k": "kept"}}
        )
        await Saver(found.server, tmp_path / "state" / "objects").save()
        assert "kept" in unpacked(tmp_path)
        assert CANARY not in unpacked(tmp_path)
        assert "canary" not in unpacked(tmp_path), "nor in base64"
        assert (await found.client.get(SECRETS, "s", namespace="default")).metadata.name == "s", (
            "it stays where it serves"
        )
    assert CANARY not in unpacked(tmp_path)
    async with world(tmp_path / "state") as found:
        with pytest.raises(NotFound):
            await found.client.get(SECRETS, "s", namespace="default")


def unpacked(place: Path) -> str:
    """Return all that the state directory holds, decompressed, and with what is base64 in it decoded."""
    import base64
    import re

    text = ""
    for path in (place / "state").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            plain = zlib.decompress(raw) if path.name.startswith("objects") else raw
            text += plain.decode("utf-8", "replace")
    for word in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text):
        try:
            text += base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8", "replace")
        except ValueError:
            continue
    return text


async def test_a_second_start_finds_what_the_first_left(tmp_path: Path) -> None:
    async with world(tmp_path / "state") as found:
        await ensure_namespace(found.client, "backups")
        first = (await found.client.get(NAMESPACES, "kube-system")).metadata.uid
    async with world(tmp_path / "state") as found:
        assert (await found.client.get(NAMESPACES, "backups")).metadata.name == "backups"
        assert (await found.client.get(NAMESPACES, "kube-system")).metadata.uid == first, "the identity of the cluster"


async def test_a_second_process_is_kept_out_and_told_who_is_in(tmp_path: Path) -> None:
    async with world(tmp_path / "state"):
        with pytest.raises(WorldError, match=rf"is used by another datamover \(pid {os.getpid()}\): wait for it"):
            async with world(tmp_path / "state"):
                pass
    async with world(tmp_path / "state"):
        pass


DAMAGED = {
    "nothing": b"",
    "garbage": b"garbage",
    "half of it": zlib.compress(b'{"format":"datamover-objects/1","revision":5}\n')[:10],
    "another format": zlib.compress(b'{"format":"other/1","revision":5}\n'),
    "a damaged line": zlib.compress(b'{"format":"datamover-objects/1","revision":5}\n["x"]\n'),
    "a line that is no JSON": zlib.compress(b'{"format":"datamover-objects/1","revision":5}\n{\n'),
    "no header": zlib.compress(b""),
    "a header that is a list": zlib.compress(b"[]\n"),
}


@pytest.mark.parametrize("case", DAMAGED)
async def test_a_damaged_state_is_told_and_left_as_it_is(case: str, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "objects").write_bytes(DAMAGED[case])
    with pytest.raises(WorldError, match="move it away to begin with an empty world; the volumes and buckets are not"):
        async with world(tmp_path / "state"):
            pass
    assert (tmp_path / "state" / "objects").read_bytes() == DAMAGED[case]


@pytest.mark.parametrize("name", ["objects", "lock"])
async def test_a_directory_in_the_place_of_a_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "state" / name).mkdir(parents=True)
    with pytest.raises(WorldError, match=f"{name}.*(cannot be read|cannot be opened)"):
        async with world(tmp_path / "state"):
            pass


async def test_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="cannot be used for state: Not a directory: choose another directory"):
        async with world(tmp_path / "file" / "state"):
            pass


async def test_an_interrupted_save_harms_nothing(tmp_path: Path) -> None:
    async with world(tmp_path / "state") as found:
        await ensure_namespace(found.client, "backups")
    (tmp_path / "state" / "objects.new").write_bytes(b"half")
    async with world(tmp_path / "state") as found:
        assert (await found.client.get(NAMESPACES, "backups")).metadata.name == "backups"


async def test_a_volume_is_adopted_once_and_never_for_another_directory(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with world(tmp_path / "state") as found:
        for _ in range(2):
            await adopt_volume(found, Volume("app-data", tmp_path / "one"), namespace="default")
        claim = await found.client.get(PERSISTENT_VOLUME_CLAIMS, "app-data", namespace="default")
        assert claim.spec is not None
        with pytest.raises(
            WorldError, match=f"--volume app-data: .*{tmp_path / 'one'} already.*datamover state --free-volume"
        ):
            await adopt_volume(found, Volume("app-data", tmp_path / "two"), namespace="default")


async def test_a_part_that_stops_is_told_instead_of_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path / "state") as found:
        found.check()

        async def fail() -> None:
            raise RuntimeError("no more")

        task = asyncio.create_task(fail(), name="saver")
        await asyncio.wait([task])
        found.watch_over((task,))
        with pytest.raises(WorldError, match="the embedded saver stopped: no more"):
            found.check()


def test_the_default_state_is_where_state_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state() == tmp_path / "datamover"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative/means/nothing")
    assert default_state() == tmp_path / ".local" / "state" / "datamover"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state() == tmp_path / ".local" / "state" / "datamover"


def test_the_documented_images_stand_for_our_own_mover() -> None:
    images = mover_images()
    assert {"ghcr.io/qjoly/datamover-rclone", "ttl.sh/rclone_op"} <= images.keys()
    assert len(set(images.values())) == 1


async def identity(found: EmbeddedWorld) -> str:
    return (await found.client.get(NAMESPACES, "kube-system")).metadata.uid


async def test_who_this_world_is_is_on_disk_before_anything_relies_on_it(tmp_path: Path) -> None:
    async with world(tmp_path / "state") as found:
        known = (tmp_path / "state" / "identity").read_text().strip()
        assert known == await identity(found)
        assert (tmp_path / "state" / "objects").exists()


async def test_a_world_whose_objects_were_lost_is_still_the_one_that_mirrors_know(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with world(state) as found:
        before = await identity(found)
    (state / "objects").unlink()
    clone = state / "node" / "volumes" / "pvc-6f0e9a1c"
    clone.mkdir(parents=True)
    for _ in range(2):
        async with world(state) as found:
            assert await identity(found) == before
            await found.node.ready.wait()
    assert clone.is_dir(), "no object knows it, but a person may"


async def test_a_state_from_before_identities_were_kept_has_that_of_its_node(tmp_path: Path) -> None:
    """Such a process was killed before its first save: all that it left was its node's note."""
    state = tmp_path / "state"
    (state / "node").mkdir(parents=True)
    (state / "node" / "cluster").write_text("0c5a7a34-5b0f-4a39-9d3c-7a3d6b1d6c11")
    async with world(state) as found:
        assert await identity(found) == "0c5a7a34-5b0f-4a39-9d3c-7a3d6b1d6c11"


async def test_objects_of_another_world_are_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        async with world(tmp_path / name):
            pass
    (tmp_path / "one" / "objects").write_bytes((tmp_path / "two" / "objects").read_bytes())
    with pytest.raises(
        WorldError, match="identity and objects are of two worlds: move objects away to go on as the first"
    ):
        async with world(tmp_path / "one"):
            pass
    (tmp_path / "one" / "objects").unlink()
    async with world(tmp_path / "one"):
        pass


@pytest.mark.parametrize("content", [b"", b"somebody", b"\xff" * 40, b"0" * 5000])
async def test_a_damaged_identity_is_told_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    async with world(tmp_path / "state"):
        pass
    (tmp_path / "state" / "identity").write_bytes(content)
    with pytest.raises(WorldError, match="holds no UID: write back the UID that the mirrors of this state know"):
        async with world(tmp_path / "state"):
            pass
    assert (tmp_path / "state" / "identity").read_bytes() == content


async def test_a_first_save_that_fails_begins_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with world(state):
        pass
    (state / "objects.new").mkdir()
    with pytest.raises(WorldError, match="objects cannot be saved: Is a directory: nothing was run; mend that"):
        async with world(state):
            pass
    (state / "objects.new").rmdir()
    async with world(state):
        pass


async def test_a_state_that_cannot_be_saved_ends_nothing_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk holds up what relies on the state, is told, and passes."""
    full = asyncio.Event()
    write = saving.write_whole

    def write_or_fail(path: Path, data: bytes) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(saving, "write_whole", write_or_fail)
    monkeypatch.setattr(saving, "PAUSE", 0.01)
    state = tmp_path / "state"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    async with world(state) as found:
        await found.node.ready.wait()
        full.set()
        await found.client.create(
            PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, "spec": spec}
        )
        while "cannot be saved: No space left on device" not in caplog.text:
            await asyncio.sleep(0.01)
        found.check()
        assert os.listdir(state / "node" / "volumes") == []
        full.clear()
        while not os.listdir(state / "node" / "volumes"):
            found.check()
            await asyncio.sleep(0.01)
        assert "the state is saved again" in caplog.text
        full.set()
    assert "the next run goes on from what was saved before" in caplog.text
