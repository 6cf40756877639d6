"""The embedded API server with the kinds of Velero, HyperShift and snapshots, behind HTTP in a thread: what the plugin process asks in tests."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubekit.client.transport import Request, Response
from localkube.http_server import serve
from localkube.store.apiserver import ApiServer

KINDS = (
    ("velero.io", "v1", "backups", "Backup", True),
    ("velero.io", "v2alpha1", "datauploads", "DataUpload", True),
    ("velero.io", "v1", "podvolumebackups", "PodVolumeBackup", True),
    ("hypershift.openshift.io", "v1beta1", "hostedcontrolplanes", "HostedControlPlane", True),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot", True),
    ("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", False),
)
Rule = Callable[[Request], Response | None]


class VeleroCluster:
    """One API server. `requests` are all that came over HTTP, as method and path."""

    def __init__(self, place: Path, *, plain: bool = True) -> None:
        self.requests: list[tuple[str, str]] = []
        self.rule: Rule = lambda _: None
        """What is answered in the server's place."""
        self.delay = 0.0
        """Seconds before each answer."""
        self.kubeconfig = place / "kubeconfig"
        self._plain = plain
        self._server = ApiServer()
        self._loop = asyncio.new_event_loop()

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """Ask the server directly. Fails where it refuses."""
        raw = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, (), {"content-type": kind, "accept": "application/json"}, raw)
        answer = asyncio.run_coroutine_threadsafe(self._server.handle(request), self._loop).result(20)
        assert answer.status < 300, answer.body[:500]
        return json.loads(answer.body)

    def create(self, path: str, name: str, *, status: Any = None, **fields: Any) -> Any:
        """Create an object in a collection, and give it a status. Returns it as it is stored."""
        metadata = {"name": name, **fields.pop("metadata", {})}
        version, kind = _type_of(path)
        made = self.ask("POST", path, {"apiVersion": version, "kind": kind, "metadata": metadata, **fields})
        return made if status is None else self.tell(path, name, status)

    def tell(self, path: str, name: str, status: Any) -> Any:
        """Change an object's status."""
        where = f"{path}/{name}"
        return self.ask("PATCH", f"{where}/status", {"status": status}, kind="application/merge-patch+json")

    def writes(self) -> list[tuple[str, str]]:
        """Return the requests that change something."""
        return [each for each in self.requests if each[0] != "GET"]

    async def _handle(self, request: Request) -> Response:
        self.requests.append((request.method, request.path))
        if self.delay:
            await asyncio.sleep(self.delay)
        answer = self.rule(request)
        return answer if answer is not None else await self._server.handle(request)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(
            serve(_Heard(self._server, self._handle), plain=self._plain, token="t")
        )  # type: ignore[arg-type]
        self.kubeconfig.write_text(json.dumps(listening.kubeconfig()))
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(listening.close())
        self._loop.close()


class _Heard:
    """The server, with `handle` replaced."""

    def __init__(self, server: ApiServer, handle: Any) -> None:
        self._server = server
        self.handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


@contextmanager
def running_cluster(place: Path, *, plain: bool = True) -> Iterator[VeleroCluster]:
    """Run one until the block ends; Velero's namespace is `velero`. Without `plain` it speaks TLS, which takes a moment longer."""
    cluster = VeleroCluster(place, plain=plain)
    ready = threading.Event()
    thread = threading.Thread(target=cluster._run, args=(ready,), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        for group, version, plural, kind, namespaced in KINDS:
            if group == "snapshot.storage.k8s.io":
                continue  # it has them
            cluster.ask(
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                _definition(group, version, plural, kind, namespaced=namespaced),
            )
        for namespace in ("velero", "clusters-a", "clusters-b"):
            cluster.create("/api/v1/namespaces", namespace)
        yield cluster
    finally:
        cluster._loop.call_soon_threadsafe(cluster._loop.stop)
        thread.join(20)


def _type_of(path: str) -> tuple[str, str]:
    plural = path.rsplit("/", 1)[1]
    for group, version, name, kind, _ in KINDS:
        if plural == name:
            return f"{group}/{version}", kind
    core = {
        "configmaps": "ConfigMap",
        "namespaces": "Namespace",
        "persistentvolumeclaims": "PersistentVolumeClaim",
        "pods": "Pod",
    }
    return "v1", core[plural]


def _definition(group: str, version: str, plural: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
