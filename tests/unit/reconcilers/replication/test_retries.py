"""A mover that fails is followed by another one on the same volume, and what is told of that is true."""

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
    theatre = Theatre("ReplicationSource", "nightly", SOURCE)
    theatre.claim("app-data", storage_class="")
    theatre.secrets["repo"] = SECRET
    theatre.act()
    assert theatre.condition()[2].endswith("or spec.restic.copyMethod: Direct")
    assert "anew" not in theatre.condition()[2]
    theatre.manifest["spec"]["restic"]["copyMethod"] = "Direct"
    theatre.act()
    [volume, *_] = theatre.job["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "app-data"
