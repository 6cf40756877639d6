"""The engine, made ready for one bucket: its program, its environments, and the files that it wants to find."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from datamover.agent.children import Stop, find_wrapper
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone import process
from datamover.agent.rclone.options import Options, engine_options, file_lists
from datamover.agent.rclone.settings import Store


def prepare_engine(
    store: Store, environ: Mapping[str, str], *, scratch: str, stop: Stop, redact: Callable[[str], str]
) -> tuple[process.Engine, Options]:
    """Return the engine and the environments in which it reaches this bucket; `scratch` is a directory of ours. Raises Failure."""
    config = _config_file(scratch)
    _check_lists(environ)
    authorities = f"{scratch}/authorities.pem"
    if store.authorities:
        with open(authorities, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would take a tenth of the start-up budget
            file.write(f"{store.authorities}\n")
    options = engine_options(
        environ,
        store,
        config_file=config,
        temporary=scratch,
        authorities_file=authorities,
        now=datetime.now(UTC),
    )
    search = environ.get("PATH")
    engine = process.Engine(
        process.find_engine(store.engine, search=search),
        stop=stop,
        wrapper=find_wrapper(search=search),
        redact=redact,
    )
    return engine, options


def _check_lists(environ: Mapping[str, str]) -> None:
    """Open each file that an RCLONE_..._FROM variable names; the engine would only say that it cannot, and not why. Raises Misconfigured."""
    problems: list[str] = []
    for variable, path in file_lists(environ):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            problems.append(f"{variable} names the file {path!r}, which cannot be read: {error.strerror}")
    if problems:
        raise Misconfigured(
            f"The environment is wrong: {'; '.join(problems)}. Name a file that is there (a mover's is mounted into its container), or give the rules"
            " themselves (such as RCLONE_EXCLUDE)."
        )


def _config_file(scratch: str) -> str:
    """Return an empty configuration file for the engine, which would complain about a missing one. One that lies in /config already is
    not read: it could set any option in a way that nobody sees (law L4).
    """
    path = f"{scratch}/rclone.conf"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path
