"""What has filled a disk belongs to the claim, which outlives the DataVolume: all of it is gone before that is collected (law L5)."""

from datetime import timedelta
from typing import Any

import pytest

from datamover.api.cdi import names
from support.clones import Cloner, Clones
from support.disks import WHOLE
from support.gleaning import ASKED, glean

SOURCES: dict[str, dict[str, Any]] = {
    "handed over": {"source": {"blank": {}}},
    "written directly": {"source": {"blank": {}}, "provisioner": "ignores.example.com"},
    "sent": {"source": {"upload": {}}},
    "copied by way of a snapshot": {"source": {"pvc": {"name": "golden"}}, "strategy": "snapshot"},
    "copied by a worker": {"source": {"pvc": {"name": "golden"}}, "strategy": "copy"},
}


def opened(case: str) -> tuple[Clones, Cloner]:
    given = dict(SOURCES[case])
    source = given.pop("source")
    server = Clones(**given)
    server.hold()
    server.make(source=source, annotations={**ASKED, names.BIND_IMMEDIATELY: "true"})
    return server, Cloner(server)


def live_on(server: Clones, *, slow: bool) -> None:
    """Everybody but the operator works. `slow`: what is deleted goes only when nothing else happens."""
    before = server.writes
    for change in (server.provision, server.bind, server.schedule, server.end, server.bind):
        change()
    if not slow or server.writes == before:
        server.collect()
    server.check()


def left(server: Clones) -> list[str]:
    mine = ("PersistentVolumeClaim", "VolumeSnapshot", "Secret", "Service", "Job", "DataVolume")
    return sorted(f"{kind} {name}" for kind, name in server.objects if kind in mine and name != "golden")


def fill_and_collect(case: str, *, kill: int, slow: bool) -> int:
    """Fill a disk, with collection after each step; the operator dies after so many, and is followed when collection has nothing to do any more."""
    server, operator = opened(case)
    done = idle = 0
    while idle < 4:
        before = done, server.writes
        operator.sync()
        decided = None
        for _ in range(20):
            planned = operator.plan()
            if planned is None or not planned.steps or planned == decided:
                break  # it waits for what its caches do not show yet
            decided = planned
            last = kill - done if done < kill <= done + len(planned.steps) else None
            operator.work(steps=last)
            done += len(planned.steps)
            glean(operator)
            if last is not None:
                for _ in range(6):  # nobody populates meanwhile
                    live_on(server, slow=False)
                    operator.sync()
                    glean(operator)
                operator.restart()
            if slow:
                break
        operator.sync()
        glean(operator)
        live_on(server, slow=slow)
        idle = idle + 1 if before == (done, server.writes) else 0
    assert left(server) == ["PersistentVolumeClaim disk"]
    claim = server.claim()
    assert claim is not None
    assert server.storage[claim["spec"]["volumeName"]] == WHOLE
    assert claim["metadata"]["annotations"][names.GARBAGE_COLLECTED] == "true"
    return done


@pytest.mark.parametrize("case", SOURCES)
@pytest.mark.parametrize("slow", [False, True], ids=["at once", "slow deletions"])
def test_nothing_is_left_of_a_collected_datavolume_wherever_the_operator_was_killed(case: str, slow: bool) -> None:
    last = fill_and_collect(case, kill=0, slow=slow)
    for kill in range(1, last + 1):
        fill_and_collect(case, kill=kill, slow=slow)


def test_a_worker_that_does_not_go_keeps_its_datavolume_and_that_is_told_after_a_minute() -> None:
    server, operator = opened("handed over")
    for _ in range(12):
        operator.sync()
        operator.work()
        job = server.job()
        if job is not None:
            job["metadata"]["finalizers"] = ["foregroundDeletion"]
        glean(operator)
        live_on(server, slow=False)
    assert server.status()["phase"] == "Succeeded"
    assert "PersistentVolumeClaim disk" in left(server)
    assert len([each for each in left(server) if each.startswith("Job")]) == 1
    volume = server.get("DataVolume", "disk")
    assert volume is not None
    assert names.COLLECTION not in volume["metadata"]["annotations"], "it is no news yet"
    server.now += timedelta(minutes=1)
    operator.sync()
    glean(operator)
    assert volume["metadata"]["annotations"][names.COLLECTION].startswith("Leftovers: Job importer-")
    assert names.FINALIZER not in volume["metadata"].get("finalizers", [])
    job = server.job()
    assert job is not None
    job["metadata"]["finalizers"] = []
    for _ in range(4):
        live_on(server, slow=False)
        operator.sync()
        operator.work()
        glean(operator)
    assert left(server) == ["PersistentVolumeClaim disk"]
