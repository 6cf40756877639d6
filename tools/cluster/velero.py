"""Images for the node with an unmodified Velero, and with its plugin for S3 stores as its project delivers that one."""

import platform
from dataclasses import dataclass
from pathlib import Path

from cluster.archive import WRITABLE, write_image
from cluster.rig import Rig

_STORE_PLUGIN = "velero-plugin-for-aws"
_HOME = f"/{WRITABLE[-1]}"
"""Velero keeps what it knows of repositories below its home."""


@dataclass(frozen=True, slots=True)
class VeleroBuild:
    """`programs`: the directory of the programs, with the definitions in `crds`. The others are names of images on the node.

    `server` has the program `/velero`; `store_plugin` is an init container, as `velero install --plugins` takes it.
    """

    programs: Path
    server: str
    store_plugin: str


def bring_velero(rig: Rig) -> VeleroBuild:
    """Build Velero where it is missing, and bring its images to the node. Raises ClusterError."""
    programs = rig.build("velero")
    names = [f"rig.datamover.invalid/{program}:{programs.name}" for program in ("velero", _STORE_PLUGIN)]
    found = VeleroBuild(programs, *names)
    present = rig.images()
    for name, write in ((found.server, write_server_image), (found.store_plugin, write_store_plugin_image)):
        if name not in present:
            file = rig.layout.directory / "images" / "velero.tar"
            file.parent.mkdir(exist_ok=True)
            write(file, name=name, programs=programs)
            rig.load([file])
            file.unlink()
    return found


def write_server_image(path: Path, *, name: str, programs: Path) -> None:
    """Write the image of Velero's server, node-agent and movers."""
    environment = {"HOME": _HOME}
    write_image(path, name=name, program=programs / "velero", environment=environment, machine=platform.machine())


def write_store_plugin_image(path: Path, *, name: str, programs: Path) -> None:
    """Write the image of its plugin, which holds what that project's own recipe puts into one."""
    write_image(
        path,
        name=name,
        program=programs / "cp-plugin",
        arguments=[f"/plugins/{_STORE_PLUGIN}", f"/target/{_STORE_PLUGIN}"],
        beside={f"plugins/{_STORE_PLUGIN}": programs / _STORE_PLUGIN},
        machine=platform.machine(),
    )
