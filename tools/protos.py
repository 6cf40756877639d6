"""Generates the messages of Velero's plugin protocol into a source folder: `python tools/protos.py src`.

The definitions lie in src/datamover/velero/proto; what is generated from them is checked in, so that an installation needs no compiler.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

PACKAGE = "datamover/velero/generated"
"""Where the definitions seem to lie, so that what is generated imports its neighbours by their full names."""
DEFINITIONS = Path(__file__).parents[1] / "src/datamover/velero/proto"


def main(directory: Path) -> int:
    """Write `datamover/velero/generated/*_pb2.py` and their types below `directory`. Returns the exit code of the compiler."""
    (directory / PACKAGE).mkdir(parents=True, exist_ok=True)
    names = sorted(f"{PACKAGE}/{path.name}" for path in DEFINITIONS.glob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    return protoc.main(
        [
            "protoc",
            f"-I{PACKAGE}={DEFINITIONS}",
            f"-I{well_known}",
            f"--python_out={directory}",
            f"--pyi_out={directory}",
            *names,
        ]
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
