"""What somebody needs who was not there when a scenario failed: objects, events and logs, in one folder."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.cluster import OPERATOR_NAMESPACE
from support.kubernetes import REPOSITORY
from support.place import Place

DEFAULT_DIRECTORY = REPOSITORY / "dist" / "cluster-failures"
_TAIL = 200


def clear_bundles() -> None:
    """Remove those of an earlier session."""
    shutil.rmtree(_parent(), ignore_errors=True)


def _parent() -> Path:
    return Path(os.environ.get("DATAMOVER_TEST_BUNDLES") or DEFAULT_DIRECTORY)


def write_bundle(place: Place, *, test: str, story: str) -> Path:
    """Write the folder for a test that has failed, and return it. `story`: how it failed. `DATAMOVER_TEST_BUNDLES` names another parent."""
    directory = _parent() / "".join(letter if letter.isalnum() else "-" for letter in test)[:120]
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    kubectl = place.kubectl

    def objects() -> str:
        kinds = ",".join(kubectl.kinds(namespaced=True) - {"secrets"})  # nothing in a bundle is secret (law L8)
        return place.run("get", kinds, "-o", "yaml", "--ignore-not-found", check=False)

    (directory / "failure.txt").write_text(story)
    if place.cluster.rig is not None:
        for log in sorted(place.cluster.rig.layout.logs.glob("*.log")):
            if log.name != "audit.log":
                (directory / f"part-{log.name}").write_text(_tail(log))
    asked: dict[str, Callable[[], str]] = {
        "operator.log": place.cluster.operator_log,
        "summary.txt": place.explain,
        "objects.yaml": objects,
        "volumes.yaml": lambda: kubectl.run("get", "pv,storageclasses", "-o", "yaml", check=False),
        "operator-pods.txt": lambda: kubectl.run("describe", "pods,deployments", "-n", OPERATOR_NAMESPACE, check=False),
        "pods.log": lambda: "\n".join(f"--- {name}\n{log}" for name, log in place.mover_logs().items()),
    }
    answers = {name: _ask(question) for name, question in asked.items()}
    for name, content in answers.items():
        (directory / name).write_text(content)
    mine = [line for line in answers["operator.log"].splitlines() if place.namespace in line]
    return _index(directory, answers["summary.txt"], mine)


def _ask(question: Callable[[], str]) -> str:
    """Return the answer, or why there is none: a cluster that does not answer must not hide the failure itself."""
    try:
        return question()
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"could not be had: {error}\n"


def _index(directory: Path, summary: str, mine: list[str]) -> Path:
    """Write what is printed where nobody can open the folder: the state, and the operator's words about this namespace."""
    (directory / "printed.txt").write_text(
        f"{summary[-12000:]}\n\n--- the operator about this namespace (last {_TAIL} lines)\n" + "\n".join(mine[-_TAIL:])
    )
    return directory


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL * 400))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL:])
