"""The plugin for Velero as one file: made from this checkout, its Python and the packages of its environment, the way the image's is made."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build import BuildError, find_go

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "deploy/images/plugin"
NAME = "datamover-velero-plugin"
GO = re.search(r"^go (\S+)$", (SOURCES / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)


def packages() -> list[Path]:
    """Return the folders and modules of what requirements/plugin.txt installs."""
    text = (ROOT / "requirements/plugin.txt").read_text(encoding="utf-8")
    found: set[Path] = set()
    for name in re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE):
        distribution = importlib.metadata.distribution(name)
        files = [Path(str(file)) for file in distribution.files or []]
        tops = {file.parts[0] for file in files if file.suffix in {".py", ".so"}}
        found |= {Path(str(distribution.locate_file(top))) for top in tops}
    return sorted(found)


def make_launcher(target: Path) -> None:
    """Build the static program. Skips where there is no Go, unless DATAMOVER_REQUIRE_KUBERNETES says that there has to be one."""
    assert GO is not None
    try:
        go = find_go(GO[1], os.environ)
    except BuildError as error:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES"):
            raise
        pytest.skip(str(error))
    command = [go.command, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", target, "."]
    subprocess.run(command, cwd=SOURCES, env=dict(go.environment) | {"GOPROXY": "off"}, check=True, timeout=300)


def make_one_file(folder: Path) -> Path:
    """Make the file in a folder; return its path. Takes about ten seconds of one core."""
    modules = folder / "modules"
    modules.mkdir(parents=True)
    for source in (ROOT / "src/datamover", ROOT / "src/kubekit", *packages()):
        if source.is_dir():
            shutil.copytree(source, modules / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, modules / source.name)
    make_launcher(folder / "launcher")
    target = folder / NAME
    # as in the build stage: under the Python that it takes, and not under that of an environment
    python = f"{sys.base_prefix}/bin/python3.{sys.version_info.minor}"
    command = [python, SOURCES / "bundle.py", "/", modules, folder / "launcher", target]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return target
