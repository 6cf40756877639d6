"""Where the bucket is said on the command line."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Place:
    """What was said of the bucket. `source` is `NAMESPACE/PVC`, empty for any."""

    secret: str | None = None
    secret_name: str | None = None
    prefix: str | None = None
    source: str = ""
    verbose: bool = False


def bucket_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the bucket is, as the argument `place`."""

    @click.option(
        "--secret",
        metavar="FILE",
        type=click.Path(allow_dash=True),
        help="Manifest with the Secret of the backup ('-': standard input). [default: the same variables in the environment]",
    )
    @click.option("--secret-name", metavar="NAME", help="Which Secret, where the file holds several.")
    @click.option("--prefix", metavar="PREFIX", help="Prefix in the bucket. [default: CUSTOM_PATH_PREFIX]")
    @click.option(
        "--source", metavar="NAMESPACE/PVC", default="", help="Volume, where backups of several lie at one place."
    )
    @click.option("-v", "--verbose", is_flag=True, help="Say what the engine does, on standard error.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        secret: str | None,
        secret_name: str | None,
        prefix: str | None,
        source: str,
        verbose: bool,
        **kwargs: Any,
    ) -> Any:
        return command(*args, place=Place(secret, secret_name, prefix, source, verbose), **kwargs)

    return wrapped
