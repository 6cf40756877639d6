"""An image for the node with an unmodified Velero in it, its plugin for S3 stores, and ours.

It is the operator's image, which has Python and our code, with one layer more: the programs, and what the extra `velero` wants beyond what the operator
has. One image serves as Velero's server, as its node-agent and movers, and as the init container that puts the plugins into their folder.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from cluster.archive import extend_image, layers_of
from cluster.layout import ClusterError
from cluster.rig import TOOLS, Rig

VELERO_IMAGE = "rig.datamover.invalid/velero:1"
_REQUIREMENTS = TOOLS.parent / "requirements" / "velero.txt"
_PLUGINS = "velero-plugins"
_SITE = "opt/datamover/lib/{python}/site-packages"
_PYTHON = "/opt/datamover/bin/python"
_PLUGIN = f"""#!{_PYTHON}
from datamover.velero.main import main

main()
"""
_HAND_OVER = f"""
import pathlib, shutil
for each in pathlib.Path("/{_PLUGINS}").iterdir():
    shutil.copy(each, "/target")
"""
_HOME = "home/velero"
"""Velero keeps what it knows of repositories below its home."""


def bring_velero(rig: Rig) -> Path:
    """Build Velero where it is missing, bring its image to the node, and return the directory of its programs and definitions.

    The operator's image has to be built already (`images.bring_images`). Raises ClusterError.
    """
    programs = rig.build("velero")
    base = rig.layout.directory / "images" / "operator.tar"
    if not base.exists():
        raise ClusterError(f"{base} is missing: the operator's image comes first")
    file = base.with_name("velero.tar")
    write_velero_image(file, base=base, programs=programs)
    rig.load([file])
    file.unlink()
    return programs


def write_velero_image(path: Path, *, base: Path, programs: Path) -> None:
    """Write the image as a docker-archive file. Raises ClusterError when the packages cannot be had, or `base` has no Python of ours."""
    inside = set(layers_of(base))
    found = {name.split("/")[3] for name in inside if name.startswith("opt/datamover/lib/python")}
    if not found:
        raise ClusterError(f"{base} is no image with Python in /opt/datamover")
    python = max(found)
    site = _SITE.format(python=python)
    with tempfile.TemporaryDirectory() as place:
        packages = Path(place)
        _fetch_packages(packages, version=python.removeprefix("python"))

        def add(layer: tarfile.TarFile) -> None:
            _add_folder(layer, _HOME, mode=0o1777)
            _add_program(layer, "velero", programs / "velero")
            _add_folder(layer, _PLUGINS, mode=0o755)
            _add_program(layer, f"{_PLUGINS}/velero-plugin-for-aws", programs / "velero-plugin-for-aws")
            script = packages / "plugin"
            script.write_text(_PLUGIN, encoding="utf-8")
            _add_program(layer, f"{_PLUGINS}/datamover-velero-plugin", script)
            script.unlink()
            for each in sorted(packages.iterdir()):
                if each.name != "bin" and f"{site}/{each.name}" not in inside:
                    layer.add(each, f"{site}/{each.name}", filter=_as_root)

        extend_image(
            path,
            base=base,
            name=VELERO_IMAGE,
            add=add,
            entrypoint=(_PYTHON, "-c", _HAND_OVER),
            environment={"HOME": f"/{_HOME}"},
        )


def _fetch_packages(target: Path, *, version: str) -> None:
    """Put what the extra wants into a folder, as wheels for that version of Python, with the hashes that are pinned."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"),
        *("--only-binary", ":all:", "--python-version", version, "--target", target, "-r", _REQUIREMENTS),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ClusterError(f"the packages of the plugin cannot be had: {answer.stderr.strip()[-2000:]}")


def _add_program(layer: tarfile.TarFile, name: str, program: Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = program.stat().st_size, 0o755
    with program.open("rb") as content:
        layer.addfile(entry, content)


def _add_folder(layer: tarfile.TarFile, name: str, *, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    layer.addfile(entry)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
