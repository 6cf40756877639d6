"""The images that the cluster's tests run."""

import os

from cluster.images import TAG, bring_images
from cluster.rig import Rig
from support.cluster import Images


def find_images(rig: Rig | None) -> Images:
    """Return the images; those of the rig are built and loaded. `DATAMOVER_TEST_OPERATOR_IMAGE` and `..._MOVER_IMAGE` name other ones."""
    if rig is not None:
        found = bring_images(rig)
        return Images(operator=found["operator"], mover=found["mover"], plugin=found["velero-plugin"])
    return Images(
        operator=os.environ.get("DATAMOVER_TEST_OPERATOR_IMAGE", f"localhost/datamover/operator:{TAG}"),
        mover=os.environ.get("DATAMOVER_TEST_MOVER_IMAGE", f"localhost/datamover/mover:{TAG}"),
        server=os.environ.get("DATAMOVER_TEST_SERVER_IMAGE", Images.server),
    )
