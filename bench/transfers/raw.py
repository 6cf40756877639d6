"""One stream: `python -m bench.transfers.raw put|get PORT KEY DIRECTORY` sends all files of a directory as one object, or brings that as one file.

The keys are in the environment, as the documents name them. Nothing is compared, and nothing is known of files: it is what the bytes alone take.
"""

import http.client
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from datamover.agent.importer.signing import sign
from datamover.api import transfer

_BLOCK = 1 << 20


def main(action: str, port: str, key: str, directory: str) -> None:
    """Move the bytes. Raises SystemExit with what the server answered when it is no success."""
    method, target = action.upper(), f"/{os.environ[transfer.BUCKET_NAME]}/{key}"
    host = f"127.0.0.1:{port}"
    headers = dict(
        sign(
            method,
            authority=host,
            target=target,
            key=os.environ[transfer.ACCESS_KEY],
            secret=os.environ[transfer.SECRET_KEY],
            region=transfer.DEFAULT_REGION,
            moment=datetime.now(UTC),
        )
    )
    files = _listed(Path(directory)) if method == "PUT" else []
    if method == "PUT":
        headers["Content-Length"] = str(sum(path.stat().st_size for path in files))
    connection = http.client.HTTPConnection(host, blocksize=_BLOCK)
    connection.request(method, target, body=_content(files) if method == "PUT" else None, headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"the server answered {answer.status}: {answer.read(300)!r}")
    if method == "GET":
        Path(directory).mkdir()
        room = memoryview(bytearray(_BLOCK))
        with (Path(directory) / "stream").open("wb", buffering=0) as out:
            while size := answer.readinto(room):
                out.write(room[:size])
    answer.read()
    connection.close()


def _listed(top: Path) -> list[Path]:
    return sorted(Path(folder) / name for folder, _, names in os.walk(top) for name in names)


def _content(files: list[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


if __name__ == "__main__":
    main(*sys.argv[1:])
