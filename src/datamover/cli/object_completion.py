"""Names of a cluster's objects for a shell that completes them, asked of its API server with the rights of whoever types.

Whoever types is told nothing else: without an answer, within a moment, nothing is offered.
"""

from collections.abc import Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from datamover.cli.kind_words import meant_kind

_PATIENCE: Final = 3.0
"""Seconds."""
_LONGEST: Final = 200
"""Names that are offered, and asked for, at the most."""

Wanted = Callable[[Any], bool]


def complete_cancellable(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what has not ended and can be cancelled: `NAME`, or `KIND/NAME` where a kind was begun."""
    del parameter
    from datamover.cli.cancelling import RESOURCES, has_ended

    word, slash, typed = incomplete.rpartition("/")
    kind = meant_kind(word if slash else context.params.get("kind") or "datamover")
    if kind is None:
        return []
    return _offer(context, RESOURCES[kind], before=f"{word}{slash}", typed=typed, wanted=lambda one: not has_ended(one))


def complete_backup(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of Velero's backups."""
    del parameter
    from datamover.api.velero.backup import BACKUPS

    return _offer(context, BACKUPS, before="", typed=incomplete, wanted=lambda _: True, everywhere=True)


def _offer(
    context: click.Context, resource: Any, *, before: str, typed: str, wanted: Wanted, everywhere: bool = False
) -> list[CompletionItem]:
    """`everywhere`: without a namespace those of all are meant."""
    import asyncio  # every command would wait for it

    try:
        found = asyncio.run(asyncio.wait_for(_list(context, resource, everywhere=everywhere), _PATIENCE))
        names = dict.fromkeys(each.metadata.name for each in found if wanted(each))
    except Exception:  # noqa: BLE001 - a shell that completes has no place for what went wrong
        return []
    return [CompletionItem(f"{before}{name}") for name in sorted(names) if name.startswith(typed)][:_LONGEST]


async def _list(context: click.Context, resource: Any, *, everywhere: bool) -> tuple[Any, ...]:
    from kubekit.client.client import Client
    from kubekit.client.config import load_config
    from kubekit.client.http import HttpTransport

    given = context.params
    config = load_config(given.get("kubeconfig"), given.get("context"))
    transport = HttpTransport(config)
    try:
        client = Client(transport, user_agent="datamover-completion")
        namespace = given.get("namespace") or (None if everywhere else config.namespace)
        async for page in client.pages(resource, namespace=namespace, limit=_LONGEST):
            return page.items
        return ()
    finally:
        await transport.close()
