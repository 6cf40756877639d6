"""Images that are written without a builder, as containerd would read them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cluster import velero
from cluster.archive import extend_image, layers_of, write_image
from cluster.layout import ClusterError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"a program")
    write_image(tmp_path / "base.tar", name="base:1", program=program, arguments=["serve"], machine="x86_64")
    return tmp_path / "base.tar"


def add_file(name: str, content: bytes = b"more") -> Any:
    def add(layer: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        layer.addfile(entry, io.BytesIO(content))

    return add


def read(image: Path) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """Return manifest, configuration and layers."""
    with tarfile.open(image) as archive:

        def content(name: str) -> bytes:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()

        (manifest,) = json.loads(content("manifest.json"))
        assert hashlib.sha256(content(manifest["Config"])).hexdigest() == Path(manifest["Config"]).stem
        return manifest, json.loads(content(manifest["Config"])), [content(layer) for layer in manifest["Layers"]]


def extend(target: Path, base: Path) -> None:
    extend_image(
        target,
        base=base,
        name="more:1",
        add=add_file("opt/more"),
        entrypoint=["/program", "more"],
        environment={"HOME": "/home/more"},
    )


def test_an_image_with_one_layer_more_names_all_its_parts_by_their_digests(base: Path, tmp_path: Path) -> None:
    extend(tmp_path / "more.tar", base)

    manifest, config, layers = read(tmp_path / "more.tar")
    assert manifest["RepoTags"] == ["more:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    assert read(base)[2] == layers[:1]
    assert layers_of(tmp_path / "more.tar") == ["tmp", "data", "program", "opt/more"]


def test_it_runs_something_else_as_the_same_user(base: Path, tmp_path: Path) -> None:
    extend(tmp_path / "more.tar", base)

    config = read(tmp_path / "more.tar")[1]["config"]
    assert config["Entrypoint"] == ["/program", "more"]
    assert (config["User"], config["Env"], "Cmd" in config) == ("65532:65532", ["HOME=/home/more"], False)


def test_the_same_files_make_the_same_image(base: Path, tmp_path: Path) -> None:
    for name in ("one.tar", "other.tar"):
        extend(tmp_path / name, base)

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_veleros_image_has_the_programs_and_only_those_packages_that_are_not_there(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = "opt/datamover/lib/python3.11/site-packages"
    operator = tmp_path / "operator.tar"
    extend_image(operator, base=base, name="o", add=add_file(f"{site}/msgspec/x.py"), entrypoint=(), environment={})
    with_folder = tmp_path / "with-folder.tar"
    extend_image(with_folder, base=operator, name="o", add=add_folder(f"{site}/msgspec"), entrypoint=(), environment={})
    for name in ("velero", "velero-plugin-for-aws"):
        (tmp_path / name).write_bytes(b"a program")

    def fetch(target: Path, *, version: str) -> None:
        assert version == "3.11"
        for name in ("msgspec", "grpc", "bin"):
            (target / name).mkdir()
            (target / name / "x.py").touch()

    monkeypatch.setattr(velero, "_fetch_packages", fetch)

    velero.write_velero_image(tmp_path / "velero.tar", base=with_folder, programs=tmp_path)

    added = set(layers_of(tmp_path / "velero.tar")) - set(layers_of(with_folder))
    plugins = {f"velero-plugins/{name}" for name in ("velero-plugin-for-aws", "datamover-velero-plugin")}
    assert added == {"home/velero", "velero", "velero-plugins", *plugins, f"{site}/grpc", f"{site}/grpc/x.py"}
    assert read(tmp_path / "velero.tar")[0]["RepoTags"] == [velero.VELERO_IMAGE]


def add_folder(name: str) -> Any:
    def add(layer: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        layer.addfile(entry)

    return add


def test_an_image_without_python_of_ours_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no image with Python"):
        velero.write_velero_image(tmp_path / "velero.tar", base=base, programs=tmp_path)
