"""Writes every CustomResourceDefinition of the project into a directory, one file each: `python tools/definitions.py deploy/crds`."""

import sys
from pathlib import Path

from datamover.api.crd import render
from datamover.api.definitions import crds, replication_crds


def main(directory: Path) -> None:
    """Write the files."""
    for definition in (*crds(), *replication_crds()):
        (directory / f"{definition['spec']['names']['plural']}.yaml").write_text(render((definition,)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
