"""The project's images on the cluster's node: built from this checkout, without a registry."""

import subprocess
import sys
from pathlib import Path

from cluster.layout import ClusterError
from cluster.machine import install_missing
from cluster.rig import Rig

TAG = "test"
PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
"""Programs that build the images, and the Debian packages that have them."""
_PROGRAM = Path(__file__).resolve().parents[1] / "images.py"


class BuildError(ClusterError):
    """The images could not be built. The builder has told why."""


def bring_images(rig: Rig) -> dict[str, str]:
    """Build the images where they are not the checkout's, load them, and return their names by target. Raises ClusterError."""
    install_missing(PACKAGES)
    directory = rig.layout.directory / "images"
    command = [sys.executable, _PROGRAM, "build", "--local-base", "--tag", TAG, "--output", directory]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise BuildError(f"the images could not be built ({' '.join(map(str, command))})")
    names = {target: f"localhost/datamover/{target}:{TAG}" for target in ("operator", "mover", "velero-plugin")}
    rig.load([directory / f"{target}.tar" for target in names])
    return names
