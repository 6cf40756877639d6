"""Whom a change of one restore wakes: all who wait for their turn at its claim."""

from collections.abc import Callable
from typing import Any

import pytest

from datamover.api.names import RestorePhase as Phase
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES
from datamover.reconcilers.cluster import Cluster
from datamover.reconcilers.restore.caches import Caches
from datamover.reconcilers.restore.kind import RestoreKind
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from support.builders import CREATED, OTHER_UID
from support.clock import VirtualClock
from support.restores import SETTINGS, restore, status

WAITS = restore(name="waits", uid=OTHER_UID, status=status(Phase.PREPARING))
PREPARES, WRITES = status(Phase.PREPARING), status(Phase.RESTORING)


class Ear:
    """A controller that only notes who is to be woken by what."""

    def __init__(self) -> None:
        self.woken_by: dict[str, Callable[[Any, Any], Any]] = {}

    def watch(self, informer: Informer[Any], concerns: Callable[[Any, Any], Any]) -> None:
        self.woken_by[informer.resource.kind] = concerns

    def wake(self, keys: Any) -> None:
        del keys


CHANGES = {
    "it begins": (restore(), restore(status=PREPARES), True),
    "its mover is started": (restore(status=PREPARES), restore(status=WRITES), True),
    "it is held": (restore(status=PREPARES), restore(status=PREPARES, suspend=True), True),
    "it goes on": (restore(status=PREPARES, suspend=True), restore(status=PREPARES), True),
    "it is being deleted": (restore(status=PREPARES), restore(status=PREPARES, deletion_timestamp=CREATED), True),
    "it is gone": (restore(status=WRITES), None, True),
    "it is complete": (restore(status=status(Phase.CLEANING_UP)), restore(status=status(Phase.COMPLETED)), True),
    "it is held while its mover is there": (restore(status=WRITES), restore(status=WRITES, suspend=True), False),
    "it says how far it is": (restore(status=WRITES), restore(status=status(Phase.RESTORING, message="half")), False),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_its_turn_is_made_of_wakes_those_who_wait(case: str) -> None:
    before, after, wakes = CHANGES[case]
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    caches = Caches(None, cluster=cluster, clock=VirtualClock())  # type: ignore[arg-type]
    caches.restores.store.observe(WAITS)
    ear = Ear()
    RestoreKind(caches=caches, meter=None, settings=SETTINGS).connect(ear)  # type: ignore[arg-type]
    woken = ear.woken_by[DATA_MOVER_RESTORES.kind](before, after)
    assert (Key("default", "waits") in list(woken)) is wakes
