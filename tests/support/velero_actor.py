"""Two that a cluster with Velero has and a bare API server has not: the snapshot controller with its driver, and Velero's node-agent, which moves and copies.

Both are played by one thread that looks at the objects five times a second and brings each one step further, as far as the test's script of its claim lets it.
All that it knows is in the objects, so that it can be late, and be started anew. It moves no data; what the real ones leave behind and take away is
as they do it: the node-agent first takes a snapshot over into Velero's namespace and removes the one that Velero made.
"""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kubekit.words import timestamps
from support.kubernetes import ControlPlane
from support.velero import NODE

INTERVAL = 0.2
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1"
UPLOADS = "/apis/velero.io/v2alpha1"
COPIES = "/apis/velero.io/v1"
MERGE = "application/merge-patch+json"
WALK = ("Accepted", "Prepared", "InProgress", "Completed")
"""The phases of an upload of which nothing is said."""
ENDED = frozenset({"Completed", "Failed", "Canceled"})
BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What becomes of the snapshot and the upload of one claim, or of the copy of the volume that has the claim's name.

    `hold` is a phase in which the upload stays, `deaf` says that it is not cancelled when that is asked for, `message` is told with its last phase.
    """

    handle: bool = True
    ready: bool = True
    error: str = ""
    walk: tuple[str, ...] = WALK
    hold: str = ""
    deaf: bool = False
    message: str = ""


class VeleroActor:
    """See the module's docstring. It works between `start` and `stop`, on uploads of one Velero and on snapshots of any driver of ours.

    `failure` is what ended it otherwise: `check` raises that.
    """

    def __init__(self, plane: ControlPlane, namespace: str, *, driver: str) -> None:
        self.failure: BaseException | None = None
        self._plane = plane
        self._namespace = namespace
        self._driver = driver
        self._classes: set[str] = set()
        self._scripts: dict[tuple[str, str, str], Script] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPSConnection | None = None

    # What tests say ---------------------------------------------------------------------------------------------------

    def play(self, namespace: str, claims: Iterable[str], *, backup: str = "", **script: Any) -> None:
        """From now on this becomes of the snapshots and uploads of these claims; of those for one backup only, where one is named."""
        for claim in claims:
            self._scripts[namespace, claim, backup] = replace(self._script(namespace, claim, backup), **script)

    def start(self) -> "VeleroActor":
        """Begin, or go on."""
        self._over.clear()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the present step. Safe to call twice."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def check(self) -> None:
        """Raise what has ended it, if anything has."""
        if self.failure is not None:
            raise self.failure

    # Its work ---------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._classes = {
                each["metadata"]["name"]
                for each in self._list(f"{SNAPSHOTS}/volumesnapshotclasses")
                if each["driver"] == self._driver
            }
            while not self._over.wait(INTERVAL):
                self._take_snapshots()
                for upload in self._list(f"{UPLOADS}/namespaces/{self._namespace}/datauploads"):
                    self._advance(upload)
                for copy in self._list(f"{COPIES}/namespaces/{self._namespace}/podvolumebackups"):
                    self._advance_copy(copy)
        except BaseException as failure:
            self.failure = failure
        finally:
            if self._connection is not None:
                self._connection.close()

    def _script(self, namespace: str, claim: str, backup: str) -> Script:
        general = self._scripts.get((namespace, claim, ""), Script())
        return self._scripts.get((namespace, claim, backup), general)

    def _take_snapshots(self) -> None:
        contents = {each["metadata"]["name"]: each for each in self._list(f"{SNAPSHOTS}/volumesnapshotcontents")}
        # of now: a content that is seen and whose snapshot is not would be taken for one that is left over
        snapshots = self._list(f"{SNAPSHOTS}/volumesnapshots", of_now=True)
        for snapshot in snapshots:
            if snapshot["spec"].get("volumeSnapshotClassName") in self._classes:
                self._take(snapshot, contents)
        living = {each["metadata"]["uid"] for each in snapshots}
        for name, content in contents.items():
            mine = content["spec"]["driver"] == self._driver and content["spec"]["deletionPolicy"] == "Delete"
            if mine and content["spec"]["volumeSnapshotRef"].get("uid") not in living:
                self._ask("DELETE", f"{SNAPSHOTS}/volumesnapshotcontents/{name}", accepted=(200, 404))

    def _take(self, snapshot: dict[str, Any], contents: dict[str, Any]) -> None:
        meta, source = snapshot["metadata"], snapshot["spec"]["source"]
        claim = source.get("persistentVolumeClaimName")
        name = source.get("volumeSnapshotContentName") or f"snapcontent-{meta['uid']}"
        script = self._script(meta["namespace"], claim, _backup(meta)) if claim else Script()
        if claim and name not in contents and not snapshot.get("status"):
            self._ask("POST", f"{SNAPSHOTS}/volumesnapshotcontents", self._content(name, snapshot), accepted=(201, 409))
        elif name not in contents:
            return
        said: dict[str, Any] = {"readyToUse": script.handle and script.ready and not script.error}
        if script.handle:
            said |= {"restoreSize": BYTES}
        failed = {"error": {"message": script.error, "time": _now()}} if script.error else {"error": None}
        old = contents.get(name, {}).get("status") or {}
        handle = {"snapshotHandle": source.get("handle") or f"handle-of-{name}"} if script.handle else {}
        if any(old.get(key) != value for key, value in (said | handle).items()) or _differs(old, script.error):
            change = {"status": said | failed | handle}
            self._ask("PATCH", f"{SNAPSHOTS}/volumesnapshotcontents/{name}/status", change, accepted=(200, 404))
        size = {"restoreSize": str(BYTES)} if script.handle else {}
        told = said | {"boundVolumeSnapshotContentName": name} | size
        old = snapshot.get("status") or {}
        if any(old.get(key) != value for key, value in told.items() if key != "restoreSize") or _differs(
            old, script.error
        ):
            path = f"{SNAPSHOTS}/namespaces/{meta['namespace']}/volumesnapshots/{meta['name']}/status"
            self._ask("PATCH", path, {"status": told | failed}, accepted=(200, 404))

    def _content(self, name: str, snapshot: dict[str, Any]) -> dict[str, Any]:
        meta, spec = snapshot["metadata"], snapshot["spec"]
        return {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshotContent",
            "metadata": {"name": name},
            "spec": {
                "deletionPolicy": "Delete",
                "driver": self._driver,
                "source": {"volumeHandle": f"{meta['namespace']}-{spec['source']['persistentVolumeClaimName']}"},
                "volumeSnapshotClassName": spec["volumeSnapshotClassName"],
                "volumeSnapshotRef": {
                    "apiVersion": "snapshot.storage.k8s.io/v1",
                    "kind": "VolumeSnapshot",
                    **{key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")},
                },
            },
        }

    def _advance(self, upload: dict[str, Any]) -> None:
        """Bring an upload one phase further."""
        spec, status = upload["spec"], upload.get("status") or {}
        script = self._script(spec["sourceNamespace"], spec["sourcePVC"], _backup(upload["metadata"]))
        follows = _next_phase(spec, status, script)
        if not follows or (follows == "Prepared" and not self._take_over(upload)):
            return
        if follows in ENDED:
            self._clear(upload)
        nodes = {"Accepted": {"acceptedByNode": NODE}, "Prepared": {"node": NODE}}
        self._tell(
            f"{UPLOADS}/namespaces/{self._namespace}/datauploads", upload, follows, script, nodes.get(follows, {})
        )

    def _advance_copy(self, copy: dict[str, Any]) -> None:
        """Bring a PodVolumeBackup one phase further. Its node is in its spec."""
        spec = copy["spec"]
        script = self._script(spec["pod"]["namespace"], spec["volume"], _backup(copy["metadata"]))
        follows = _next_phase(spec, copy.get("status") or {}, script)
        if follows:
            self._tell(f"{COPIES}/namespaces/{self._namespace}/podvolumebackups", copy, follows, script, {})

    def _tell(self, path: str, found: dict[str, Any], phase: str, script: Script, more: dict[str, Any]) -> None:
        """Write a phase, and what goes with it."""
        change: dict[str, Any] = {"phase": phase, **more}
        if phase == "Accepted":
            change |= {"acceptedTimestamp": _now()}
        elif phase == "InProgress":
            change |= {"startTimestamp": _now(), "progress": {"totalBytes": BYTES, "bytesDone": BYTES // 2}}
        elif phase in ENDED:
            change |= {"completionTimestamp": _now()}
            if phase == "Completed":
                change |= {"snapshotID": "0123456789abcdef", "progress": {"totalBytes": BYTES, "bytesDone": BYTES}}
            if script.message:
                change |= {"message": script.message}
        name, version = found["metadata"]["name"], found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "status": change}
        self._ask("PATCH", f"{path}/{name}", body, accepted=(200, 404, 409))

    def _take_over(self, upload: dict[str, Any]) -> bool:
        """Take the snapshot over into Velero's namespace, and remove the one that Velero made, as soon as it can be used."""
        spec, name = upload["spec"], upload["metadata"]["name"]
        wanted = spec["csiSnapshot"]["volumeSnapshot"]
        path = f"{SNAPSHOTS}/namespaces/{spec['sourceNamespace']}/volumesnapshots/{wanted}"
        status, snapshot = self._ask("GET", path, accepted=(200, 404))
        if status == 404:  # we were ended between its removal and our word about it
            return True
        if not (snapshot.get("status") or {}).get("readyToUse"):
            return False
        bound = snapshot["status"]["boundVolumeSnapshotContentName"]
        content = self._ask("GET", f"{SNAPSHOTS}/volumesnapshotcontents/{bound}")[1]
        ours = {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": self._namespace},
            "spec": {
                "source": {"volumeSnapshotContentName": name},
                "volumeSnapshotClassName": snapshot["spec"]["volumeSnapshotClassName"],
            },
        }
        made = self._ask("POST", f"{SNAPSHOTS}/namespaces/{self._namespace}/volumesnapshots", ours, accepted=(201, 409))
        if made[0] == 201:
            static = self._content(name, {"metadata": made[1]["metadata"], "spec": _SPEC | snapshot["spec"]})
            static["spec"]["source"] = {"snapshotHandle": content["status"]["snapshotHandle"]}
            self._ask("POST", f"{SNAPSHOTS}/volumesnapshotcontents", static, accepted=(201, 409))
        retained = {"spec": {"deletionPolicy": "Retain"}}
        self._ask("PATCH", f"{SNAPSHOTS}/volumesnapshotcontents/{bound}", retained)
        self._ask("DELETE", path, accepted=(200, 404))
        self._ask("DELETE", f"{SNAPSHOTS}/volumesnapshotcontents/{bound}", accepted=(200, 404))
        return True

    def _clear(self, upload: dict[str, Any]) -> None:
        """Remove what an upload leaves: its copy of the snapshot, and that of Velero if it was never taken over."""
        spec, name = upload["spec"], upload["metadata"]["name"]
        for namespace, each in (
            (self._namespace, name),
            (spec["sourceNamespace"], spec["csiSnapshot"]["volumeSnapshot"]),
        ):
            path = f"{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots/{each}"
            self._ask("DELETE", path, accepted=(200, 404))

    # Talking ----------------------------------------------------------------------------------------------------------

    def _list(self, path: str, *, of_now: bool = False) -> list[dict[str, Any]]:
        """Return what the API server has in its cache, which costs etcd nothing. Where it is not to be of now it may be a little old: then a step comes twice, or later."""
        return self._ask("GET", path if of_now else f"{path}?resourceVersion=0")[1]["items"]

    def _ask(self, method: str, path: str, body: Any = None, *, accepted: tuple[int, ...] = ()) -> tuple[int, Any]:
        """Ask on one connection that is kept: a new one each time costs the API server more than its answer."""
        kind = MERGE if method == "PATCH" else "application/json"
        for fresh in (False, True):
            if fresh or self._connection is None:
                context = self._plane.tls()
                self._connection = http.client.HTTPSConnection(
                    "127.0.0.1", self._plane.port, timeout=30, context=context
                )
            try:
                sent = None if body is None else json.dumps(body)
                self._connection.request(method, path, sent, {"Content-Type": kind} if sent else {})
                answer = self._connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                if fresh:
                    raise
                continue
            with contextlib.suppress(ValueError):
                text = json.loads(text)
            if answer.status not in (accepted or (200, 201)):
                raise AssertionError(f"{method} {path}: {answer.status} {text}")
            return answer.status, text
        raise AssertionError("unreachable")


_SPEC: dict[str, Any] = {"source": {"persistentVolumeClaimName": ""}}


def _next_phase(spec: dict[str, Any], status: dict[str, Any], script: Script) -> str:
    """Return the phase that follows, or nothing where the present one stays."""
    phase = status.get("phase") or "New"
    if phase in ENDED:
        return ""
    if spec.get("cancel") and not script.deaf:
        return "Canceling" if phase == "InProgress" else "Canceled"
    if phase == script.hold:
        return ""
    at = script.walk.index(phase) + 1 if phase in script.walk else 0
    return script.walk[at] if at < len(script.walk) else ""


def _differs(status: dict[str, Any], error: str) -> bool:
    return ((status.get("error") or {}).get("message") or "") != error


def _backup(meta: dict[str, Any]) -> str:
    """Return the backup of a snapshot or an upload: its name, as labels have it."""
    return (meta.get("labels") or {}).get("velero.io/backup-name", "")


def _now() -> str:
    return timestamps.seconds(datetime.now(UTC))
