"""The images that the cluster's tests run, built where they are missing and brought to the node."""

import os
import subprocess
import sys

from cluster.rig import Rig
from support.cluster import Images
from support.kubernetes import REPOSITORY

TAG = "test"


def find_images(rig: Rig | None) -> Images:
    """Return the images; of the rig's they are built and loaded. `DATAMOVER_TEST_OPERATOR_IMAGE` and `..._MOVER_IMAGE` name other ones."""
    if rig is None:
        return Images(
            operator=os.environ.get("DATAMOVER_TEST_OPERATOR_IMAGE", f"localhost/datamover/operator:{TAG}"),
            mover=os.environ.get("DATAMOVER_TEST_MOVER_IMAGE", f"localhost/datamover/mover:{TAG}"),
            server=os.environ.get("DATAMOVER_TEST_SERVER_IMAGE", Images.server),
        )
    images = Images(operator=f"localhost/datamover/operator:{TAG}", mover=f"localhost/datamover/mover:{TAG}")
    directory = rig.layout.directory / "images"
    subprocess.run(
        [
            sys.executable,
            REPOSITORY / "tools" / "images.py",
            "build",
            "--local-base",
            "--tag",
            TAG,
            "--output",
            directory,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    rig.load([directory / "operator.tar", directory / "mover.tar"])
    return images
