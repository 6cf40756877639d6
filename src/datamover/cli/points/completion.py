"""Completion of points and paths, as far as it is cheap: one listing for points, and a small manifest for paths."""

import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

_LONGEST = 50
_SMALL = 4 << 20
"""Bytes of a manifest that is brought here while somebody waits at a key."""
_PATIENCE = "3"


def complete_point(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return words for points, the newest first."""
    del parameter
    from datamover.agent.points.bucket import Bucket

    def words(bucket: Bucket) -> list[str]:
        seen = bucket.look()
        return [seen.claimed(run_id) or run_id for run_id in seen.order() if seen.runs[run_id].finished]

    found = ["latest", *(_ask(context, words) or [])]
    return [CompletionItem(word) for word in found if word.startswith(incomplete)][:_LONGEST]


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return paths of the point that was typed before, those in the folder that is being typed."""
    del parameter
    from datamover.agent.files import manifest
    from datamover.agent.points.bucket import Bucket
    from datamover.agent.points.tree import read_tree

    word = context.params.get("point")
    if not isinstance(word, str):
        return []

    def paths(bucket: Bucket) -> list[str]:
        point = bucket.choose(word, source=context.params.get("source") or "")
        if point.manifest_bytes > _SMALL:
            return []
        folder = os.fsencode(incomplete).rpartition(b"/")[0]
        names: list[str] = []
        for leaf in read_tree(bucket, point).below(folder, deep=False):
            text = leaf.path.decode("utf-8", "replace")
            if text.isprintable() and "\ufffd" not in text:
                names.append(f"{text}/" if leaf.entry.type == manifest.DIRECTORY else text)
        return names

    return [CompletionItem(path) for path in _ask(context, paths) or [] if path.startswith(incomplete)][:_LONGEST]


def _ask(context: click.Context, question: Any) -> list[str] | None:
    """Return the answer, or None when there is none: whoever types is told nothing else."""
    from datamover.agent.children import Stop
    from datamover.agent.points.bucket import open_bucket
    from datamover.agent.scratch import scratch_folder
    from datamover.api import transfer
    from datamover.cli.points.environment import read_environment
    from datamover.cli.points.place import Place

    file = context.params.get("secret")
    if file == "-":  # standard input is the shell's
        return None
    place = Place(file, context.params.get("secret_name"), context.params.get("prefix"))
    try:
        environ = read_environment(place, os.environ, stdin=sys.stdin) | {transfer.OUTAGE_LIMIT: _PATIENCE}
        with scratch_folder("") as scratch, open_bucket(environ, scratch=scratch, stop=Stop(grace=1.0)) as bucket:
            return question(bucket)
    except Exception:  # noqa: BLE001 - a shell that completes has no place for what went wrong
        return None
