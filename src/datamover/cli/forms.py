"""The form of what a command prints: one place for the words of `-o`, so that it means the same everywhere."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output_option(plain: str, *, help: str = "Form of what is printed.") -> Callable[[F], F]:  # noqa: A002 - as click calls it
    """Return the option `-o`: `plain`, which is for people and is what is printed without it, or `json`."""
    return click.option(
        "-o", "--output", type=click.Choice([plain, "json"]), default=plain, show_default=True, help=help
    )
