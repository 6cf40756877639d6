# ruff: noqa: PTH108, PTH123  # pathlib is not needed for anything else at a start
"""What Python runs first in the one-file plugin: makes modules in machine code importable, and then is the plugin.

Python code is imported from the file itself, which is a zip archive, and is named by the number under which it is open: by another name it could be
another version at the next import. A shared library has to be a file of its own for the dynamic loader, so each
that is imported is copied into a file without a name: in memory, or where the launcher found that to be forbidden, in the folder that it names.

Standard library only.
"""

import importlib.machinery
import importlib.util
import os
import sys
import zipimport
from collections.abc import Sequence
from types import ModuleType

PREFIX = "extensions/"
MEMORY = "memory"
PLACE = "DATAMOVER_PLUGIN_FILES"
_COMM_LIMIT = 15


class Extensions:
    """Finds modules in machine code in an archive, by their full names. `place` is a folder, or `memory`."""

    def __init__(self, archive: str, place: str) -> None:
        self._archive = zipimport.zipimporter(archive)
        self._place = place
        self._opened: list[int] = []
        """Kept open: the dynamic loader knows libraries by these numbers, so none may come twice."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load a module, or None where there is none of this name. Raises OSError where no file can be had."""
        try:
            content = self._archive.get_data(f"{PREFIX}{fullname}.so")
        except OSError:
            return None
        path = f"/proc/self/fd/{self._hide(content, fullname)}"
        loader = importlib.machinery.ExtensionFileLoader(fullname, path)
        return importlib.util.spec_from_file_location(fullname, path, loader=loader)

    def _hide(self, content: bytes, name: str) -> int:
        descriptor = _in_memory(name) if self._place == MEMORY else _without_name(self._place)
        with memoryview(content) as rest:
            done = 0
            while done < len(rest):
                done += os.write(descriptor, rest[done:])
        self._opened.append(descriptor)
        return descriptor


def _in_memory(name: str) -> int:
    for flags in (os.MFD_CLOEXEC | 0x10, os.MFD_CLOEXEC):  # 0x10: MFD_EXEC, which Linux before 6.3 does not know
        try:
            return os.memfd_create(name, flags)
        except OSError:
            continue
    raise OSError(f"no memory can be had for {name}")


def _without_name(folder: str) -> int:
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o700)
    except OSError:
        path = f"{folder}/.datamover-velero-plugin-{os.getpid()}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        return descriptor


def main() -> None:
    """Be the plugin. The path by which it was started is that of the file, not that of the loader."""
    archive = sys.argv[0]
    sys.argv[0] = sys.executable = sys.orig_argv[0]
    sys.meta_path.append(Extensions(archive, os.environ.pop(PLACE)))
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONUTF8", "PYTHONCOERCECLOCALE"):
        os.environ.pop(name, None)
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as shown:
            shown.write("datamover-velero-plugin"[:_COMM_LIMIT])
    except OSError:
        pass  # a name for people only
    from datamover.velero.main import main as serve

    serve()


if __name__ == "__main__":
    main()
