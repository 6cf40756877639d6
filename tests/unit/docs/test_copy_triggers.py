"""The page on copy triggers: its scripts are shell, and the one that it offers does what it says."""

import os
import subprocess
from pathlib import Path

import pytest

from datamover.api import copy_trigger, names
from datamover.api.names import ConditionType
from support.kubernetes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "copy-triggers.md").read_text(encoding="utf-8")
SCRIPTS = [part.partition("```")[0] for part in PAGE.split("```sh\n")[1:]]
(COPY_WHEN_QUIET,) = (script for script in SCRIPTS if "usage: copy-when-quiet" in script)

KUBECTL = """#!/bin/sh
# Annotations are files; the copy is there as soon as it is triggered, unless the test has broken it.
case "$*" in
*" get pvc "*) name="${*##*/}"; cat "$PLACE/${name%\\}}" 2>/dev/null || true ;;
*" annotate pvc "*)
    echo annotate >>"$PLACE/log"
    value="$6"; value="${value#*=}"
    [ -e "$PLACE/broken" ] || printf %s "$value" >"$PLACE/latest-copy-trigger" ;;
esac
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_is_shell(script: str) -> None:
    parsed = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert parsed.returncode == 0, parsed.stderr


def run(place: Path, **environment: str) -> tuple[int, list[str]]:
    (place / "kubectl").write_text(KUBECTL)
    (place / "kubectl").chmod(0o755)
    (place / "copy-when-quiet").write_text(COPY_WHEN_QUIET)
    said = subprocess.run(
        ["sh", "./copy-when-quiet", "shop", "data", 'echo quiet >>"$PLACE/log"', 'echo release >>"$PLACE/log"'],
        cwd=place,
        env={"PATH": f"{place}:{os.environ['PATH']}", "PLACE": str(place), **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )
    log = place / "log"
    return said.returncode, log.read_text().split() if log.exists() else []


def test_the_script_quiets_triggers_waits_and_releases(tmp_path: Path) -> None:
    (tmp_path / "latest-copy-status").write_text(copy_trigger.Status.WAITING)
    assert run(tmp_path) == (0, ["quiet", "annotate", "release"])


def test_the_script_releases_also_when_no_copy_comes(tmp_path: Path) -> None:
    (tmp_path / "latest-copy-status").write_text(copy_trigger.Status.WAITING)
    (tmp_path / "broken").touch()
    code, log = run(tmp_path, COPY="1")
    assert code != 0
    assert log == ["quiet", "annotate", "release"]


def test_the_script_touches_nothing_while_nobody_waits(tmp_path: Path) -> None:
    code, log = run(tmp_path, WAIT="1")
    assert (code != 0, log) == (True, [])


def test_every_annotation_and_value_is_on_the_page() -> None:
    for annotation in copy_trigger.ALL:
        assert f"`{annotation.removeprefix(copy_trigger.PREFIX)}`" in PAGE
    for word in (copy_trigger.CONSUMED_ANNOTATION, ConditionType.COPY_TRIGGERED):
        assert f"`{word}`" in PAGE
    for value in (copy_trigger.Status.WAITING, copy_trigger.Status.IN_PROGRESS, copy_trigger.Status.COMPLETED):
        assert f"`{value}`" in PAGE
    assert copy_trigger.describe_timeout("<name>") in PAGE
    assert names.GROUP in PAGE
