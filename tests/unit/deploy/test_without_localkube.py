"""The operator without localkube, as its image has it: a wheel is built from what the Containerfile copies, and run where nothing else is ours."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.cli.embedded.world import install_basics
from kubekit.client.client import Client
from kubekit.runtime.informer import Informer
from localkube.http_server import serve
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport

ROOT = Path(__file__).resolve().parents[3]
COPIED = re.findall(
    r"^COPY ((?!--from)\S.*) /build/source/\S*$",
    (ROOT / "deploy/images/Containerfile").read_text(encoding="utf-8"),
    re.MULTILINE,
)
COMMANDS_OF_THE_WORLD = {
    "run": ["run", "-f", "nothing.yaml"],
    "local up": ["local", "up"],
    "state": ["state"],
    "demo": ["demo"],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the images' wheel."""
    source, wheels, folder = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "installed"))
    for name in " ".join(COPIED).split():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", wheels, source], check=True, timeout=90)
    [wheel] = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def command_line(*arguments: str) -> list[str]:
    """-S: the path file of the editable installation is not read, so that only the folder's packages of ours are found."""
    return [sys.executable, "-S", "-m", "datamover.cli.entry", *arguments]


def environment(installed: Path, home: Path) -> dict[str, str]:
    path = f"{installed}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    return {"PYTHONPATH": path, "HOME": str(home), "PATH": "/usr/bin:/bin"}


def run(installed: Path, home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command_line(*arguments),
        env=environment(installed, home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_of_the_images_has_no_localkube(installed: Path) -> None:
    packages = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert packages == {"datamover", "kubekit"}
    record = next(installed.glob("datamover-*.dist-info/RECORD")).read_text()
    assert "localkube/" not in record


@pytest.mark.parametrize("arguments", [["--help"], ["operator", "--help"], ["run", "--help"], ["completion", "bash"]])
def test_what_needs_no_embedded_world_works_without_it(installed: Path, tmp_path: Path, arguments: list[str]) -> None:
    done = run(installed, tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_definitions_are_printed_without_it(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "crds")
    shipped = [(ROOT / f"deploy/crds/{plural}.yaml").read_text() for plural in ("datamovers", "datamoverrestores")]
    assert done.stdout == "".join(shipped)


@pytest.mark.parametrize("name", COMMANDS_OF_THE_WORLD)
def test_a_command_that_needs_it_says_in_a_sentence_what_to_install(installed: Path, tmp_path: Path, name: str) -> None:
    done = run(installed, tmp_path, *COMMANDS_OF_THE_WORLD[name])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"Error: `datamover {name}` needs the embedded world, and localkube cannot be imported: "
        "install it with pip install 'datamover[local]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_sentence_is_json_where_json_was_asked_for(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, *COMMANDS_OF_THE_WORLD["run"], "-o", "json")
    document = json.loads(done.stdout)
    assert (document["exitCode"], done.returncode) == (2, 2)
    assert "pip install 'datamover[local]'" in document["error"]


async def test_an_operator_works_without_it(installed: Path, tmp_path: Path) -> None:
    """It waits for a source that is not there, says so in the status, and stops in order."""
    server = ApiServer()
    client = Client(LocalTransport(server))
    await install_basics(client)
    face = await serve(server)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(face.kubeconfig()))
    kubeconfig.chmod(0o600)
    options = ["--kubeconfig", str(kubeconfig), "--mover-image", "example.com/mover:1", "--metrics-bind-address", "0"]
    process = await asyncio.create_subprocess_exec(
        *command_line("operator", *options),
        env=environment(installed, tmp_path),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    movers = Informer(client, DATA_MOVERS)
    told = asyncio.Event()
    movers.add_handler(lambda _, mover: told.set() if mover and mover.status and mover.status.conditions else None)
    watching = asyncio.create_task(movers.run())
    try:
        spec = {"sourcePvc": "app-data", "secretName": "credentials"}
        await client.create(DATA_MOVERS, {"metadata": {"name": "one", "namespace": "default"}, "spec": spec})
        async with asyncio.timeout(60):
            await told.wait()
        [mover] = movers.store.list()
        assert mover.status is not None
        assert "app-data" in (mover.status.message or "")
        process.terminate()
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert "Traceback" not in errors.decode()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if process.returncode is None:
            process.kill()
            await process.wait()
        await face.close()
