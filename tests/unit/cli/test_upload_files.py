"""`--upload NAME=FILE`: what is taken, what is refused, and how a worker gets it."""

import io
from pathlib import Path

import aiohttp
import click
import pytest

from datamover.cli.embedded.handing import hand_out
from datamover.cli.manifests import ManifestError, Source, read_manifests
from datamover.cli.request import check_request
from datamover.cli.upload_files import UploadFile, UploadType, parse_upload

VOLUME = """
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: {{name: {name}}}
spec: {{source: {source}, storage: {{resources: {{requests: {{storage: 1Gi}}}}}}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"0123456789")
    return path


def sources(*volumes: tuple[str, str]) -> tuple[Source, ...]:
    text = "---".join(VOLUME.format(name=name, source=source) for name, source in volumes)
    return read_manifests(("-",), stdin=io.StringIO(text), namespace="default")


def test_a_file_is_found_by_its_name(file: Path) -> None:
    assert parse_upload(f"vm={file}") == UploadFile("vm", file)


@pytest.mark.parametrize("text", ["vm", "=x", "vm=", "vm=/nowhere/at/all", "vm=/", "vm=a\0b"])
def test_what_names_no_file_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_upload(text)


def test_a_shell_completes_files_after_the_name() -> None:
    found = UploadType().shell_complete(click.Context(click.Command("run")), click.Option(["--upload"]), "vm=./d")
    assert [(item.value, item.type) for item in found] == [("./d", "file")]
    assert UploadType().shell_complete(click.Context(click.Command("run")), click.Option(["--upload"]), "v") == []


@pytest.mark.parametrize(
    ("volumes", "names", "words"),
    [
        ((("vm", "{upload: {}}"),), ("vm",), None),
        ((("vm", "{upload: {}}"),), (), "say with which file, --upload vm=FILE"),
        ((("vm", "{upload: {}}"),), ("vm", "vm"), "names vm more than once"),
        ((("vm", "{blank: {}}"),), ("vm",), "no DataVolume vm with the source `upload`"),
        ((("vm", "upload"),), (), None),
    ],
)
def test_files_and_datavolumes_must_fit(
    volumes: tuple[tuple[str, str], ...], names: tuple[str, ...], words: str | None, file: Path, tmp_path: Path
) -> None:
    given = tuple(UploadFile(name, file) for name in names)
    if words is None:
        check_request(sources(*volumes), (), state=tmp_path / "state", uploads=given)
        return
    with pytest.raises(ManifestError, match=words):
        check_request(sources(*volumes), (), state=tmp_path / "state", uploads=given)


async def test_a_worker_fetches_the_file_also_from_its_middle_and_nobody_guesses_where(file: Path) -> None:
    async with hand_out({"vm": file}) as addresses, aiohttp.ClientSession() as session:
        async with session.get(addresses["vm"], headers={"Range": "bytes=4-"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"456789")
        async with session.get(addresses["vm"].rpartition("/")[0] + "/disk.raw") as answer:
            assert answer.status == 404
    async with hand_out({}) as addresses:
        assert addresses == {}
