"""Buckets with runs of the real agent in them, opened as restore points."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from datamover.agent.children import Stop
from datamover.agent.points.bucket import Bucket, open_bucket
from datamover.agent.redaction import Redactor
from support.programs import GO
from support.s3 import find_rclone

NOW = datetime(2024, 8, 10, tzinfo=UTC)


def environment(secret: Mapping[str, str], **changes: str) -> dict[str, str]:
    """Return what a command's process has, with the documents' Secret in it."""
    engine = find_rclone()
    given = {"PATH": os.environ["PATH"], **GO, **({"DATAMOVER_RCLONE": engine} if engine else {})}
    return given | dict(secret) | changes


@contextlib.contextmanager
def opened(secret: Mapping[str, str], scratch: Path, **changes: str) -> Iterator[Bucket]:
    """Open the bucket of a Secret; what the engine says is kept in `notes` of nobody."""
    scratch.mkdir(parents=True, exist_ok=True)
    environ = environment(secret, **changes)
    with open_bucket(
        environ, scratch=str(scratch), stop=Stop(grace=1), redact=Redactor(environ), now=lambda: NOW
    ) as bucket:
        yield bucket
