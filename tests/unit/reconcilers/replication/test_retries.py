"""A mover that fails is followed by another one on the same volume, and what is told of that is true."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import msgspec
from msgspec.structs import replace

from datamover.plans.steps import Create, ProveGone, SampleLog, WriteStatus
from datamover.runs.facts import PATIENT
from kubekit.words.batch import JOBS
from kubekit.words.core import ContainerState
from kubekit.words.timestamps import seconds
from support.theatre import Theatre

SECRET = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")
SOURCE = {"sourcePVC": "app-data", "restic": {"repository": "repo", "copyMethod": "Clone"}}


def moving_source() -> Theatre:
    theatre = Theatre("ReplicationSource", "nightly", SOURCE)
    theatre.claim("app-data")
    theatre.secrets["repo"] = SECRET
    theatre.act()
    theatre.bind("volsync-nightly-src")
    theatre.act()
    return theatre


@contextmanager
def another_view(theatre: Theatre) -> Iterator[None]:
    """For a while the children are what a replica sees whose caches are behind; the status is the one that was written."""
    objects, pods = dict(theatre.objects), list(theatre.pods)
    try:
        yield
    finally:
        theatre.objects, theatre.pods = objects, pods


def let_run(theatre: Theatre) -> None:
    theatre.succeed()  # makes the Pod
    theatre.job.pop("status")
    [pod] = theatre.pods
    state = msgspec.convert({"running": {}}, ContainerState)
    containers = tuple(replace(each, state=state) for each in pod.status.container_statuses)
    status = replace(pod.status, phase="Running", start_time=seconds(theatre.now), container_statuses=containers)
    theatre.pods = [replace(pod, status=status)]


def test_the_pause_doubles_and_the_copy_stays() -> None:
    theatre, pauses = moving_source(), []
    copy = theatre.objects["PersistentVolumeClaim", "volsync-nightly-src"]["metadata"]["uid"]
    for _ in range(9):
        theatre.fail()
        pause = theatre.act().wake_after
        assert pause is not None
        pauses.append(round(pause))
        theatre.later(pause)
        theatre.act()
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert theatre.condition("Stalled")[2].startswith("9 failures in a row: ")
    assert theatre.objects["PersistentVolumeClaim", "volsync-nightly-src"]["metadata"]["uid"] == copy


def test_a_job_that_is_replaced_after_its_failure_is_not_called_lost() -> None:
    theatre = moving_source()
    theatre.fail()
    theatre.act()
    theatre.later(11)
    theatre.act()
    assert theatre.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == "1"
    assert [event.reason for event in theatre.events if event.type == "Warning"] == ["TransferFailed"]


def test_a_job_that_somebody_deletes_is_called_lost_after_a_failure_as_well() -> None:
    theatre = moving_source()
    theatre.fail()
    theatre.act()
    theatre.later(11)
    theatre.act()
    del theatre.objects["Job", "volsync-src-nightly"]
    theatre.pods = []
    theatre.act()
    assert [event.reason for event in theatre.events if event.type == "Warning"] == ["TransferFailed", "JobLost"]


def test_a_destination_without_snapshots_is_advised_to_use_what_it_has() -> None:
    restic = {"repository": "repo", "copyMethod": "Snapshot", "destinationPVC": "app-data"}
    theatre = Theatre("ReplicationDestination", "back", {"restic": restic})
    theatre.claim("app-data", storage_class="")  # of no driver, so that no class of snapshots fits
    theatre.secrets["repo"] = SECRET
    theatre.act()
    assert theatre.condition()[1] == "Error"
    assert theatre.condition()[2].endswith("set spec.restic.copyMethod: Direct")
    assert not theatre.there("Job"), "it is said before the transfer, not after it"


def test_another_copy_method_is_set_and_used_at_once() -> None:
    theatre = Theatre("ReplicationSource", "nightly", deepcopy(SOURCE))
    theatre.claim("app-data", storage_class="")
    theatre.secrets["repo"] = SECRET
    theatre.act()
    assert theatre.condition()[2].endswith("or spec.restic.copyMethod: Direct")
    assert "anew" not in theatre.condition()[2]
    theatre.manifest["spec"]["restic"]["copyMethod"] = "Direct"
    theatre.act()
    [volume, *_] = theatre.job["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "app-data"


# Replicas whose caches differ: Jobs and Pods come by watches of their own.


def test_who_has_not_seen_yet_that_a_job_failed_does_not_say_that_it_runs() -> None:
    theatre = moving_source()
    running, pods = dict(theatre.job), list(theatre.pods)
    theatre.fail()
    theatre.act()
    with another_view(theatre):
        theatre.objects["Job", "volsync-src-nightly"], theatre.pods = running, pods
        theatre.job.pop("status", None)
        assert not theatre.plan().steps


def test_why_a_job_failed_is_told_once_and_gives_way_only_to_the_movers_own_words() -> None:
    theatre = moving_source()
    theatre.fail()
    theatre.act()
    theatre.later(11)
    theatre.act()
    theatre.fail("WrongCredentials", "the key is wrong")
    with another_view(theatre):
        theatre.pods = []
        theatre.later(PATIENT.outcome)  # no longer are its last words waited for
        theatre.act()
        assert theatre.condition("Stalled")[1] == "MoverFailed"
    theatre.act_once()
    assert theatre.condition("Stalled")[1:] == ("WrongCredentials", "2 failures in a row: the key is wrong")
    with another_view(theatre):
        theatre.pods = []
        assert not [step for step in theatre.plan().steps if isinstance(step, WriteStatus)]


def test_who_still_sees_the_job_before_neither_counts_back_nor_tells_its_failure_again() -> None:
    theatre = moving_source()
    theatre.fail("WrongCredentials", "the key is wrong")
    before, pods = theatre.job, list(theatre.pods)
    theatre.act()
    theatre.later(11)
    theatre.act()
    assert theatre.condition("Ready")[1] == "JobCreated"
    with another_view(theatre):
        theatre.objects["Job", "volsync-src-nightly"], theatre.pods = before, pods
        assert not [step for step in theatre.plan().steps if isinstance(step, WriteStatus)]
    theatre.fail("ServerUnreachable", "no answer")
    theatre.act()
    assert theatre.condition("Stalled")[2].startswith("2 failures in a row: ")
    with another_view(theatre):
        theatre.objects["Job", "volsync-src-nightly"], theatre.pods = before, pods
        assert not [step for step in theatre.plan().steps if isinstance(step, WriteStatus)]


def test_the_next_job_is_called_made_only_by_who_knows_that_there_is_none() -> None:
    theatre = moving_source()
    theatre.fail()
    theatre.act()
    theatre.delete("Job", "volsync-src-nightly")
    steps = theatre.plan().steps
    [proved] = [at for at, step in enumerate(steps) if step == ProveGone(JOBS, "volsync-src-nightly")]
    [told] = [at for at, step in enumerate(steps) if isinstance(step, WriteStatus)]
    [made] = [at for at, step in enumerate(steps) if isinstance(step, Create)]
    assert proved < told < made


def test_a_mover_is_followed_after_a_failure_as_it_was_before() -> None:
    theatre = moving_source()
    theatre.fail()
    theatre.act()
    theatre.later(11)
    theatre.act()
    let_run(theatre)
    theatre.later(60)
    assert any(isinstance(step, SampleLog) for step in theatre.plan().steps)
    assert theatre.condition("Stalled")[2].startswith("1 failure in a row: ")
