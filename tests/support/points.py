"""Buckets with runs of the real agent in them, opened as restore points."""

import base64
import contextlib
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datamover.agent.children import Stop
from datamover.agent.points.bucket import Bucket, open_bucket
from datamover.agent.redaction import Redactor
from datamover.api import transfer
from support.programs import GO
from support.s3 import find_rclone

SOURCE = str(Path(transfer.__file__).parents[2])
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


def write_secret(
    path: Path, values: Mapping[str, str], *, name: str = "storage-credentials", data: bool = False
) -> Path:
    """Write the documents' Secret as a manifest, under `stringData` or, encoded, under `data`."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    field = {"data": encoded} if data else {"stringData": dict(values)}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **field}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path


@dataclass
class Said:
    """What a command left."""

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        return self.output.decode()

    @property
    def document(self):
        return json.loads(self.output)


def datamover(
    *arguments: str | bytes | Path,
    environ: Mapping[str, str] | None = None,
    timeout: float = 60,
    before: Sequence[str] = (),
) -> Said:
    """Run the command line as a process, with nothing in its environment but what a process needs and `environ`; `before` starts it."""
    around = environment({}) | {"PYTHONPATH": SOURCE, "LC_ALL": "C.UTF-8"} | dict(environ or {})
    if before:  # it is measured, so the engine collects its garbage as it does for users
        around = {name: value for name, value in around.items() if name not in GO}
    done = subprocess.run(
        [*before, sys.executable, "-m", "datamover.cli.entry", *arguments],
        env=around,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def compact(document: Mapping[str, object]) -> bytes:
    """Return JSON as the agent writes it, without spaces."""
    return json.dumps(document, separators=(",", ":")).encode()


def forge(run_id: str, folder: str, *lines: Mapping[str, object], **outcome: object) -> dict[str, bytes]:
    """Return the records of a timestamped run with these lines in its manifest, as anybody with the key could write them; `outcome` changes that."""
    source = {"cluster": "c", "namespace": "production", "pvc": "app-data"}
    header = {"datamover": "manifest", "version": 1, "runId": run_id, "source": source, "copiedAt": folder}
    body = [header, *lines, {"type": "end", "entries": len(lines)}]
    place = f".datamover/runs/{run_id}"
    told = {"datamover": "outcome", "version": 1, "runId": run_id, "succeeded": True, "timestamp": folder} | outcome
    holder = compact({"runId": run_id, "timestamp": folder, "source": source})
    return {
        f"{place}/manifest.jsonl.gz": gzip.compress(b"".join(compact(line) + b"\n" for line in body)),
        f"{place}/folder.json": holder,
        f"{place}/outcome.json": compact(told),
        f".datamover/claims/{folder}/{run_id}.json": holder,
    }
