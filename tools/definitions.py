"""Writes every CustomResourceDefinition of the project into a directory, one file each: `python tools/definitions.py deploy/crds`.

Those of group cdi.kubevirt.io go into a folder of their own: they are another project's names, so nobody installs them who does not ask for them.
"""

import sys
from pathlib import Path

from datamover.api.crd import render
from datamover.api.definitions import crds, data_volume_crds, replication_crds
from kubekit.words.meta import Manifest

DATA_VOLUMES = "datavolumes"


def main(directory: Path) -> None:
    """Write the files."""
    apart = directory / DATA_VOLUMES
    apart.mkdir(exist_ok=True)
    for where, definitions in ((directory, (*crds(), *replication_crds())), (apart, data_volume_crds())):
        for definition in definitions:
            _write(where, definition)


def _write(directory: Path, definition: Manifest) -> None:
    (directory / f"{definition['spec']['names']['plural']}.yaml").write_text(render((definition,)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
