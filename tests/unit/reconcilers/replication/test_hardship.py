"""Bad input and bad luck, line by line: what is said, with the way out; that nothing is lost or made in vain; and that it heals when it is mended.

What needs an API server to be seen is in `tests/scenario/test_replication_hardship.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from datamover.api.volsync import names as words
from datamover.runs.facts import Unread
from kubekit.words.batch import JOBS
from kubekit.words.core import SERVICES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import seconds
from support.theatre import METHODS, Theatre

GOING = "2026-11-29T11:12:51Z"
Act = Callable[[Theatre], None]


@dataclass(frozen=True)
class Line:
    """One line of the table: an object that cannot be carried out, what is said, and what mends it.

    `there` is what is there besides, or is not. `made` are kinds of which something may be made all the same. `error`: the contract's condition says
    that there is one, as the original's did where it could tell.
    """

    it: Callable[[], Theatre]
    reason: str
    words: tuple[str, ...]
    mend: Act
    there: Act = lambda it: None
    made: frozenset[str] = frozenset()
    error: bool = True


def source(method: str = "restic", **options: Any) -> Callable[[], Theatre]:
    return lambda: Theatre.source(method, **options)


def destination(method: str = "restic", **options: Any) -> Callable[[], Theatre]:
    return lambda: Theatre.destination(method, **options)


def change(method: str = "restic", **options: Any) -> Act:
    return lambda it: it.change(**{method: options})


def trigger(**value: str) -> Act:
    return lambda it: it.trigger(**value)


def claim(name: str, **more: Any) -> Act:
    return lambda it: it.claim(name, **more)


def remove(kind: str, name: str) -> Act:
    return lambda it: it.delete(kind, name)


def going(name: str) -> Act:
    def act(it: Theatre) -> None:
        it.claim(name)
        it.objects["PersistentVolumeClaim", name]["metadata"]["deletionTimestamp"] = GOING

    return act


def of_another(kind: str, resource: Any, name: str) -> Act:
    def act(it: Theatre) -> None:
        another = [{"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "another", "controller": True}]
        labels = {"app.kubernetes.io/created-by": "volsync", "volsync.backube/cleanup": "another"}
        pod = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "restic"}]}}
        spec = {"template": pod} if kind == "Job" else {}
        it._add(resource, {"metadata": {"name": name, "labels": labels, "ownerReferences": another}, "spec": spec})

    return act


def volume(path: str, **what: Any) -> dict[str, Any]:
    return {"mountPath": path, "volumeSource": what}


NFS = {"server": "nas", "path": "/x"}
VOLUMES = frozenset({"PersistentVolumeClaim"})
NEEDS = VOLUMES | {"ServiceAccount", "Role", "RoleBinding"}

LINES: Mapping[str, Line] = {
    # the trigger
    "a schedule in a zone that there is not": Line(
        source(trigger={"schedule": "CRON_TZ=Nowhere/Nowhere 0 3 * * *"}),
        "InvalidSpec",
        ("spec.trigger.schedule", "'Nowhere/Nowhere'", "CRON_TZ=Europe/Berlin"),
        trigger(schedule="CRON_TZ=Europe/Berlin 0 3 * * *"),
    ),
    "a schedule behind something else": Line(
        source(trigger={"schedule": "junk 0 3 * * *"}),
        "InvalidSpec",
        ("needs five fields", "has 6", "`0 3 * * *` is every day at three"),
        trigger(schedule="0 3 * * *"),
    ),
    "a date that never comes": Line(
        destination(trigger={"schedule": "0 0 30 2 *"}),
        "InvalidSpec",
        ("never comes", "Write 29 or less"),
        trigger(schedule="0 0 28 2 *"),
    ),
    "a manual trigger that no status can repeat": Line(
        source(trigger={"manual": "x" * 1_000_000}),
        "InvalidSpec",
        ("spec.trigger.manual has 1,000,000 bytes", "write 262,144 or less"),
        trigger(manual="today"),
    ),
    # further volumes of the mover
    "two volumes at one path": Line(
        source(copy="Direct", moverVolumes=[volume("repo", nfs=NFS), volume("repo", nfs=NFS)]),
        "InvalidSpec",
        ("spec.restic.moverVolumes", "'repo' 2 times", "a name of its own"),
        change(moverVolumes=[volume("repo", nfs=NFS), volume("more", nfs=NFS)]),
    ),
    "a volume of nothing": Line(
        source("rclone", moverVolumes=[volume("more")]),
        "InvalidSpec",
        ("spec.rclone.moverVolumes mounts nothing at 'more'", "secret, persistentVolumeClaim and nfs"),
        change("rclone", moverVolumes=[volume("more", nfs=NFS)]),
    ),
    "a volume of two things": Line(
        destination("rsyncTLS", moverVolumes=[volume("more", nfs=NFS, secret={"secretName": "tls-psk"})]),
        "InvalidSpec",
        ("spec.rsyncTLS.moverVolumes mounts more than one thing at 'more'",),
        change("rsyncTLS", moverVolumes=[volume("more", nfs=NFS)]),
    ),
    "a further claim that is not there": Line(
        source(copy="Direct", moverVolumes=[volume("repo", persistentVolumeClaim={"claimName": "repository"})]),
        "Error",
        ('PersistentVolumeClaim "repository" not found', "create it, or correct spec.restic.moverVolumes"),
        claim("repository"),
        made=NEEDS,
    ),
    # volumes
    "a destination that can only be read": Line(
        destination(destinationPVC="given"),
        "InvalidSpec",
        ("can be mounted for reading only", "spec.restic.destinationPVC", "ReadWriteMany"),
        lambda it: it.claim("given", modes=("ReadOnlyMany", "ReadWriteMany")),
        there=claim("given", modes=("ReadOnlyMany",)),
    ),
    "a destination that is made to be read only": Line(
        destination("rclone", accessModes=["ReadOnlyMany"]),
        "InvalidSpec",
        ("spec.rclone.accessModes", "add ReadWriteOnce or ReadWriteMany"),
        change("rclone", accessModes=["ReadWriteOnce"]),
    ),
    "a destination that is being deleted": Line(
        destination(destinationPVC="given"),
        "SourceTerminating",
        ("PersistentVolumeClaim given is being deleted", "goes on when there is a new one"),
        claim("given"),
        there=going("given"),
        error=False,
    ),
    "a destination that has lost its volume": Line(
        destination("rsync", destinationPVC="given"),
        "SourceLost",
        ("has lost its volume: delete it, and provide another one",),
        claim("given"),
        there=claim("given", phase="Lost"),
        error=False,
    ),
    "a source that has no volume yet": Line(
        source(),
        "SourceNotBound",
        ("PersistentVolumeClaim data is not bound yet (phase Pending)",),
        claim("data"),
        there=claim("data", phase="Pending"),
        error=False,
    ),
    "a source that has lost its volume": Line(
        source("rsyncTLS", copy="Snapshot"),
        "SourceLost",
        ("PersistentVolumeClaim data has lost its volume",),
        claim("data"),
        there=claim("data", phase="Lost"),
        error=False,
    ),
    "a source that is being deleted": Line(
        source("rclone", copy="Direct"),
        "SourceTerminating",
        ("PersistentVolumeClaim data is being deleted",),
        claim("data"),
        there=going("data"),
        made=NEEDS,
        error=False,
    ),
    # names that others have
    "a Job of the mover's name": Line(
        source(),
        "NameTaken",
        ("Job volsync-src-db exists and is not this ReplicationSource's", "another name"),
        remove("Job", "volsync-src-db"),
        there=of_another("Job", JOBS, "volsync-src-db"),
    ),
    "a Service of the mover's name": Line(
        destination("rsyncTLS", copy="Direct"),
        "NameTaken",
        ("Service volsync-rsync-tls-dst-back exists and is not this ReplicationDestination's",),
        remove("Service", "volsync-rsync-tls-dst-back"),
        there=of_another("Service", SERVICES, "volsync-rsync-tls-dst-back"),
        made=VOLUMES,
    ),
}


def bad(line: Line) -> Theatre:
    it = line.it()
    line.there(it)
    it.act()
    return it


@pytest.mark.parametrize("case", LINES)
def test_it_is_said_once_with_the_way_out_and_nothing_is_made_in_vain(case: str) -> None:
    line = LINES[case]
    it = bad(line)
    _, reason, message = it.condition("Ready")
    assert reason == line.reason
    assert all(word in message for word in line.words), message
    assert it.condition("Stalled") == ("True", line.reason, message)
    assert it.condition()[1] == ("Error" if line.error else "SyncInProgress")
    assert [event.reason for event in it.events if event.type == "Warning"] == [line.reason]
    assert {child["kind"] for child in it.created} <= line.made
    assert it.deleted == []
    it.later(3600)
    it.restart()
    assert not it.act().steps, "it is said once"


@pytest.mark.parametrize("case", LINES)
def test_it_heals_by_itself_when_it_is_mended(case: str) -> None:
    line = LINES[case]
    it = bad(line)
    line.mend(it)
    it.later(1)
    it.finish()
    assert it.synced
    assert it.condition("Stalled")[0] == "False"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_name_that_is_too_long_for_what_is_made_is_refused_before_anything_is(kind: str, method: str) -> None:
    it: Theatre = getattr(Theatre, kind)(method, copy="Snapshot", name="n" * 253)
    it.act()
    assert it.condition("Ready")[1] == "InvalidSpec"
    said = it.condition("Ready")[2]
    assert "and 253 are the most: give it a name of " in said
    assert it.created == []
    most = int(said.partition("a name of ")[2].split()[0])
    for length, fits in ((most, True), (most + 1, False)):
        it = getattr(Theatre, kind)(method, copy="Snapshot", name="n" * length)
        it.act()
        assert (it.created != []) is fits


def test_the_longest_path_of_a_further_volume_is_shortened_where_it_is_a_label() -> None:
    it = Theatre.source(copy="Direct", moverVolumes=[volume("p" * 63, nfs=NFS)]).start()
    [mounted] = [each for each in it.container["volumeMounts"] if each["mountPath"] == f"/mnt/{'p' * 63}"]
    assert len(mounted["name"]) <= 63
    assert mounted["name"] in {each["name"] for each in it.pod["volumes"]}


def test_a_snapshot_class_that_is_missing_is_told_before_the_transfer() -> None:
    it = Theatre.destination(volumeSnapshotClassName="absent")
    it.act()
    assert it.condition()[1] == "Error"
    assert it.condition("Ready")[1] == "VolumeSnapshotClassNotFound"
    assert "create it or correct spec.restic.volumeSnapshotClassName" in it.condition()[2]
    assert not it.there("Job")
    it.change(restic={"volumeSnapshotClassName": "snapc"})
    it.finish()
    assert it.synced


# a Job whose mover does not start


@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
@pytest.mark.parametrize("method", METHODS)
def test_a_mover_that_does_not_start_is_made_anew_when_its_object_is_mended(method: str, copy: str) -> None:
    it = Theatre.source(method, copy, moverServiceAccount="absent").start()
    first = it.job["metadata"]["uid"]
    it.later(600)
    assert not it.act().steps
    it.change(**{method: {"moverServiceAccount": None}})
    it.act()
    assert it.job["metadata"]["uid"] != first
    assert it.pod["serviceAccountName"] == "volsync-src-db"
    assert [event.reason for event in it.events if event.type == "Warning"] == [], "nobody has lost anything"
    assert [child["kind"] for child in it.created].count("VolumeSnapshot") == (copy == "Snapshot"), "the same copy"
    assert it.job["metadata"]["annotations"]["datamover.a-cup-of.coffee/failures-before"] == "0"
    it.succeed()
    it.act()
    assert it.synced


def test_a_mover_that_its_namespace_refused_is_made_anew_when_the_namespace_changes() -> None:
    it = Theatre.destination().start()
    it.namespace_labels["pod-security.kubernetes.io/enforce"] = "restricted"
    it.act()
    assert it.pod["securityContext"]["runAsNonRoot"] is True


def test_what_no_one_knows_yet_replaces_no_mover() -> None:
    it = Theatre.source().start()
    it.namespace_annotations["volsync.backube/privileged-movers"] = "true"
    it.namespace_unread = Unread.NOT_SYNCED
    assert not it.act().steps


def test_a_mover_that_runs_is_left_alone_whatever_is_asked_for_meanwhile() -> None:
    it = Theatre.source().start()
    it.succeed()
    it.change(restic={"moverServiceAccount": "another", "retain": {"daily": 3}})
    it.act()
    assert it.synced
    assert [child["kind"] for child in it.created].count("Job") == 1


# volumes that cannot be made


@pytest.mark.parametrize("copy", ["Clone", "Snapshot"])
def test_a_copy_that_no_driver_can_make_is_made_anew_as_it_is_asked_for_then(copy: str) -> None:
    it = Theatre.source(copy=copy, storageClassName="wrong")
    it.act()
    if copy == "Snapshot":
        it.ready("volsync-db-src")
        it.act()
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"]["spec"]["storageClassName"] == "wrong"
    it.change(restic={"storageClassName": "right"})
    it.act()
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"]["spec"]["storageClassName"] == "right"
    it.finish()
    assert it.synced
    assert [child["kind"] for child in it.created].count("VolumeSnapshot") == (copy == "Snapshot"), "the same moment"


def test_another_copy_method_leaves_no_copy_of_the_one_before_behind() -> None:
    for method in ("Direct", "Snapshot"):
        it = Theatre.source()
        it.act()
        it.change(restic={"copyMethod": method})
        it.finish()
        assert it.synced
        assert it.there("PersistentVolumeClaim") == {"data", "volsync-src-db-cache"}


def test_a_volume_of_a_destination_that_is_never_made_is_asked_for_anew_and_one_with_data_never() -> None:
    it = Theatre.destination(copy="Direct", storageClassName="wrong")
    it.act()
    first = it.objects["PersistentVolumeClaim", "volsync-back-dest"]["metadata"]["uid"]
    it.change(restic={"storageClassName": "right"})
    it.act()
    claim = it.objects["PersistentVolumeClaim", "volsync-back-dest"]
    assert (claim["spec"]["storageClassName"], claim["metadata"]["uid"] != first) == ("right", True)
    assert [event.reason for event in it.events if event.type == "Warning"] == []
    it.finish()
    it.change(restic={"storageClassName": "another", "capacity": "9Gi"})
    it.later(60)
    it.trigger(manual="t2")
    it.finish()
    assert it.objects["PersistentVolumeClaim", "volsync-back-dest"]["metadata"]["uid"] == claim["metadata"]["uid"]


def test_a_claim_that_says_nothing_of_what_was_asked_for_is_left_alone() -> None:
    it = Theatre.source(storageClassName="wrong")
    it.act()
    claim = it.objects["PersistentVolumeClaim", "volsync-db-src"]
    del claim["metadata"]["annotations"]
    it.change(restic={"storageClassName": "right"})
    it.act()
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"] is claim


def test_a_volume_that_binds_when_its_mover_starts_is_made_anew_with_it() -> None:
    it = Theatre.source(storageClassName="wrong")
    it.binds_on_use = True
    it.act()
    assert it.there("Job")
    it.change(restic={"storageClassName": "right"})
    it.act()
    assert it.objects["PersistentVolumeClaim", "volsync-db-src"]["spec"]["storageClassName"] == "right"
    assert [event.reason for event in it.events if event.type == "Warning"] == []
    it.finish()
    assert it.synced


# names that are the same


STEM = "orders-of-the-shop-in-the-old-town-at-the-river"
ALIKE = (f"{STEM}-wvaljrivtf", f"{STEM}-ut0k4gqngn")
"""Two names of 58 characters whose CRC-32 is the same, found by trying: their Jobs have the same name."""


@pytest.mark.parametrize("method", METHODS)
def test_two_objects_whose_names_are_shortened_to_the_same_one_take_turns(method: str) -> None:
    one = Theatre.source(method, name=ALIKE[0])
    other = Theatre.source(method, name=ALIKE[1], beside=one)
    one.start()
    name = one.job["metadata"]["name"]
    assert name == words.job_name(one.job["spec"]["template"]["spec"]["containers"][0]["name"], "src", ALIKE[1])
    for _ in range(3):
        other.act()
        other.later(30)
    assert other.condition("Ready")[1:] == (
        "NameTaken",
        f"Job {name} exists and is not this ReplicationSource's: delete it, or give one of the two another name",
    )
    assert len([event for event in other.events if event.type == "Warning"]) == 1
    assert other.plan().wake_after == 60
    one.succeed()
    one.act()
    assert one.synced
    other.finish()
    assert other.synced
    assert one.deleted.count(f"Job/{name}") == other.deleted.count(f"Job/{name}") == 1


# images


@pytest.mark.parametrize(
    "said",
    [
        {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "theirs"},
        {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "nowhere"},
        {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "theirs"},
        {"apiGroup": "apps", "kind": "Deployment", "name": "theirs"},
        {"kind": "VolumeSnapshot", "name": ""},
        None,
    ],
)
def test_a_status_that_names_something_else_as_the_latest_image_has_nothing_deleted(
    said: dict[str, str] | None,
) -> None:
    it = Theatre.destination().finish()
    image = it.status["latestImage"]["name"]
    it._add(VOLUME_SNAPSHOTS, {"metadata": {"name": "theirs"}, "spec": {}})
    if said is None:
        del it.status["latestImage"]
    else:
        it.status["latestImage"] = said
    it.deleted.clear()
    it.act()
    assert it.there("VolumeSnapshot") == {image, "theirs"}
    it.later(60)
    it.trigger(manual="t2")
    it.finish()
    assert it.there("VolumeSnapshot") == {it.status["latestImage"]["name"], "theirs"}, "the next one is another one's"


def test_an_image_gives_way_to_the_volume_itself_when_that_is_published() -> None:
    it = Theatre.destination().finish()
    it.change(restic={"copyMethod": "Direct"})
    it.later(60)
    it.trigger(manual="t2")
    it.finish()
    assert it.status["latestImage"]["kind"] == "PersistentVolumeClaim"
    assert it.there("VolumeSnapshot") == set()


# what people do to the children, and what statuses say that nobody of us has written


def test_what_only_carries_our_label_is_not_ours() -> None:
    """A claim of somebody else's to which somebody has given our label, with our UID in it (law L2)."""
    it = Theatre.source().start()
    it.claim("precious")
    it.objects["PersistentVolumeClaim", "precious"]["metadata"]["labels"] = {
        "app.kubernetes.io/created-by": "volsync",
        words.CLEANUP_LABEL: it.uid,
    }
    it.succeed()
    it.act()
    assert it.synced
    assert "precious" in it.there("PersistentVolumeClaim")


def test_a_job_whose_label_somebody_took_goes_with_the_next_synchronisation() -> None:
    it = Theatre.source().start()
    del it.job["metadata"]["labels"][words.CLEANUP_LABEL]
    it.succeed()
    it.act()
    assert it.synced
    first = it.job["metadata"]["uid"]
    it.later(60)
    it.trigger(manual="t2")
    it.start()
    assert it.job["metadata"]["uid"] != first


@pytest.mark.parametrize("parallelism", [0, 5])
def test_the_number_of_movers_is_always_put_right(parallelism: int) -> None:
    it = Theatre.source().start()
    it.job["spec"]["parallelism"] = parallelism
    it.act()
    assert it.job["spec"]["parallelism"] == 1


@pytest.mark.parametrize(
    "said",
    [
        {"lastSyncStartTime": "yesterday"},
        {"lastSyncStartTime": "2036-01-01T00:00:00Z"},
        {"lastSyncTime": "2036-01-01T00:00:00Z", "lastManualSync": "t0"},
        {"lastSyncTime": "soon", "lastSyncDuration": "long", "nextSyncTime": "never", "lastManualSync": "t1"},
        {
            "latestMoverStatus": {"result": "Perhaps"},
            "conditions": [{"type": "Synchronizing", "status": "True", "reason": "Odd"}],
        },
        {
            "conditions": [
                {"type": "Stalled", "status": "True", "reason": "X", "message": "999999 failures in a row: x"}
            ]
        },
    ],
    ids=lambda said: ", ".join(said),
)
@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_status_of_nonsense_ends_in_a_synchronisation(kind: str, said: dict[str, Any]) -> None:
    it: Theatre = getattr(Theatre, kind)()
    it.manifest["status"] = said
    it.finish()
    assert it.synced
    assert it.status["lastManualSync"] == "t1"


def test_a_manual_trigger_of_several_lines_is_repeated_as_it_is() -> None:
    it = Theatre.source(trigger={"manual": "one\ntwo\t\N{SNOWMAN}"}).finish()
    assert it.status["lastManualSync"] == "one\ntwo\t\N{SNOWMAN}"
    assert not it.act().steps


# what the operator may not look at, and what is said twice


def test_a_secret_that_the_operator_may_not_read_is_left_to_the_kubelet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.caches.Caches.secret", lambda *_: Unread.FORBIDDEN)
    for method in METHODS:
        assert Theatre.source(method, "Direct").start().there("Job")


def test_of_certificates_with_two_names_those_of_the_secret_are_used() -> None:
    both = {"secretName": "authorities", "configMapName": "others", "key": "ca.crt"}
    it = Theatre.source("restic", "Direct", customCA=both)
    it.act()
    assert it.condition("Ready")[1] == "SecretNotFound"
    it.secrets["authorities"] = ("ca.crt",)
    it.start()
    mounted = [volume for volume in it.pod["volumes"] if "authorities" in str(volume) or "others" in str(volume)]
    assert len(mounted) == 1
    assert "others" not in str(mounted)


def test_a_cluster_without_snapshots_is_told_what_is_missing_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as without:
        without.setattr("support.caches.Caches.snapshot_classes", lambda _: None)
        sources = [Theatre.source(method, "Snapshot") for method in METHODS]
        for it in sources:
            it.act()
            state, reason, message = it.condition("Ready")
            assert (state, reason) == ("False", "SnapshotsNotSupported")
            assert "copyMethod" in message
            assert not it.there("VolumeSnapshot")
    for it in sources:
        assert it.start().there("VolumeSnapshot")


@pytest.mark.parametrize("method", METHODS)
def test_a_claim_that_is_deleted_under_a_mover_that_waits_for_a_node_takes_its_job_along(method: str) -> None:
    it = Theatre.destination(method, "Snapshot").start()
    [name] = [
        name for kind, name in it.objects if kind == "PersistentVolumeClaim" and name.startswith("volsync-back-d")
    ]
    first = it.job["metadata"]["uid"]
    it.objects["PersistentVolumeClaim", name]["metadata"]["deletionTimestamp"] = seconds(it.now)
    it.act()
    assert not it.there("Job"), (
        "its failed Pods would keep the claim from going, and the claim the next Pod from starting"
    )
    assert it.condition("Ready")[1] == "SourceTerminating"
    it.delete("PersistentVolumeClaim", name)
    assert it.start().job["metadata"]["uid"] != first


def test_a_claim_that_is_deleted_under_a_mover_that_runs_leaves_it_to_its_end() -> None:
    for it in (Theatre.destination("restic", "Snapshot").start(), Theatre.source("restic", "Direct").start()):
        it.run()
        for (kind, _), each in it.objects.items():
            if kind == "PersistentVolumeClaim":
                each["metadata"]["deletionTimestamp"] = seconds(it.now)
        it.act()
        assert it.there("Job")
