"""Images that are written without a builder, as containerd would read them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cluster import velero
from cluster.archive import write_image


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"a program")
    return program


def read(image: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, tarfile.TarInfo]]:
    """Return manifest, configuration and what is in the layer."""
    with tarfile.open(image) as archive:

        def content(name: str) -> bytes:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

        (manifest,) = json.loads(content("manifest.json"))
        config = content(manifest["Config"])
        assert hashlib.sha256(config).hexdigest() == Path(manifest["Config"]).stem
        (layer,) = map(content, manifest["Layers"])
        assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
        assert manifest["Layers"] == [f"{hashlib.sha256(layer).hexdigest()}.tar"]
        with tarfile.open(fileobj=io.BytesIO(layer)) as files:
            return manifest, json.loads(config), {each.name: each for each in files}


def test_an_image_names_all_its_parts_by_their_digests_and_runs_its_program_as_nobody_special(
    program: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "one.tar", name="one:1", program=program, arguments=["serve"], machine="x86_64")

    manifest, config, files = read(tmp_path / "one.tar")
    assert manifest["RepoTags"] == ["one:1"]
    assert config["config"]["Entrypoint"] == ["/program", "serve"]
    assert config["config"]["User"] == "65532:65532"
    assert {name: each.mode for name, each in files.items()} == {"tmp": 0o1777, "data": 0o1777, "program": 0o755}


def test_the_same_files_make_the_same_image(program: Path, tmp_path: Path) -> None:
    for name in ("one.tar", "other.tar"):
        write_image(tmp_path / name, name="one:1", program=program, machine="aarch64")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_velero_has_a_home_that_it_can_write(tmp_path: Path) -> None:
    (tmp_path / "velero").write_bytes(b"a program")

    velero.write_server_image(tmp_path / "velero.tar", name="velero:1", programs=tmp_path)

    _, config, files = read(tmp_path / "velero.tar")
    (home,) = [each.removeprefix("HOME=/") for each in config["config"]["Env"]]
    assert files[home].mode & 0o777 == 0o777
    assert config["config"]["Entrypoint"] == ["/velero"]


def test_the_plugin_for_stores_copies_itself_into_the_folder_that_is_mounted(tmp_path: Path) -> None:
    for name in ("cp-plugin", "velero-plugin-for-aws"):
        (tmp_path / name).write_bytes(name.encode())

    velero.write_store_plugin_image(tmp_path / "plugin.tar", name="plugin:1", programs=tmp_path)

    _, config, files = read(tmp_path / "plugin.tar")
    copy, source, target = config["config"]["Entrypoint"]
    assert {copy.removeprefix("/"), source.removeprefix("/")} <= files.keys()
    assert target == "/target/velero-plugin-for-aws"
