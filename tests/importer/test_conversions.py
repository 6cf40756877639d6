"""qcow2: what the real qemu-img makes of real images, and what is never handed to it."""

import gzip
import lzma
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.engines import find_engine, path_with
from support.image_server import ImageServer, Plain
from support.importing import MIB, Volume, noise, refused, succeeded

RAW = noise(MIB) + bytes(3 * MIB) + noise(MIB)


def qemu_img(*arguments: object) -> None:
    subprocess.run([find_engine("qemu-img"), *map(str, arguments)], check=True, capture_output=True, timeout=60)


def make_encrypted(path: Path) -> None:
    """Make an encrypted image. The program measures how fast it hashes by its own CPU time, and gives up where a busy machine gave it none."""
    options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
    made = ("create", "-f", "qcow2", "-o", options, "--object", "secret,id=s,data=x", path, "1M")
    for _ in range(2):
        with suppress(subprocess.CalledProcessError):
            qemu_img(*made)
            return
    qemu_img(*made)


def convert(folder: Path, raw: bytes, *options: str) -> bytes:
    source, made = folder / "source.raw", folder / "made.qcow2"
    source.write_bytes(raw)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, source, made)
    return made.read_bytes()


@pytest.fixture
def programs() -> dict[str, str]:
    return {"PATH": path_with("qemu-img")}


@pytest.mark.parametrize(
    ("options", "pack"),
    [((), bytes), (("-c",), bytes), (("-o", "compat=0.10"), gzip.compress), (("-o", "extended_l2=on"), lzma.compress)],
)
def test_qcow2_becomes_the_raw_disk_in_it(
    tmp_path: Path, volume: Volume, server: ImageServer, programs: dict[str, str], options: tuple[str, ...], pack
) -> None:
    server.objects["/image"] = Plain(pack(convert(tmp_path, RAW, *options)))
    outcome = succeeded(volume.run(URL=server.url("/image"), **programs))
    assert volume.disk.read_bytes() == RAW + bytes(3 * MIB)
    assert "qcow2" in outcome.message
    assert "qemu-img version" in outcome.engine
    assert (volume.left(), list((volume.root / "scratch").iterdir())) == (["disk.img"], [])


TEXT = b"".join(b"%d words that pack well %x\n" % (number, number * number * 7919) for number in range(40_000))[:MIB]
FORMS = {
    "usual": (RAW, ()), "packed": (TEXT, ("-c",)), "in parts": (RAW, ("-o", "extended_l2=on")), "small": (RAW, ("-o", "cluster_size=512")),
    "old": (RAW, ("-o", "compat=0.10")), "a disk that ends within a cluster": (RAW[:-512 * 3], ()),
    "the same, packed": (noise(MIB + 512), ("-c",)), "zstd": (TEXT, ("-c", "-o", "compression_type=zstd")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_was_cut_off_is_never_a_disk_with_zeros_in_their_place(
    tmp_path: Path, volume: Volume, server: ImageServer, programs: dict[str, str], form: str
) -> None:
    raw, options = FORMS[form]
    image = convert(tmp_path, raw, *options)
    for cut in (0, 1, 511, 512, 70_000, len(image) // 2, len(image) - 70_000):
        server.objects["/image"] = Plain(image[: len(image) - cut])
        ended = volume.run(URL=server.url("/image"), **programs)
        if ended.outcome.succeeded:
            assert volume.disk.read_bytes()[: len(raw)] == raw, cut
        else:
            assert cut
            refused(ended, "ImageDamaged")
            assert volume.left() == []
    assert not ended.outcome.succeeded


def test_on_a_device_with_old_bytes_nothing_but_the_image_is_left(
    tmp_path: Path, volume: Volume, server: ImageServer, programs: dict[str, str]
) -> None:
    server.objects["/image"] = Plain(convert(tmp_path, RAW))
    volume.make_device(8 * MIB, old=b"old bytes")
    succeeded(volume.run(URL=server.url("/image"), VOLUME_MODE="Block", **programs))
    assert volume.device.read_bytes() == RAW + bytes(3 * MIB)


def test_a_disk_in_an_image_that_does_not_fit_is_refused_before_anything_is_converted(
    tmp_path: Path, volume: Volume, server: ImageServer, programs: dict[str, str]
) -> None:
    qemu_img("create", "-f", "qcow2", tmp_path / "huge.qcow2", "1T")
    server.objects["/image"] = Plain((tmp_path / "huge.qcow2").read_bytes())
    outcome = refused(volume.run(URL=server.url("/image"), **programs), "DestinationTooSmall")
    assert str(1 << 40) in outcome.message
    assert volume.left() == []


def test_an_image_that_names_another_file_is_refused_and_that_file_never_read(
    tmp_path: Path, volume: Volume, server: ImageServer, programs: dict[str, str]
) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"root of the node".ljust(MIB, b"!"))
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", tmp_path / "backed.qcow2")
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret},data_file_raw=on", tmp_path / "data.qcow2", "1M")
    make_encrypted(tmp_path / "locked.qcow2")
    for name, word in (("backed", "backing file"), ("data", "another file"), ("locked", "encrypted")):
        server.objects["/image"] = Plain((tmp_path / f"{name}.qcow2").read_bytes())
        outcome = refused(
            volume.run(URL=server.url("/image"), DATAMOVER_QEMU_IMG="/nobody/starts/this", **programs), "ImageRefused"
        )
        assert word in outcome.message
        assert volume.left() == []


HEADER = struct.Struct(">4sIQIIQIIQQIIQQ")


def header(**changes: int) -> bytes:
    fields = {
        "magic": b"QFI\xfb", "version": 3, "backing": 0, "backing_size": 0, "bits": 16, "size": MIB, "crypt": 0, "l1_size": 1, "l1": 196608,
        "refcounts": 65536, "clusters": 1, "snapshots": 0, "snapshots_at": 0, "incompatible": 0,
    } | changes  # fmt: skip
    return HEADER.pack(*fields.values()) + bytes(4096)


HEADERS = {
    "version 1": {"version": 1}, "version 4": {"version": 4}, "no disk": {"size": 0}, "marked corrupt": {"incompatible": 2},
    "unknown feature": {"incompatible": 1 << 40}, "odd clusters": {"bits": 40}, "a length and no place": {"backing_size": 10},
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_is_not_as_it_should_be_is_refused(volume: Volume, server: ImageServer, case: str) -> None:
    server.objects["/image"] = Plain(header(**HEADERS[case]))
    refused(volume.run(URL=server.url("/image"), DATAMOVER_QEMU_IMG="/nobody/starts/this"), "ImageRefused")


def test_a_good_header_and_rubbish_behind_it_is_damage(
    volume: Volume, server: ImageServer, programs: dict[str, str]
) -> None:
    server.objects["/image"] = Plain(header() + noise(MIB))
    refused(volume.run(URL=server.url("/image"), **programs), "ImageDamaged")
    assert volume.left() == []


def test_without_the_program_qcow2_is_refused_and_never_stored_as_if_it_were_raw(
    volume: Volume, server: ImageServer
) -> None:
    server.objects["/image"] = Plain(header())
    refused(volume.run(URL=server.url("/image"), PATH="/nowhere"), "EngineMissing")
    assert volume.left() == []


def test_a_program_that_hangs_is_ended_by_a_stop_and_gets_none_of_our_secrets(
    tmp_path: Path, volume: Volume, server: ImageServer
) -> None:
    told = tmp_path / "told"
    program = tmp_path / "qemu-img"
    program.write_text(f"#!/bin/sh\nenv > {told}\nexec sleep 60\n")
    program.chmod(0o755)
    server.objects["/image"] = Plain(header().ljust(MIB // 2, b"\0"))
    given = {"DATAMOVER_QEMU_IMG": str(program), "ACCESS_KEY_ID": "alice", "SECRET_KEY": "geheim123"}
    with volume.container(URL=server.url("/image"), **given).start() as running:
        end = time.monotonic() + 30
        while not (told.exists() and "LANG" in told.read_text()) and time.monotonic() < end:
            time.sleep(0.02)
        running.terminate()
        ended = running.wait(timeout=30)
    assert ended.outcome.reason == "Interrupted"
    assert "geheim123" not in told.read_text()
    assert volume.left() == []
