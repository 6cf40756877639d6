"""Condenses the CRDs of the snapshot kinds into `snapshots.jsonl`.

    python -m schemas.snapshots DIRECTORY > snapshots.jsonl

`DIRECTORY` is `config/crd` of the module `github.com/kubernetes-csi/external-snapshotter/client`. Only the stored version is kept, and of
descriptions the first sentence.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from localkube.store.trees import Tree, encode, entries, is_list, is_tree, mapping
from schemas.definitions import first_sentence

_NAMES = ("volumesnapshots", "volumesnapshotclasses", "volumesnapshotcontents")


def condense(crd: Tree) -> Tree:
    """Return a CRD as short as it can be."""
    spec = mapping(crd["spec"])
    spec["versions"] = [version for version in entries(spec.get("versions")) if version.get("storage") is True]
    meta = mapping(crd["metadata"])
    kept: Tree = {"name": meta["name"], "annotations": mapping(meta.get("annotations"))}
    return {"apiVersion": crd["apiVersion"], "kind": crd["kind"], "metadata": kept, "spec": _shortened(spec)}


def _shortened(value: Any) -> Any:
    if is_tree(value):
        return {
            key: first_sentence(item) if key == "description" and isinstance(item, str) else _shortened(item)
            for key, item in value.items()
        }
    return [_shortened(item) for item in value] if is_list(value) else value


def main(directory: str) -> None:
    """Read the CRDs and print one a line."""
    for name in _NAMES:
        path = Path(directory) / f"snapshot.storage.k8s.io_{name}.yaml"
        sys.stdout.write(encode(condense(mapping(yaml.safe_load(path.read_text("utf-8"))))).decode() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
