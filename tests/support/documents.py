"""The examples of the original documents, as printed: tests/scenario/documents, one file each, named after the object."""

from pathlib import Path

import yaml

DOCUMENTS = Path(__file__).resolve().parents[1] / "scenario" / "documents"


def data_movers() -> list[Path]:
    """Return the files that hold a DataMover."""
    return [path for path in sorted(DOCUMENTS.glob("*.yaml")) if kind_of(path) == "DataMover"]


def kind_of(path: Path) -> str:
    """Return the kind of the object in a file."""
    return str(yaml.safe_load(path.read_text())["kind"])
