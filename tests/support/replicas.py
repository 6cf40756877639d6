"""ReplicationSources and -Destinations of scenarios: made, awaited as users do, and restored from."""

import time
from collections.abc import Mapping
from typing import Any

from datamover.api.volsync.names import PRIVILEGED_ANNOTATION
from support.cluster import condition, wait_for
from support.place import Place
from support.store import ACCESS_KEY, SECRET_KEY

SOURCE, DESTINATION = "replicationsource", "replicationdestination"
_KINDS = {SOURCE: "ReplicationSource", DESTINATION: "ReplicationDestination"}
PATIENCE = 150.0
NEW_VOLUME: dict[str, Any] = {"capacity": "1Gi", "accessModes": ["ReadWriteOnce"]}
"""What a destination says that makes its own volume."""


def create(
    place: Place, kind: str, name: str, method: str, *, manual: str = "", source: str = "", **spec: Any
) -> dict[str, Any]:
    """Create a ReplicationSource or -Destination, or change it, and return the manifest. `source`: the claim that is copied."""
    top = {key: spec.pop(key) for key in ("paused", "trigger") if key in spec}
    manifest = {
        "apiVersion": "volsync.backube/v1alpha1",
        "kind": _KINDS[kind],
        "metadata": {"name": name},
        "spec": {
            **({"sourcePVC": source} if source else {}),
            **({"trigger": {"manual": manual}} if manual else {}),
            **top,
            method: spec,
        },
    }
    place.kubectl.apply(manifest, namespace=place.namespace)
    return manifest


def get(place: Place, kind: str, name: str) -> dict[str, Any]:
    """Return the object."""
    return place.kubectl.get(kind, name, "-n", place.namespace)


def trigger(place: Place, kind: str, name: str, manual: str) -> None:
    """Ask for one synchronisation."""
    patch = f'{{"spec":{{"trigger":{{"manual":"{manual}"}}}}}}'
    place.run("patch", kind, name, "--type=merge", "-p", patch)


def wait_synchronized(place: Place, kind: str, name: str, manual: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
    """Wait until the synchronisation is over that was asked for, and return the object."""
    wait_for(
        lambda: get(place, kind, name).get("status", {}).get("lastManualSync") == manual,
        seconds=seconds,
        what=place.explain,
    )
    found = get(place, kind, name)
    assert found["status"]["latestMoverStatus"]["result"] == "Successful", found["status"]
    assert "lastSyncTime" in found["status"]
    return found


def wait_condition(place: Place, kind: str, name: str, type_: str, reason: str, *, seconds: float = PATIENCE) -> str:
    """Wait until a condition has a reason, and return its message."""
    wait_for(
        lambda: condition(get(place, kind, name), type_).get("reason") == reason, seconds=seconds, what=place.explain
    )
    return str(condition(get(place, kind, name), type_)["message"])


def published(place: Place, name: str, field: str, *keys: str) -> dict[str, str]:
    """Wait until a destination says where it is and with which key, and return that part of its status."""

    def said() -> dict[str, Any]:
        return get(place, DESTINATION, name).get("status", {}).get(field, {})

    wait_for(lambda: all(said().get(key) for key in keys), what=place.explain)
    return said()


def claim_from(place: Place, claim: str, destination: str, **more: Any) -> None:
    """Make a claim that is filled from the last image of a ReplicationDestination."""
    source = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": destination}
    create_claim(place, claim, dataSourceRef=source, **more)


def create_claim(place: Place, name: str, *, storage_class: str = "rig", size: str = "1Gi", **more: Any) -> None:
    """Make an empty claim. `more` of its spec replaces what is usual."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": place.cluster.storage_class(storage_class),
        "resources": {"requests": {"storage": size}},
        **more,
    }
    place.kubectl.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec},
        namespace=place.namespace,
    )


def create_secret(place: Place, name: str, values: Mapping[str, str]) -> None:
    """Make a Secret."""
    place.kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)},
        namespace=place.namespace,
    )


def create_authority(place: Place, name: str = "authority", *, secret: bool = False) -> dict[str, str]:
    """Make the ConfigMap or Secret with the certificate that the S3 server is trusted by, and return the `customCA` that names it."""
    values = {"ca.crt": place.store.authority}
    if secret:
        create_secret(place, name, values)
        return {"secretName": name, "key": "ca.crt"}
    place.kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values},
        namespace=place.namespace,
    )
    return {"configMapName": name, "key": "ca.crt"}


def restic_secret(place: Place, folder: str, *, bucket: str = "") -> dict[str, str]:
    """Return what the Secret of a repository in the bucket, or in another one, holds."""
    return {
        "RESTIC_REPOSITORY": f"s3:https://{place.store.host}/{bucket or place.bucket}/{folder}",
        "RESTIC_PASSWORD": SECRET_KEY,  # searched in everything that can be read, as the key of the store
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def rclone_secret(place: Place) -> dict[str, str]:
    """Return what the Secret with rclone.conf holds: a section for the store, and that links are kept."""
    lines = (
        "[store]",
        "type = s3",
        "provider = Other",
        f"access_key_id = {ACCESS_KEY}",
        f"secret_access_key = {SECRET_KEY}",
        f"endpoint = https://{place.store.host}",
    )
    return {"rclone.conf": "\n".join(lines) + "\n", "RCLONE_LINKS": "true"}


def allow_privileged(place: Place) -> None:
    """Allow movers that are root with a few capabilities."""
    place.kubectl.run("annotate", "namespace", place.namespace, f"{PRIVILEGED_ANNOTATION}=true", "--overwrite")


def demand_no_temporaries(place: Place) -> None:
    """Demand that nothing is there that was made for one synchronisation only, while its owner still is."""
    kinds = "jobs,pods,pvc,volumesnapshots"

    def left() -> list[str]:
        return place.run("get", kinds, "-l", "volsync.backube/cleanup", "-o", "name", "--ignore-not-found").split()

    wait_for(lambda: not left(), seconds=30, what=lambda: f"temporaries: {left()}")


def remove_all(place: Place) -> None:
    """Delete all ReplicationSources and -Destinations."""
    place.run("delete", "replicationsources,replicationdestinations", "--all", "--wait=true", "--timeout=60s")


class Stopwatch:
    """Tells how long parts of a scenario took."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Print how long it was since the last time."""
        now = time.monotonic()
        print(f"  {now - self._last:5.1f} s {name}")
        self._last = now
