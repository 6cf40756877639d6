"""The plugin for Velero as one file, which tests run: the one that DATAMOVER_TEST_VELERO_PLUGIN names, else that of this checkout (tools/plugin.py)."""

import os
from pathlib import Path

import pytest

import plugin
from build import BuildError

NAME = plugin.NAME
MISSING = "ONE FILE MISSING"


def one_file() -> Path:
    """Return the file, after making it when it is missing. Where no Go can be had the test is skipped, or fails where nothing may be missing."""
    named = os.environ.get("DATAMOVER_TEST_VELERO_PLUGIN")
    if named:
        return Path(named)
    try:
        return plugin.make(os.environ)
    except BuildError as error:
        if error.code != 3 or os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(f"{MISSING}: {error}")
