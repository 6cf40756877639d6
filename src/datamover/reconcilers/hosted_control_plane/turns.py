"""When something was moved last on each node: what waits there for its turn does not stand still before others have had theirs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from datamover.reconcilers.hosted_control_plane import caches
from datamover.verdicts.limits import moment_at
from datamover.verdicts.readings import name
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer


class Turns:
    """Follows the caches of what moves. Nothing is remembered that they do not show after a restart as well."""

    def __init__(self, *moved: Informer[Any], clock: Clock) -> None:
        self._moved = moved
        self._clock = clock
        self._ends: dict[str, datetime] = {}
        for informer in moved:
            for each in informer.store.list():
                self._note(None, each)
            informer.add_handler(self._note)

    def at(self, now: datetime) -> Mapping[str, datetime]:
        """Return for each node when something was moved there last, for whichever backup: `now` where it is moved now. The empty name: nobody
        says where.
        """
        ended = {node: moment for node, moment in self._ends.items() if moment <= now}
        moving = (each for informer in self._moved for each in informer.store.by_index(caches.MOVING, caches.YES))
        return ended | {_node(each): now for each in moving}

    def _note(self, _old: caches.Upload | None, new: caches.Upload | None) -> None:
        """An end that its node-agent dates later than a clock may be ahead is none."""
        stamp = new.status.completion_timestamp if new is not None and new.status is not None else None
        moment = moment_at(stamp, now=self._clock.now())
        if new is not None and moment is not None:
            node = _node(new)
            self._ends[node] = max(moment, self._ends.get(node, moment))


def _node(upload: caches.Upload) -> str:
    return name(upload.status.node if upload.status is not None else None)
