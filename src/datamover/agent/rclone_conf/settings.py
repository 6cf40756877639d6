"""The environment of the container, read once. Pure. Names are an interface (documents); paths in them are below `DATAMOVER_ROOT`."""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader, is_run_id, lasts
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone_conf import variables
from datamover.api import rclone_conf, transfer
from datamover.api.periods import read_period

_MORE_VOLUMES = "/mnt/"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an attempt is told from outside. Times in seconds, paths absolute.

    `volume` is where the volume is by contract, `mount` where it is here. `interval`: seconds between two blocks of statistics for people.
    """

    run_id: str
    is_source: bool
    section: str
    path: str
    config: str
    volume: str
    mount: str
    authorities: str
    temporary: str
    root: str
    allow_empty: bool
    deadline: float
    grace: float
    outage_limit: float
    interval: float
    engine: str
    notices: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str], *, token: str) -> Settings:
    """Return the settings, or raise Misconfigured with every variable that is wrong. `token` stands in for a run's id."""
    read = Reader(environ)
    root = read.text(transfer.ROOT, "/").rstrip("/")
    run_id = read.text(transfer.RUN_ID, f"run-{token}")
    if not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id!r}; use letters, digits, '.', '_' and '-', at most 128")
    directions = {transfer.SOURCE_DIRECTION: True, transfer.DESTINATION_DIRECTION: False}
    direction = read.text(transfer.DIRECTION)
    if direction not in directions:
        read.problems.append(
            f"{transfer.DIRECTION} is {direction!r}; write {transfer.SOURCE_DIRECTION} or {transfer.DESTINATION_DIRECTION}"
        )
    section = _needed(read, rclone_conf.SECTION, "rcloneConfigSection")
    if ":" in section or "," in section or section.startswith("-"):
        read.problems.append(f"{rclone_conf.SECTION} is {section!r}; that is not the name of a section")
    volume = read.text(rclone_conf.MOUNT_PATH, transfer.DATA_PATH)
    authorities = read.text(transfer.CUSTOM_CA)
    read.problems += variables.find_problems(environ)
    settings = Settings(
        run_id=run_id,
        is_source=directions.get(direction, True),
        section=section,
        path=_needed(read, rclone_conf.DESTINATION_PATH, "rcloneDestPath"),
        config=root + _needed(read, rclone_conf.CONFIG, "rcloneConfig"),
        volume=volume,
        mount=root + volume,
        authorities=root + authorities if authorities else "",
        temporary=f"{root}/tmp",  # noqa: S108 - a volume of the Pod's own
        root=root,
        allow_empty=read.switch(transfer.ALLOW_EMPTY_SOURCE),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        outage_limit=read.number(transfer.OUTAGE_LIMIT, transfer.DEFAULT_OUTAGE_LIMIT, low=1, high=1e6),
        interval=_interval(environ.get("RCLONE_STATS", "")),
        engine=read.text(transfer.RCLONE),
        notices=tuple(read.notices),
    )
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    return settings


def _needed(read: Reader, variable: str, field: str) -> str:
    value = read.text(variable)
    if not value:
        read.problems.append(f"{variable} is not set; name it in spec.rclone.{field}")
    return value


def _interval(text: str) -> float:
    found = read_period(text) if text.strip() else None
    return variables.STATS_SECONDS if found is None else found or float("inf")


def place_of(settings: Settings, *, kind: str) -> str:
    """Return rclone's name of the remote path, with a slash at its end: else rclone asks first whether it is a file, and tells an error of that
    as one of the configuration. A further volume of the Pod (/mnt/…) is below the root as well. Raises Misconfigured for a place that does not last.
    """
    if kind == "memory" or (kind == "local" and not settings.root and not lasts(settings.path)):
        raise Misconfigured(
            f"[{settings.section}] with the path {settings.path} is a place in the mover itself, which is gone with its Pod, or is the volume. Use a section of a store; or"
            " mount a volume with moverVolumes, and write its path below /mnt in rcloneDestPath."
        )
    is_volume = kind == "local" and settings.path.startswith(_MORE_VOLUMES)
    return f"{settings.section}:{settings.root if is_volume else ''}{settings.path.rstrip('/')}/"
