"""Helm, and what it makes of the chart."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.parsing import read_documents
from support.programs import GO

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "charts" / "datamover"
OLDEST = "v1.29.0"
"""The oldest Kubernetes that the chart admits: what is rendered must not depend on the Helm that does it."""

RenderText = Callable[..., str]
Render = Callable[..., list[dict[str, Any]]]


def find_helm() -> str | None:
    """Return Helm: the one that $DATAMOVER_HELM names, the one that was built for the cluster, the one on PATH, or None."""
    if named := os.environ.get("DATAMOVER_HELM"):
        return named
    build = [sys.executable, ROOT / "tools" / "build.py", "cluster", "--print"]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    if built.returncode == 0 and os.access(program := Path(built.stdout.strip()) / "helm", os.X_OK):
        return str(program)
    return shutil.which("helm")


@pytest.fixture(scope="session")
def helm() -> str:
    """The program. Without one the test is skipped, or fails where DATAMOVER_REQUIRE_HELM=1."""
    if found := find_helm():
        return found
    cure = "no helm: python tools/build.py cluster (or name one in DATAMOVER_HELM)"
    if os.environ.get("DATAMOVER_REQUIRE_HELM") == "1":
        pytest.fail(cure, pytrace=False)
    pytest.skip(cure)


@pytest.fixture(scope="session")
def rendered() -> dict[tuple[str, ...], str]:
    """What was rendered before, by the command's words: many tests look at the same."""
    return {}


@pytest.fixture
def render_text(helm: str, rendered: dict[tuple[str, ...], str]) -> RenderText:
    """Renders the chart: `render_text("image.tag=1", ..., release="other")`; settings are as after --set. Raises CalledProcessError."""

    def run(
        *settings: str, release: str = "datamover", namespace: str = "datamover-operator-system", tests: bool = True
    ) -> str:
        flags = [flag for setting in settings for flag in ("--set", setting)]
        flags += [] if tests else ["--skip-tests"]
        command = (helm, "template", release, str(CHART), "--kube-version", OLDEST, "--namespace", namespace, *flags)
        if command not in rendered:
            rendered[command] = subprocess.run(
                command, env=os.environ | GO, capture_output=True, text=True, check=True
            ).stdout
        return rendered[command]

    return run


@pytest.fixture
def render(render_text: RenderText) -> Render:
    """The same, as objects."""
    return lambda *settings, **options: [each for each in read_documents(render_text(*settings, **options)) if each]


@pytest.fixture
def render_values(helm: str, tmp_path: Path) -> Render:
    """The same with a file of values, which keeps text text: `render_values({...}, release=..., namespace=...)`."""

    def run(values: dict[str, Any], *, release: str, namespace: str) -> list[dict[str, Any]]:
        file = tmp_path / "values.yaml"
        file.write_text(json.dumps(values), encoding="utf-8")
        command = [helm, "template", release, CHART, "--kube-version", OLDEST, "--namespace", namespace, "-f", file]
        done = subprocess.run(command, env=os.environ | GO, capture_output=True, text=True, check=True)
        return [each for each in read_documents(done.stdout) if each]

    return run
