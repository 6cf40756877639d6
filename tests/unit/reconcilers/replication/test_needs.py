"""What a mover needs besides its data: what is made for it, what users bring, and what is told of it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from datamover.plans.known import Placement
from datamover.plans.steps import Create
from datamover.reconcilers.replication.needs import KeyMakers
from datamover.runs.facts import Unread
from kubekit.words.core import SECRET_METAS
from support.theatre import METHODS, SETTINGS, Theatre, settle

TLS: dict[str, Any] = {"keySecret": None}
SSH: dict[str, Any] = {"sshKeys": None}


def error(it: Theatre) -> str:
    """Return the message of the contract's condition, which says that there is an error."""
    status, reason, message = it.condition()
    assert (status, reason) == ("False", "Error")
    return message


# Secrets that the user brings


def test_restic_copies_first_and_misses_its_secret_afterwards() -> None:
    it = Theatre.source(claim={"use_copy_trigger": "", "copy_trigger": "go1"})
    del it.secrets["restic-secret"]
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    it.bind("volsync-db-src")
    it.act()
    assert error(it).startswith(
        'Secret "restic-secret" not found: create it with RESTIC_REPOSITORY and RESTIC_PASSWORD'
    )
    assert it.annotations("data")["latest-copy-status"] == "Completed"
    assert not it.there("Job")
    assert ("Warning", "SecretNotFound") in it.said()
    it.secrets["restic-secret"] = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")
    it.act()
    assert it.condition()[1] == "SyncInProgress"
    it.finish()
    assert it.synced


@pytest.mark.parametrize("method", ["rsyncTLS", "rsync"])
def test_the_rsync_movers_copy_first_as_well(method: str) -> None:
    it = Theatre.source(method)
    it.secrets.clear()
    it.act()
    assert it.there("PersistentVolumeClaim") >= {"volsync-db-src"}
    it.bind("volsync-db-src")
    it.act()
    assert "not found" in error(it)


def test_rclone_misses_its_secret_before_anything_is_copied() -> None:
    it = Theatre.source("rclone", claim={"use_copy_trigger": ""})
    del it.secrets["rclone-secret"]
    it.act()
    assert error(it).startswith('Secret "rclone-secret" not found: create it with rclone.conf')
    assert it.there("PersistentVolumeClaim") == {"data"}
    assert it.annotations("data") == {"use-copy-trigger": ""}


@pytest.mark.parametrize(
    ("it", "message"),
    [
        (Theatre.source("rclone", rcloneConfigSection=None), "spec.rclone.rcloneConfigSection is not set"),
        (Theatre.source("rclone", rcloneDestPath=None), "spec.rclone.rcloneDestPath is not set"),
        (Theatre.source("rclone", rcloneConfig=None), "spec.rclone.rcloneConfig is not set"),
        (Theatre.source(copy="Direct", repository=None), "spec.restic.repository is not set"),
        (Theatre.source("rsyncTLS", "Direct", address=None), "spec.rsyncTLS.address is not set"),
        (
            Theatre.source(copy="Direct", customCA={"secretName": "ca", "key": "ca.crt"}),
            'Secret "ca" not found: create it with ca.crt',
        ),
        (
            Theatre.source(copy="Direct", customCA={"configMapName": "ca", "key": "ca.crt"}),
            'ConfigMap "ca" not found: create it with ca.crt',
        ),
        (Theatre.source(copy="Direct", customCA={"configMapName": "ca"}), "spec.restic.customCA.key is not set"),
        (
            Theatre.source(
                copy="Direct", moverVolumes=[{"mountPath": "x", "volumeSource": {"secret": {"secretName": "more"}}}]
            ),
            'Secret "more" not found: create it',
        ),
        (Theatre.destination(destinationPVC="absent"), 'PersistentVolumeClaim "absent" not found'),
        (Theatre.destination(capacity=None), "spec.restic.capacity must be set"),
        (
            Theatre.destination("rsync", capacity=None, accessModes=None),
            "spec.rsync.capacity and spec.rsync.accessModes must be set",
        ),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(it: Theatre, message: str) -> None:
    it.act()
    assert error(it).startswith(message)
    assert not it.there("Job")
    assert [kind for kind, _ in it.said()].count("Warning") == 1


@pytest.mark.parametrize(
    ("method", "secret", "keys"),
    [
        ("restic", "restic-secret", "RESTIC_PASSWORD"),
        ("rclone", "rclone-secret", "rclone.conf"),
        ("rsyncTLS", "tls-psk", "psk.txt"),
        ("rsync", "ssh-keys", "destination.pub"),
    ],
)
def test_a_secret_that_is_half_there_is_told_by_what_is_missing_of_it(method: str, secret: str, keys: str) -> None:
    it = Theatre.source(method, "Direct")
    it.secrets[secret] = tuple(key for key in it.secrets[secret] if key != keys)
    it.act()
    assert error(it) == f'Secret "{secret}" is missing the field {keys}, or it is empty: add it'
    assert ("Warning", "SecretKeyMissing") in it.said()


# keys that are generated


def makers(log: list[str]) -> KeyMakers:
    def psk() -> Mapping[str, bytes]:
        log.append("psk")
        return {"psk.txt": b"x"}

    def ssh() -> Mapping[str, bytes]:
        log.append("ssh")
        return {key: key.encode() for key in ("source", "source.pub", "destination", "destination.pub")}

    async def read(namespace: str, name: str) -> Mapping[str, bytes]:
        log.append(f"read {namespace}/{name}")
        return ssh()

    return KeyMakers(psk=psk, ssh=ssh, read=read)


async def made(step: Create) -> Mapping[str, bytes]:
    assert step.secret is not None
    found = step.secret()
    return found if isinstance(found, Mapping) else await found


def secrets_of(it: Theatre) -> dict[str, Mapping[str, bytes]]:
    """Return what the Secrets that are made now hold."""
    return {
        step.manifest["metadata"]["name"]: asyncio.run(made(step))
        for step in it.plan().steps
        if isinstance(step, Create) and step.resource is SECRET_METAS
    }


def test_ssh_keys_are_generated_once_and_the_other_secrets_are_read_off_the_main_one() -> None:
    log: list[str] = []
    it = Theatre.destination("rsync", destinationPVC="data", copy="Direct")
    it.claim("data")
    it.keys = makers(log)
    it.act_once()
    made = secrets_of(it)
    main, destination, source = (f"volsync-rsync-dst-{part}-back" for part in ("main", "dest", "src"))
    assert set(made[main]) == {"source", "source.pub", "destination", "destination.pub"}
    assert set(made[destination]) == {"destination", "destination.pub", "source.pub"}
    assert set(made[source]) == {"source", "source.pub", "destination.pub"}
    it.act()
    log.clear()
    it.delete("Secret", source)
    it.delete("Job", "volsync-rsync-dst-back")
    assert set(secrets_of(it)) == {source}
    assert log[0] == f"read golden/{main}"
    it.act()
    assert it.there("Secret") == {main, destination, source}


def test_keys_are_published_when_all_of_them_are_there_and_not_before() -> None:
    it = Theatre.destination("rsync", destinationPVC="data", copy="Direct")
    it.claim("data")
    it.act()
    assert it.status["rsync"] == {"sshKeys": "volsync-rsync-dst-src-back", "address": "10.0.0.2"}
    partial = [status["rsync"] for status in it.statuses if "sshKeys" not in status["rsync"]]
    assert all(each in ({}, {"address": "10.0.0.2"}) for each in partial)


def test_a_source_without_an_address_is_served_by_a_service_and_publishes_the_other_sides_keys() -> None:
    it = Theatre.source("rsync", sshKeys=None, address=None)
    it.act()
    it.bind_all()
    it.act()
    assert it.there("Service") == {"volsync-rsync-src-db"}
    assert it.status["rsync"]["sshKeys"] == "volsync-rsync-src-dest-db"
    assert it.status["rsync"]["address"].startswith("10.0.0.")


@pytest.mark.parametrize(("method", "field"), [("rsync", "rsync"), ("rsyncTLS", "rsyncTLS")])
def test_a_source_that_knows_no_address_starts_no_mover_and_goes_on_when_it_knows_one(method: str, field: str) -> None:
    it = Theatre.source(method, address=None)
    it.act()
    it.bind_all()
    it.act()
    assert not it.there("Job")
    told = f"spec.{field}.address is not set: it is status.{field}.address of the ReplicationDestination"
    assert it.condition() == ("False", "Error", told)
    assert it.said("Error") == [("Error", told)]
    it.change(**{method: {"address": "peer.example"}})
    it.finish()
    assert it.synced


def test_a_tls_source_without_a_key_makes_one_and_says_its_name() -> None:
    it = Theatre.source("rsyncTLS", keySecret=None).start()
    assert it.there("Secret") == {"volsync-rsync-tls-db"}
    assert it.status["rsyncTLS"] == {"keySecret": "volsync-rsync-tls-db"}
    it.finish()
    assert it.there("Secret") == {"volsync-rsync-tls-db"}


def test_a_load_balancer_has_a_quarter_of_a_minute_to_get_its_address_and_then_that_is_told_once() -> None:
    it = Theatre.destination("rsyncTLS", serviceType="LoadBalancer")
    wake = it.act().wake_after
    assert wake is not None
    assert 15 <= wake < 16
    assert it.condition()[:2] == ("True", "SyncInProgress")
    assert not [each for each in it.said() if each[0] == "Warning"]
    it.later(wake)
    it.act()
    assert it.condition()[:2] == ("True", "SyncInProgress"), "as with the original: it is no error"
    assert it.condition("Stalled")[:2] == ("True", "NoServiceAddressAssigned")
    [(_, note)] = it.said("NoServiceAddressAssigned")
    assert "spec.rsyncTLS.serviceType" in note
    assert "kubectl -n golden describe service volsync-rsync-tls-dst-back" in note
    it.later(3600)
    assert not it.act().steps
    assert not it.there("Job")
    service = it.objects["Service", "volsync-rsync-tls-dst-back"]
    service["status"] = {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}
    it.act()
    assert it.status["rsyncTLS"]["address"] == "lb.example.com"
    assert it.condition("Stalled")[0] == "False"
    assert it.there("Job")


def test_an_address_is_told_when_it_is_published_first_and_when_it_is_another_one() -> None:
    it = Theatre.destination("rsyncTLS").start()
    [first] = [each for each in it.events if each.reason == "ServiceAddressAssigned"]
    assert first.type == "Normal"
    assert first.related is not None
    assert first.related.metadata.name == "volsync-rsync-tls-dst-back"
    assert it.status["rsyncTLS"]["address"] in first.message
    it.objects["Service", "volsync-rsync-tls-dst-back"]["spec"]["clusterIP"] = "10.9.9.9"
    it.act()
    assert it.status["rsyncTLS"]["address"] == "10.9.9.9"
    it.finish()
    it.restart()
    it.trigger(manual="t2")
    it.start()
    assert [note.split()[4].rstrip(":") for _, note in it.said("ServiceAddressAssigned")] == [
        first.message.split()[4].rstrip(":"),
        "10.9.9.9",
    ]


# caches, classes, sizes


def test_a_cache_follows_its_own_fields_then_the_volumes() -> None:
    it = Theatre.source(
        cacheCapacity="5Gi", cacheStorageClassName="quick", cacheAccessModes=["ReadWriteMany"], storageClassName="slow"
    ).start()
    cache = it.objects["PersistentVolumeClaim", "volsync-src-db-cache"]["spec"]
    assert cache["resources"]["requests"]["storage"] == "5Gi"
    assert (cache["storageClassName"], cache["accessModes"]) == ("quick", ["ReadWriteMany"])
    it = Theatre.source(storageClassName="slow", accessModes=["ReadOnlyMany"], capacity="9Gi").start()
    made = {child["metadata"]["name"]: child["spec"] for child in it.created if "spec" in child}
    assert "storageClassName" not in made["volsync-src-db-cache"]
    assert made["volsync-src-db-cache"]["accessModes"] == ["ReadWriteOnce"], (
        "a cache is written, also that of a copy for reading"
    )
    copy = made["volsync-db-src"]
    assert (copy["storageClassName"], copy["accessModes"]) == ("slow", ["ReadOnlyMany"])
    assert copy["resources"]["requests"]["storage"] == "9Gi"


def test_a_destinations_cache_has_its_class_and_the_modes_of_its_volume() -> None:
    it = Theatre.destination(destinationPVC="given", copy="Direct", storageClassName="slow")
    it.claim("given", modes=("ReadWriteMany",))
    it.act()
    cache = it.objects["PersistentVolumeClaim", "volsync-dst-back-cache"]["spec"]
    assert (cache["storageClassName"], cache["accessModes"]) == ("slow", ["ReadWriteMany"])


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, {"volsync-back-dest", "volsync-dst-back-cache"}),
        ({"cleanupTempPVC": True}, {"volsync-dst-back-cache"}),
        ({"cleanupCachePVC": True}, {"volsync-back-dest"}),
        ({"cleanupTempPVC": True, "cleanupCachePVC": True}, set()),
    ],
)
def test_what_a_destination_is_to_clean_up_goes_at_the_end(options: dict[str, bool], left: set[str]) -> None:
    it = Theatre.destination(**options).finish()
    assert it.there("PersistentVolumeClaim") == left
    assert it.there("VolumeSnapshot") == {it.status["latestImage"]["name"]}
    it.trigger(manual="t2")
    it.later(60)
    it.finish()
    assert it.status["lastManualSync"] == "t2"
    assert it.there("PersistentVolumeClaim") == left


def test_a_claim_that_is_the_image_itself_or_was_given_is_never_cleaned_up() -> None:
    it = Theatre.destination(copy="Direct", cleanupTempPVC=True).finish()
    assert it.status["latestImage"] == {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "volsync-back-dest"}
    assert "volsync-back-dest" in it.there("PersistentVolumeClaim")
    it = Theatre.destination(destinationPVC="given", cleanupTempPVC=True)
    it.claim("given")
    it.finish()
    assert "given" in it.there("PersistentVolumeClaim")


# images


def test_an_image_is_published_when_it_can_be_used_and_the_one_before_is_released_then() -> None:
    it = Theatre.destination().finish()
    first = it.status["latestImage"]["name"]
    assert it.there("VolumeSnapshot") == {first}
    it.later(60)
    it.trigger(manual="t2")
    it.start()
    it.succeed()
    it.act()
    [second] = it.there("VolumeSnapshot") - {first}
    assert it.status["latestImage"]["name"] == first
    assert it.condition()[1] == "SyncInProgress"
    it.objects["VolumeSnapshot", second]["status"] = {"boundVolumeSnapshotContentName": "c", "readyToUse": False}
    it.act()
    assert it.there("VolumeSnapshot") == {first, second}
    assert it.status["latestImage"]["name"] == first
    it.ready(second)
    it.act()
    assert it.status["latestImage"]["name"] == second
    assert it.there("VolumeSnapshot") == {second}
    assert it.status["lastManualSync"] == "t2"


def test_an_image_that_the_user_keeps_or_that_is_in_use_is_not_released() -> None:
    it = Theatre.destination().finish()
    first = it.status["latestImage"]["name"]
    it.objects["VolumeSnapshot", first]["metadata"]["labels"]["volsync.backube/do-not-delete"] = ""
    it.later(60)
    it.trigger(manual="t2")
    it.finish()
    second = it.status["latestImage"]["name"]
    assert it.there("VolumeSnapshot") == {first, second}
    assert not it.objects["VolumeSnapshot", first]["metadata"].get("ownerReferences")
    it.objects["VolumeSnapshot", second]["metadata"]["labels"]["volsync.backube/volpop-pvc-7"] = "x"
    it.later(60)
    it.trigger(manual="t3")
    it.finish()
    assert it.there("VolumeSnapshot") == {first, second, it.status["latestImage"]["name"]}
    del it.objects["VolumeSnapshot", second]["metadata"]["labels"]["volsync.backube/volpop-pvc-7"]
    it.act()
    assert it.there("VolumeSnapshot") == {first, it.status["latestImage"]["name"]}


def test_an_image_that_vanishes_before_it_is_ready_is_taken_again_of_the_same_data() -> None:
    it = Theatre.destination().start()
    it.succeed()
    it.act()
    [name] = it.there("VolumeSnapshot")
    it.delete("VolumeSnapshot", name)
    it.later(30)
    it.act()
    assert it.there("VolumeSnapshot") == {name}
    assert [child["kind"] for child in it.created].count("Job") == 1


def test_a_destinations_volume_that_vanishes_is_made_anew_and_its_job_does_not_count() -> None:
    it = Theatre.destination().start()
    it.delete("PersistentVolumeClaim", "volsync-back-dest")
    it.succeed()
    it.act()
    assert not it.synced
    assert it.there("VolumeSnapshot") == set()


# the mover's Pod


@pytest.mark.parametrize("method", METHODS)
def test_what_users_say_of_the_movers_pod_is_in_it(method: str) -> None:
    options: dict[str, Any] = {
        "moverServiceAccount": "mine",
        "moverPodLabels": {"team": "blue", "app.kubernetes.io/created-by": "nobody"},
        "moverResources": {"limits": {"memory": "1Gi"}},
    }
    if method != "rsync":
        options |= {
            "moverSecurityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
            "moverAffinity": {"nodeAffinity": {}},
            "moverVolumes": [
                {"mountPath": "more", "volumeSource": {"persistentVolumeClaim": {"claimName": "repo"}}},
                {"mountPath": "nfs", "volumeSource": {"nfs": {"server": "nas", "path": "/x"}}},
            ],
        }
    it = Theatre.source(method, "Direct", **options)
    it.claim("repo")
    it.start()
    assert it.pod["serviceAccountName"] == "mine"
    assert it.there("ServiceAccount") == set()
    labels = it.job["spec"]["template"]["metadata"]["labels"]
    assert (labels["team"], labels["app.kubernetes.io/created-by"]) == ("blue", "volsync")
    assert it.container["resources"] == {"limits": {"memory": "1Gi"}}
    if method == "rsync":
        return
    context = it.pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (1000, 1000, 1000)
    assert it.pod["affinity"] == {"nodeAffinity": {}}
    volumes = {each["name"]: each for each in it.pod["volumes"]}
    assert volumes["u-more"] == {"name": "u-more", "persistentVolumeClaim": {"claimName": "repo"}}
    assert volumes["u-nfs"]["nfs"] == {"server": "nas", "path": "/x"}
    mounts = {each["name"]: each["mountPath"] for each in it.container["volumeMounts"]}
    assert (mounts["u-more"], mounts["u-nfs"]) == ("/mnt/more", "/mnt/nfs")


@pytest.mark.parametrize("method", ["restic", "rclone"])
@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_certificates_of_the_user_are_mounted(method: str, kind: str) -> None:
    where = {"secretName": "ca"} if kind == "Secret" else {"configMapName": "ca"}
    it = Theatre.source(method, "Direct", customCA={**where, "key": "ca.crt"})
    it.secrets["ca"] = it.config_maps["ca"] = ("ca.crt",)
    it.start()
    assert it.environment["CUSTOM_CA"].startswith("/customca/")
    [volume] = [each for each in it.pod["volumes"] if "ca" in str(each.get("secret") or each.get("configMap") or "")]
    assert ("secret" in volume) is (kind == "Secret")


def test_a_namespace_that_is_restricted_gets_a_mover_that_it_admits() -> None:
    it = Theatre.source(copy="Direct")
    it.namespace_labels["pod-security.kubernetes.io/enforce"] = "restricted"
    context = it.start().pod["securityContext"]
    assert (context["runAsUser"], context["runAsNonRoot"]) == (65534, True)


@pytest.mark.parametrize("role", ["source", "destination"])
@pytest.mark.parametrize("method", METHODS)
def test_no_mover_starts_before_it_is_known_whether_the_namespace_allows_privileged_ones(
    method: str, role: str
) -> None:
    """A namespace is watched only while a synchronisation is under way, so at its beginning nothing is known of it."""
    it: Theatre = getattr(Theatre, role)(method, copy="Direct")
    it.namespace_annotations["volsync.backube/privileged-movers"] = "true"
    it.namespace_unread = Unread.NOT_SYNCED
    settle(it)
    assert not [name for kind, name in it.objects if kind == "Job"]
    assert it.plan().steps == (), "its watch brings us back"
    it.namespace_unread = None
    settle(it)
    container = it.pod["containers"][0]
    assert container["securityContext"]["runAsUser"] == 0
    assert {"name": "PRIVILEGED_MOVER", "value": "1"} in container["env"]


def test_without_the_right_to_see_namespaces_movers_have_no_privileges() -> None:
    it = Theatre.source(copy="Direct")
    it.namespace_annotations["volsync.backube/privileged-movers"] = "true"
    it.namespace_unread = Unread.FORBIDDEN
    assert {"name": "PRIVILEGED_MOVER", "value": "0"} in it.start().pod["containers"][0]["env"]


def test_a_volume_that_one_node_mounts_is_moved_where_its_user_runs() -> None:
    toleration = {"key": "dedicated", "operator": "Exists"}
    it = Theatre.source(copy="Direct")
    it.placement = Placement("uid-1", "node-7", (toleration,))
    it.start()
    assert it.pod["nodeSelector"] == {"kubernetes.io/hostname": "node-7"}
    assert it.pod["tolerations"] == [toleration]
    for other in (Theatre.source(copy="Clone"), Theatre.source(copy="Direct")):
        other.placement = Placement("uid-1", "node-7")
        if other.manifest["spec"]["restic"]["copyMethod"] == "Direct":
            other.claim("data", modes=("ReadWriteMany",))
        assert "nodeSelector" not in other.start().pod


def test_the_operators_own_variables_reach_every_mover() -> None:
    settings = replace(SETTINGS, environment=({"name": "HTTPS_PROXY", "value": "http://proxy"},))
    for method in METHODS:
        assert Theatre.source(method, "Direct", settings=settings).start().environment["HTTPS_PROXY"] == "http://proxy"


@pytest.mark.parametrize("method", ["rsync", "rsyncTLS"])
@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
def test_block_volumes_are_devices_of_the_rsync_movers(method: str, copy: str) -> None:
    it = Theatre.source(method, copy)
    it.objects["PersistentVolumeClaim", "data"]["spec"]["volumeMode"] = "Block"
    it.start()
    assert it.container["volumeDevices"] == [{"name": "data", "devicePath": "/dev/block"}]
    it.finish()
    assert it.synced


@pytest.mark.parametrize("copy", ["Direct", "Clone", "Snapshot"])
def test_block_volumes_are_refused_by_movers_of_files(copy: str) -> None:
    it = Theatre.source("restic", copy)
    it.objects["PersistentVolumeClaim", "data"]["spec"]["volumeMode"] = "Block"
    it.act()
    assert "is a Block volume, and its mover moves files" in error(it)
    back = Theatre.destination(destinationPVC="given")
    back.claim("given")
    back.objects["PersistentVolumeClaim", "given"]["spec"]["volumeMode"] = "Block"
    back.act()
    assert "is a Block volume" in error(back)


# restic


def args(it: Theatre) -> list[str]:
    return it.container["args"][1:]


def test_restic_prunes_after_an_interval_and_says_when() -> None:
    it = Theatre.source().finish()
    assert "lastPruned" not in it.status["restic"]
    it.later(7 * 86_400 + 1)
    it.trigger(manual="t2")
    it.start()
    assert args(it) == ["backup", "prune"]
    assert "lastPruned" not in it.status["restic"]
    it.finish()
    assert it.status["restic"]["lastPruned"] == it.status["lastSyncTime"]
    it.later(6 * 86_400)
    it.trigger(manual="t3")
    it.start()
    assert args(it) == ["backup"]
    it.later(5)
    it.succeed()
    it.change(restic={"pruneIntervalDays": 1})
    it.act()
    assert it.status["restic"]["lastPruned"] < it.status["lastSyncTime"]
    it.trigger(manual="t4")
    it.later(1)
    it.start()
    assert args(it) == ["backup", "prune"]


def test_restic_unlocks_once_for_each_value_and_forgets_it_with_the_field() -> None:
    it = Theatre.source(unlock="now").start()
    assert args(it) == ["unlock", "backup"]
    assert "lastUnlocked" not in it.status["restic"]
    it.finish()
    assert it.status["restic"]["lastUnlocked"] == "now"
    it.later(1)
    it.trigger(manual="t2")
    it.start()
    assert args(it) == ["backup"]
    it.finish()
    assert it.status["restic"]["lastUnlocked"] == "now"
    it.change(restic={"unlock": None})
    it.later(1)
    it.trigger(manual="t3")
    it.finish()
    assert "lastUnlocked" not in it.status["restic"]


def test_a_job_that_was_not_told_to_unlock_stamps_nothing() -> None:
    it = Theatre.source().start()
    it.change(restic={"unlock": "now"})
    it.succeed()
    it.act()
    assert "lastUnlocked" not in it.status["restic"]


def test_a_failed_unlock_is_tried_again() -> None:
    it = Theatre.source(unlock="now").start()
    it.fail()
    it.act()
    it.later(11)
    it.act()
    assert args(it) == ["unlock", "backup"]
    assert "lastUnlocked" not in it.status["restic"]


def test_the_log_of_a_success_is_in_the_status() -> None:
    it = Theatre.source().finish("snapshot 1a2b3c saved")
    assert it.status["latestMoverStatus"] == {"result": "Successful", "logs": "snapshot 1a2b3c saved"}


@pytest.mark.parametrize(
    ("make", "secret", "field"),
    [
        (lambda: Theatre.destination("rsyncTLS", "Direct"), "volsync-rsync-tls-back", "spec.rsyncTLS.keySecret"),
        (lambda: Theatre.source("rsyncTLS", keySecret=None), "volsync-rsync-tls-db", "spec.rsyncTLS.keySecret"),
        (lambda: Theatre.destination("rsync", "Direct"), "volsync-rsync-dst-main-back", "spec.rsync.sshKeys"),
    ],
    ids=["rsync-tls destination", "rsync-tls source", "rsync destination"],
)
def test_published_keys_that_are_gone_are_told_once_when_others_are_generated(
    make: Callable[[], Theatre], secret: str, field: str
) -> None:
    it = make().start()
    assert it.said("SecretNotFound") == [], "the first keys are no loss"
    for name in it.there("Secret"):
        it.delete("Secret", name)
    it.act()
    it.act()
    assert secret in it.there("Secret")
    [(_, message)] = it.said("SecretNotFound")
    assert (
        f"the generated Secret {secret} is gone, and new keys are generated: give the other side the new ones"
        in message
    )
    assert field in message
