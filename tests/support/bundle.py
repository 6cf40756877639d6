"""What somebody needs who was not there when a scenario failed: objects, events and logs, in one folder."""

import os
import shutil
from pathlib import Path

from support.cluster import OPERATOR_NAMESPACE
from support.kubernetes import REPOSITORY
from support.leftovers import kinds_of
from support.place import Place

DEFAULT_DIRECTORY = REPOSITORY / "dist" / "cluster-failures"
_TAIL = 200


def write_bundle(place: Place, *, test: str, story: str) -> Path:
    """Write the folder for a test that has failed, and return it. `story`: how it failed. `DATAMOVER_TEST_BUNDLES` names another parent."""
    parent = Path(os.environ.get("DATAMOVER_TEST_BUNDLES") or DEFAULT_DIRECTORY)
    directory = parent / "".join(letter if letter.isalnum() else "-" for letter in test)[:120]
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    kubectl = place.kubectl
    kinds = ",".join(kinds_of(kubectl, namespaced=True) - {"secrets"})  # nothing in a bundle is secret (law L8)
    operator = place.cluster.operator_log()
    files = {
        "failure.txt": story,
        "summary.txt": place.explain(),
        "objects.yaml": place.run("get", kinds, "-o", "yaml", "--ignore-not-found", check=False),
        "volumes.yaml": kubectl.run("get", "pv,volumesnapshotcontents,storageclasses", "-o", "yaml", check=False),
        "operator-pods.txt": kubectl.run("describe", "pods,deployments", "-n", OPERATOR_NAMESPACE, check=False),
        "operator.log": operator,
        **{f"pod-{name}": log for name, log in place.mover_logs().items()},
    }
    if place.cluster.rig is not None:
        for log in sorted(place.cluster.rig.layout.logs.glob("*.log")):
            if log.name != "audit.log":
                files[f"part-{log.name}"] = _tail(log)
    for name, content in files.items():
        (directory / name).write_text(content)
    mine = [line for line in operator.splitlines() if place.namespace in line]
    return _index(directory, files["summary.txt"], mine)


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
