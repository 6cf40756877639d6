"""Each field of both kinds' specs, as their definitions have them: what is made otherwise when it is set, or why nothing is.

The fields come from the definitions, so that one that is added stands in the table below or fails here.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from datamover.api.volsync.definition import replication_destination_crd, replication_source_crd
from support.theatre import METHODS, Theatre

SPECS: dict[str, dict[str, Any]] = {
    kind: crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for kind, crd in (("source", replication_source_crd), ("destination", replication_destination_crd))
}
Row = tuple[Any, str]
"""What a field is set to, and what differs then: kinds of children, `cache`, what is `left` at the end, and the `status`. Empty: nothing."""

POD = "Job"
ALL = "Job PersistentVolumeClaim Role RoleBinding ServiceAccount VolumeSnapshot cache left status"
ACCOUNT = "Job Role RoleBinding ServiceAccount left"
VOLUME: dict[str, Any] = {"mountPath": "m", "volumeSource": {"persistentVolumeClaim": {"claimName": "extra"}}}
SECRET: dict[str, Any] = {"mountPath": "m", "volumeSource": {"secret": {"secretName": "extra"}}}
NFS: dict[str, Any] = {"mountPath": "m", "volumeSource": {"nfs": {"server": "a", "path": "/a"}}}
BESIDE: dict[str, dict[str, Any]] = {
    "moverVolumes[].volumeSource.secret": {"moverVolumes": [SECRET]},
    "moverVolumes[].volumeSource.nfs": {"moverVolumes": [NFS]},
    "moverVolumes[]": {"moverVolumes": [VOLUME]},
    "moverVolumes[].volumeSource.secret.items[]": {
        "moverVolumes": [
            {
                "mountPath": "m",
                "volumeSource": {"secret": {"secretName": "extra", "items": [{"key": "k", "path": "p"}]}},
            }
        ]
    },
    "moverResources.claims[].request": {"moverResources": {"claims": [{"name": "gpu"}]}},
    "customCA.secretName": {"customCA": {"key": "k", "configMapName": "extra"}},
    "customCA.configMapName": {"customCA": {"key": "k"}},
    "customCA.key": {"customCA": {"secretName": "extra", "key": "k"}},
    "moverSecurityContext.seccompProfile.localhostProfile": {
        "moverSecurityContext": {"seccompProfile": {"type": "Localhost"}}
    },
    "source.rsync.serviceType": {"address": None},
}
"""What a field needs beside it, by how its path begins; the longest that fits counts."""

FIELDS: dict[str, Row] = {
    "sourcePVC": ("other", "VolumeSnapshot"),
    "trigger.schedule": ("@yearly", "status"),
    "trigger.manual": ("t9", "status"),
    "paused": (True, "Job left status"),
    "external.provider": ("example.com/x", ALL),
    "external.parameters": ({"a": "b"}, ALL),
    # the volume
    "copyMethod": ("Direct", "Job PersistentVolumeClaim VolumeSnapshot"),
    "capacity": ("9Gi", "PersistentVolumeClaim"),
    "storageClassName": ("slow", "PersistentVolumeClaim"),
    "accessModes": (["ReadWriteMany"], "PersistentVolumeClaim"),
    "volumeSnapshotClassName": ("other", "VolumeSnapshot"),
    "volumeMode": ("Block", "Job PersistentVolumeClaim"),
    "destinationPVC": ("other", "Job PersistentVolumeClaim VolumeSnapshot left status"),
    "cleanupTempPVC": (True, "PersistentVolumeClaim left"),
    # the mover's Pod
    "moverServiceAccount": ("mine", ACCOUNT),
    "moverPodLabels": ({"team": "blue"}, POD),
    "moverResources.requests": ({"cpu": "1"}, POD),
    "moverResources.limits": ({"cpu": "1"}, POD),
    "moverResources.claims[].name": ("gpu", POD),
    "moverResources.claims[].request": ("one", POD),
    "moverSecurityContext.runAsUser": (1000, POD),
    "moverSecurityContext.runAsGroup": (1000, POD),
    "moverSecurityContext.runAsNonRoot": (True, POD),
    "moverSecurityContext.fsGroup": (1000, POD),
    "moverSecurityContext.fsGroupChangePolicy": ("Always", POD),
    "moverSecurityContext.supplementalGroups": ([5], POD),
    "moverSecurityContext.supplementalGroupsPolicy": ("Strict", POD),
    "moverSecurityContext.seccompProfile.type": ("Unconfined", POD),
    "moverSecurityContext.seccompProfile.localhostProfile": ("x.json", POD),
    "moverSecurityContext.seLinuxOptions.level": ("s0:c1", POD),
    "moverSecurityContext.seLinuxOptions.role": ("r", POD),
    "moverSecurityContext.seLinuxOptions.type": ("t", POD),
    "moverSecurityContext.seLinuxOptions.user": ("u", POD),
    "moverSecurityContext.seLinuxChangePolicy": ("MountOption", POD),
    "moverSecurityContext.appArmorProfile": ({"type": "RuntimeDefault"}, POD),
    "moverSecurityContext.sysctls": ([{"name": "net.ipv4.tcp_syncookies", "value": "1"}], POD),
    "moverSecurityContext.windowsOptions": ({"runAsUserName": "x"}, POD),
    "moverAffinity": ({"nodeAffinity": {}}, POD),
    "moverVolumes[].mountPath": ("n", POD),
    "moverVolumes[].volumeSource.secret.secretName": ("other", POD),
    "moverVolumes[].volumeSource.secret.items[].key": ("l", POD),
    "moverVolumes[].volumeSource.secret.items[].path": ("q", POD),
    "moverVolumes[].volumeSource.secret.items[].mode": (0o400, POD),
    "moverVolumes[].volumeSource.secret.defaultMode": (0o400, POD),
    "moverVolumes[].volumeSource.secret.optional": (True, POD),
    "moverVolumes[].volumeSource.persistentVolumeClaim.claimName": ("other", POD),
    "moverVolumes[].volumeSource.persistentVolumeClaim.readOnly": (True, POD),
    "moverVolumes[].volumeSource.nfs.server": ("b", POD),
    "moverVolumes[].volumeSource.nfs.path": ("/b", POD),
    "moverVolumes[].volumeSource.nfs.readOnly": (True, POD),
    # restic
    "repository": ("other", POD),
    "customCA.secretName": ("other", POD),
    "customCA.configMapName": ("other", POD),
    "customCA.key": ("l", POD),
    "retain.hourly": (3, POD),
    "retain.daily": (3, POD),
    "retain.weekly": (3, POD),
    "retain.monthly": (3, POD),
    "retain.yearly": (3, POD),
    "retain.within": ("3d", POD),
    "retain.last": ("3", POD),
    "pruneIntervalDays": (0, "Job status"),
    "unlock": ("now", "Job status"),
    "cacheCapacity": ("9Gi", "cache"),
    "cacheStorageClassName": ("slow", "cache"),
    "cacheAccessModes": (["ReadWriteMany"], "cache"),
    "cleanupCachePVC": (True, "cache left"),
    "previous": (3, POD),
    "restoreAsOf": ("2026-01-01T00:00:00Z", POD),
    "enableFileDeletion": (True, POD),
    # rclone
    "rcloneConfigSection": ("other", POD),
    "rcloneDestPath": ("other", POD),
    "rcloneConfig": ("other", POD),
    # both kinds of rsync
    "keySecret": ("other", POD),
    "sshKeys": ("other", POD),
    "address": ("other.example", POD),
    "port": (9000, POD),
    "serviceType": ("NodePort", "Service"),
    "serviceAnnotations": ({"a": "b"}, "Service"),
    "path": ("/x", ""),
    "sshUser": ("x", ""),
}

OTHERWISE: dict[str, str] = {
    "destination.copyMethod": "VolumeSnapshot left status",
    "destination.paused": "Job VolumeSnapshot left status",
    "source.restic.accessModes": "PersistentVolumeClaim cache",
    "destination.restic.accessModes": "PersistentVolumeClaim cache",
    "destination.restic.storageClassName": "PersistentVolumeClaim cache",
    "destination.sshKeys": "Job Secret left status",
    "destination.keySecret": "Job Secret left status",
    "destination.rsync.address": "Job Service left status",
    "destination.rsync.port": "",
}
"""Where it is not what the table says, but for one kind or one method of it."""

WITHOUT_EFFECT = {
    "path": "the whole volume is moved, as with VolSync",
    "sshUser": "the mover is root, as with VolSync",
    "destination.rsync.port": "the Service has port 22; the field is of a destination that connects to its source, which nobody makes",
    "syncthing": "not moved by this operator, and the condition says so",
}
"""Why a field changes nothing. Each is told so in the pages."""


def leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        inner = child.get("items", child)
        path = f"{prefix}{name}{'[]' if 'properties' in child.get('items', {}) else ''}"
        if inner.get("properties"):
            yield from leaves(inner, f"{path}.")
        else:
            yield path


FOUND = [(kind, path) for kind, schema in SPECS.items() for path in leaves(schema)]
"""Every field of the specs that holds a value."""


def put(target: dict[str, Any], path: str, value: Any) -> None:
    name, _, rest = path.partition(".")
    if not rest:
        target[name] = value
    elif name.endswith("[]"):
        put(target.setdefault(name[:-2], [{}])[0], rest, value)
    else:
        put(target.setdefault(name, {}), rest, value)


def split(path: str) -> tuple[str | None, str]:
    method, _, rest = path.partition(".")
    return (method, rest) if method in METHODS else (None, path)


def beside(kind: str, path: str) -> dict[str, Any]:
    whole = (f"{kind}.{path}", split(path)[1])
    fitting = [start for start in BESIDE if any(each.startswith(start) for each in whole)]
    return copied(BESIDE[max(fitting, key=len)]) if fitting else {}


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def perform(kind: str, method: str, options: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Return what is made, what is left, and what is said, of an object with these options."""
    it = Theatre.source(method, "Snapshot") if kind == "source" else Theatre.destination(method)
    it.snapshot_classes = ("snapc", "other")
    for name in ("other", "extra"):
        it.secrets[name] = it.config_maps[name] = (
            *("k", "l", "psk.txt", "rclone.conf", "RESTIC_REPOSITORY", "RESTIC_PASSWORD"),
            *("source", "source.pub", "destination", "destination.pub"),
        )
        it.claim(name)
    for role in ("src", "dst"):  # what the operator has generated it reads again
        it.secrets[f"volsync-rsync-{role}-main-{it.manifest['metadata']['name']}"] = it.secrets["other"]
    it.manifest["spec"][method].update(options)
    it.manifest["spec"].update(spec)
    if "external" in spec:
        del it.manifest["spec"][method]
    it.later(60)
    it.act()
    for _ in range(3):
        it.bind_all()
        it.act()
    if it.there("Job"):
        it.later(5)
        if it.job["spec"]["parallelism"]:
            it.succeed()
        it.act()
        it.bind_all()
        it.act()
    made: dict[str, Any] = {}
    for each in it.created:
        notes = each["metadata"].get("annotations", {})
        kept = {key: value for key, value in notes.items() if not key.endswith(("/claim-uid", "/asked"))}
        kind_ = "cache" if each["metadata"]["name"].endswith("-cache") else each["kind"]
        manifest = {**each, "metadata": {**each["metadata"], "annotations": kept}}
        made.setdefault(kind_, []).append(manifest)
    status = {key: value for key, value in it.status.items() if key != "conditions"}
    conditions = [each["reason"] for each in it.status.get("conditions") or ()]
    return {**made, "left": sorted(it.objects), "status": (status, conditions)}


@cache
def plain(kind: str, method: str, options: str) -> dict[str, Any]:
    return perform(kind, method, json.loads(options), {})


def change(kind: str, path: str) -> str:
    """Return what differs when a field is set."""
    method, rest = split(path)
    value, _ = FIELDS[rest]
    options, spec = beside(kind, path), {}
    put(options if method else spec, rest, value)
    if rest.startswith("trigger.schedule"):
        spec["trigger"] = {"schedule": value}
    method = method or "restic"
    before, after = plain(kind, method, json.dumps(beside(kind, path))), perform(kind, method, options, spec)
    return " ".join(sorted(each for each in before.keys() | after.keys() if before.get(each) != after.get(each)))


def expected(kind: str, path: str) -> str:
    _, rest = split(path)
    found = next((OTHERWISE[key] for key in (f"{kind}.{path}", f"{kind}.{rest}") if key in OTHERWISE), FIELDS[rest][1])
    return " ".join(sorted(found.split()))


@pytest.mark.parametrize(("kind", "path"), [each for each in FOUND if not each[1].startswith("syncthing.")])
def test_a_field_has_the_effect_that_the_table_says_and_no_other(kind: str, path: str) -> None:
    assert change(kind, path) == expected(kind, path)
    if not expected(kind, path):
        assert {f"{kind}.{path}", split(path)[1]} & WITHOUT_EFFECT.keys(), "say why"


def test_no_row_is_made_up() -> None:
    known = {split(path)[1] for _, path in FOUND}
    assert FIELDS.keys() <= known
    whole = {f"{kind}.{each}" for kind, path in FOUND for each in (path, split(path)[1])}
    assert OTHERWISE.keys() <= whole


def test_what_stands_below_syncthing_makes_nothing_and_is_told() -> None:
    below = [path for kind, path in FOUND if kind == "source" and path.startswith("syncthing.")]
    assert below
    spec: dict[str, Any] = {"sourcePVC": "data", "trigger": {"manual": "t1"}}
    it = Theatre(
        "ReplicationSource", "db", {**spec, "syncthing": {"serviceType": "ClusterIP", "configCapacity": "1Gi"}}
    )
    it.act()
    assert it.created == []
    assert "syncthing is not moved by this operator" in it.condition()[2]
