"""What can be the name of a namespace."""

import re
from typing import Final

import click

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAMESPACE_RULE: Final = "use lower-case letters, digits and '-', at most 63 characters"


def is_namespace(text: str) -> bool:
    """Tell whether text can be the name of a namespace."""
    return _NAMESPACE.fullmatch(text) is not None


def parse_namespace(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Return the namespace that `-n` names, None when it is not given. Raises click.BadParameter that says what to do."""
    del context, option
    if text is not None and not is_namespace(text):
        raise click.BadParameter(f"{text!r} is not the name of a namespace: {NAMESPACE_RULE}")
    return text


def parse_namespace_or_any(context: click.Context, option: click.Parameter, text: str) -> str:
    """Return a namespace, empty for any. Raises click.BadParameter that says what to do."""
    return (parse_namespace(context, option, text) or "") if text else ""
