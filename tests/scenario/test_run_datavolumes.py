"""`datamover run` with DataVolumes, as its users run it: a process, a web server on loopback, disks compared byte by byte."""

import functools
import hashlib
import json
import lzma
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api.cdi import names
from support.s3 import S3Server

SIZE = 3 * 2**20 + 12345
CONFIG = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "CDIConfig",
    "metadata": {"name": "config"},
    "spec": {"dataVolumeTTLSeconds": 0},
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        del format, args


@dataclass
class Desk:
    """A folder that is served, and a state directory."""

    place: Path
    address: str

    @property
    def served(self) -> Path:
        return self.place / "served"

    def run(self, *objects: dict[str, Any], arguments: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        (self.place / "manifests.yaml").write_text(yaml.safe_dump_all(objects))
        return self.call("run", "-f", str(self.place / "manifests.yaml"), *arguments)

    def call(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-m", "datamover.cli.main", command, "--state", str(self.place / "state"), *arguments]
        return subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)

    def directories(self) -> list[Path]:
        return sorted((self.place / "state" / "node" / "volumes").glob("pvc-*"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "served")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Desk(tmp_path, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def data_volume(name: str, source: dict[str, Any], *, annotations: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"source": source, "storage": {"resources": {"requests": {"storage": "16Mi"}}}, **spec},
    }


def disk() -> bytes:
    return hashlib.shake_256(b"disk").digest(SIZE)


def holds(path: Path, content: bytes) -> bool:
    """Tell whether a disk begins with this and has nothing else."""
    found = path.read_bytes()
    return found[: len(content)] == content and not any(found[len(content) :])


def result_of(ended: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(ended.stdout)["dataVolumes"]}


def test_disks_come_from_nothing_a_server_a_file_and_an_archive_and_a_backup_waits_for_its_disk(
    desk: Desk, s3: S3Server
) -> None:
    (desk.served / "disk.raw.xz").write_bytes(lzma.compress(disk(), preset=0))
    (desk.place / "mine.raw").write_bytes(disk()[::-1])
    with tarfile.open(desk.served / "files.tar", "w") as archive:
        (desk.place / "note.txt").write_text("a note")
        archive.add(desk.place / "note.txt", "folder/note.txt")
    packed = hashlib.sha256((desk.served / "disk.raw.xz").read_bytes()).hexdigest()
    web = {"http": {"url": f"{desk.address}/disk.raw.xz", "checksum": f"sha256:{packed}"}}
    backup = {
        "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
        "kind": "DataMover",
        "metadata": {"name": "backup"},
        "spec": {"sourcePvc": "files", "secretName": "credentials", "deletePvcAfterBackup": True},
    }
    credentials = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "credentials"},
        "stringData": dict(s3.secret()),
    }
    ended = desk.run(
        backup,
        credentials,
        data_volume("empty", {"blank": {}}),
        data_volume("web", web),
        data_volume("sent", {"upload": {}}),
        data_volume("files", {"http": {"url": f"{desk.address}/files.tar"}}, contentType="archive"),
        arguments=("-o", "json", "--upload", f"sent={desk.place / 'mine.raw'}"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = result_of(ended)
    assert {name: each["result"] for name, each in found.items()} == dict.fromkeys(
        ("empty", "web", "sent", "files"), "Completed"
    )
    assert all(each["status"]["phase"] == "Succeeded" for each in found.values())
    assert holds(Path(found["web"]["disk"]), disk())
    assert holds(Path(found["sent"]["disk"]), disk()[::-1])
    assert holds(Path(found["empty"]["disk"]), b"")
    assert (Path(found["files"]["disk"]) / "folder" / "note.txt").read_text() == "a note"
    document = json.loads(ended.stdout)
    assert document["dataMovers"][0]["status"]["phase"] == "Completed"
    assert document["dataMovers"][0]["status"]["run"]["files"] == 1
    assert [key.rpartition("/")[2] for key in s3.objects()] == ["note.txt"]


@pytest.mark.parametrize("key", names.ASKING_KEYS)
def test_g1_n12_one_that_asks_is_collected_its_disk_stays_and_the_same_file_fills_nothing_again(
    key: str, desk: Desk
) -> None:
    (desk.served / "disk.raw").write_bytes(disk())
    asks = data_volume("disk", {"http": {"url": f"{desk.address}/disk.raw"}}, annotations={key: "true"})
    ended = desk.run(CONFIG, asks)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "it was collected; its claim stays" in ended.stdout
    (directory,) = desk.directories()
    before = (directory / "disk.img").stat()
    assert holds(directory / "disk.img", disk())

    (desk.served / "disk.raw").unlink()
    again = desk.run(CONFIG, asks)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing is done" in again.stdout
    assert str(directory / "disk.img") in again.stdout
    after = (directory / "disk.img").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)

    assert "Collected" in desk.call("state").stdout
    freed = desk.call("state", "--free", "disk")
    assert freed.returncode == 0, freed.stderr
    assert desk.directories() == []


def test_a_disk_that_cannot_be_had_is_told_and_the_same_command_tries_again(desk: Desk) -> None:
    late = data_volume("late", {"http": {"url": f"{desk.address}/late.raw"}})
    failed = desk.run(late)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "404" in failed.stdout
    assert "To try again: run the same command" in failed.stdout
    (desk.served / "late.raw").write_bytes(disk())
    goes = desk.run(late)
    assert goes.returncode == 0, goes.stdout + goes.stderr
    changed = desk.run(data_volume("late", {"blank": {}}))
    assert changed.returncode == 2
    assert "datamover state --free DataVolume/late" in changed.stderr


def test_what_nobody_can_bring_ends_with_a_sentence_and_the_backup_of_it_is_not_begun(desk: Desk) -> None:
    backup = {
        "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
        "kind": "DataMover",
        "metadata": {"name": "backup"},
        "spec": {"sourcePvc": "vsphere", "secretName": "credentials"},
    }
    ended = desk.run(data_volume("vsphere", {"vddk": {"uuid": "x"}}), backup)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "does not import from vddk" in ended.stdout
    assert "default/backup was not begun: it copies the claim of DataVolume default/vsphere" in ended.stdout
    lacks = desk.run(data_volume("sent", {"upload": {}}))
    assert lacks.returncode == 2
    assert "--upload sent=FILE" in lacks.stderr
