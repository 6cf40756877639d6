"""Where the command line keeps things when it is not told."""

import os
from pathlib import Path


def default_state() -> Path:
    """Return the directory for state: `$XDG_STATE_HOME/datamover`, by default (and where that is no absolute path) below ~/.local/state."""
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (root if root.is_absolute() else Path("~/.local/state").expanduser()) / "datamover"
