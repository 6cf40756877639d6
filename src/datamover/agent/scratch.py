# ruff: noqa: PTH102  # a start-up budget that pathlib would take a tenth of
"""A directory of the attempt's own for what is temporary."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from datamover.agent.errors import Failure
from datamover.api import transfer


@contextmanager
def scratch_folder(config: str) -> Generator[str]:
    """Give a directory of our own below `config`, or where temporary files go; it is gone afterwards. Raises Failure when there is no place."""
    import shutil

    name = f"datamover-{os.urandom(4).hex()}"
    for parent in (config, os.environ.get("TMPDIR", ""), "/tmp"):  # noqa: S108 - our own folder in it, 0700
        if not parent:
            continue
        path = f"{parent}/{name}"
        try:
            os.mkdir(path, 0o700)
        except OSError:
            continue
        break
    else:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            f"There is no place for temporary files: neither {config} nor /tmp can be written to. Mount an emptyDir at {transfer.CONFIG_PATH}.",
        )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
