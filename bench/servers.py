"""The API servers that the operator is measured against: the embedded one behind its HTTP face, and a real kube-apiserver.

Both run as processes of their own, so that the operator's memory and CPU are the operator's alone.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench import ROOT
from datamover.api.definitions import crds, replication_crds
from kubekit.words.meta import Manifest
from support.kubernetes import ControlPlane, find_programs

_CONTROLLERS = (
    "garbage-collector-controller",
    "persistentvolumeclaim-protection-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
)
"""Without the Job controller and the volume binder: the stand-in takes their place."""


@contextmanager
def real_server(*, definitions: Iterable[Manifest] = ()) -> Generator[Path]:
    """Start etcd, kube-apiserver and kube-controller-manager; yield an administrator's kubeconfig. `definitions`: in addition to the usual ones."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as logs:
        plane = ControlPlane(find_programs(), logs=Path(logs), controllers=_CONTROLLERS)
        plane.start(manifests=(*crds(), *replication_crds(), *definitions))
        try:
            yield plane.admin_kubeconfig
        finally:
            plane.stop()


@contextmanager
def embedded_server() -> Generator[Path]:
    """Start the embedded API server behind its HTTP face; yield a kubeconfig."""
    with tempfile.TemporaryDirectory(prefix="datamover-bench-") as place:
        kubeconfig = Path(place) / "kubeconfig"
        with subprocess.Popen(
            [sys.executable, "-m", "bench.servers", str(kubeconfig)], cwd=ROOT, env={**os.environ}
        ) as process:
            try:
                for _ in range(200):
                    if kubeconfig.exists() and kubeconfig.stat().st_size:
                        break
                    time.sleep(0.05)
                yield kubeconfig
            finally:
                process.terminate()
                process.wait(timeout=20)


async def _serve(kubeconfig: Path) -> None:
    from kubekit.client.client import Client
    from kubekit.words.meta import PartialObject, Resource
    from localkube.http_server import serve
    from localkube.store.apiserver import ApiServer
    from localkube.transport import LocalTransport

    server = ApiServer()
    client = Client(LocalTransport(server))
    kind = Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        PartialObject,
        namespaced=False,
    )
    for crd in crds():
        await client.create(kind, crd)
    face = await serve(server)
    draft = kubeconfig.with_suffix(".new")
    draft.write_text(yaml.safe_dump(face.kubeconfig()))
    draft.replace(kubeconfig)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
