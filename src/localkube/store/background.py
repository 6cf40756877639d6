"""What a write leads to after it was answered: garbage collection and the deletion of namespaces.

Guarantees: whatever a restart cut short is taken up again, because all objects are looked at when the work begins; one object at a time, and
other requests in between; an idle server does nothing (law L9).
Caveat: without `run` nothing is collected: a server alone is like an API server without its controller manager.
"""

import asyncio
import logging

from kubekit.runtime.clock import Clock
from kubekit.runtime.workqueue import Workqueue
from localkube.store import crds
from localkube.store.editor import Editor, Place
from localkube.store.garbage import GarbageCollector, OwnerGraph
from localkube.store.kinds import Kind
from localkube.store.namespace_deletion import NamespaceDeletion
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, mapping

_log = logging.getLogger(__name__)
_NAMESPACES = "namespaces"


class BackgroundWork:
    """Hears of every change, and looks at what the change may concern."""

    def __init__(self, editor: Editor, *, clock: Clock, server: ServerView) -> None:
        self._editor = editor
        self._clock = clock
        self._namespaces = NamespaceDeletion(editor, server)
        self._queue: Workqueue[Place] | None = None
        self._begin()

    def _begin(self) -> None:
        self._graph = OwnerGraph()
        self._garbage = GarbageCollector(self._editor, self._graph)
        self._terminating: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled. It can be run again."""
        queue = self._queue = Workqueue("background work", clock=self._clock, base_delay=0.05, max_delay=60.0)
        try:
            self.look_at_everything()
            while True:
                self._work(queue, await queue.get())
                await asyncio.sleep(0)
        finally:
            queue.shutdown()
            self._queue = None

    def look_at_everything(self) -> None:
        """Forget what is known and begin anew: the storage has been filled with something else."""
        if self._queue is None:
            return
        self._begin()
        for kind, tree in self._editor.everything():
            self.hear(kind, tree, gone=False)

    def hear(self, kind: Kind, tree: Tree, *, gone: bool) -> None:
        """Take notice of a change. `tree` is the object as it is stored."""
        queue = self._queue
        if queue is None:
            return
        meta = mapping(tree["metadata"])
        place = Place.of(kind, meta)
        if kind.strategy.collected:
            for each in self._graph.note(place, meta, gone=gone):
                queue.add(each)
        if kind.resource == _NAMESPACES:
            if gone:
                self._terminating.discard(place.name)
            elif meta.get("deletionTimestamp"):
                self._terminating.add(place.name)
                queue.add(place)
        elif gone and place.namespace in self._terminating:
            queue.add(Place(_NAMESPACES, "", place.namespace))
        if kind.resource == crds.RESOURCE and not gone:
            # an owner of a kind that was not served could not be judged until now
            for each in self._graph.owned():
                queue.add(each)

    def _work(self, queue: Workqueue[Place], place: Place) -> None:
        try:
            for each in self._look(place):
                queue.add(each)
        except Exception as error:  # noqa: BLE001 - one object that cannot be changed must not end the work on all others
            _log.warning("%s %s/%s: %s; it will be tried again", *place, error)
            queue.add_rate_limited(place)
        else:
            queue.forget(place)
        finally:
            queue.done(place)

    def _look(self, place: Place) -> list[Place]:
        kind, tree = self._editor.kind(place.collection), self._editor.find(place)
        if kind is None or tree is None:
            return []
        wanted = self._garbage.look(kind, mapping(tree["metadata"]))
        again = kind.resource == _NAMESPACES and self._namespaces.look(kind, self._editor.find(place) or tree)
        return [*wanted, place] if again else wanted
