"""Velero, an S3 server and the actor together, for the tests of a module; and what they look at."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.hosting import DRIVER, define_driver
from support.kubernetes import ADMIN_GROUP, ControlPlane, MissingPrograms, wait_for
from support.s3 import run_server
from support.velero import BUCKET, ENDED, GROUP, UPLOADS, Velero, define, find_velero
from support.velero_actor import MERGE, SNAPSHOTS, VeleroActor

MISSING = "VELERO MISSING"
PLUGIN = "datamover-velero-plugin"
PLUGIN_USER = "velero-plugin"
"""Whom the API server sees when our plugin asks it. In a cluster it asks as Velero; so that tests can tell them apart, it does not here."""
ACTION = "datamover.a-cup-of.coffee/hosted-control-plane"
RHCOS_ACTION = "datamover.a-cup-of.coffee/kubevirt-rhcos"


@dataclass(frozen=True, slots=True)
class VeleroStage:
    """All of them run."""

    plane: ControlPlane
    velero: Velero
    actor: VeleroActor

    def upload_phases(self, backup: str) -> dict[str, str]:
        """Return the phase of each upload of a backup, by its claim."""
        self.actor.check()
        found = self.velero.uploads(backup)
        return {each["spec"]["sourcePVC"]: each.get("status", {}).get("phase", "") for each in found}

    def snapshots(self, namespace: str) -> list[str]:
        """Return the names of the VolumeSnapshots in a namespace."""
        path = f"{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots"
        return [each["metadata"]["name"] for each in self.plane.call("GET", path)[1]["items"]]

    def log_of(self, backup: str) -> str:
        """Return the log that Velero has stored with a backup, its plugins' words in it."""
        return self._unzipped(backup, f"{backup}-logs.gz")

    def operations_of(self, backup: str) -> str:
        """Return the operations that Velero has stored with a backup, as text."""
        return self._unzipped(backup, f"{backup}-itemoperations.json.gz")

    def operation(self, backup: str, action: str) -> dict[str, Any]:
        """Return the operation of one action of a backup."""
        (found,) = [
            each for each in json.loads(self.operations_of(backup)) if each["spec"]["backupItemAction"] == action
        ]
        return found

    def operation_now(self, backup: str, action: str) -> dict[str, Any]:
        """Return the operation of one action of a backup that still waits for it."""
        self.velero.store_operations(backup)
        return self.operation(backup, action)

    def restore(self, backup: str, **spec: Any) -> dict[str, Any]:
        """Restore from a backup, and return the Restore when it has ended."""
        manifest = {
            "apiVersion": "velero.io/v1",
            "kind": "Restore",
            "metadata": {"generateName": "restore-", "namespace": self.velero.namespace},
            "spec": {"backupName": backup, **spec},
        }
        name = self.plane.create(manifest)["metadata"]["name"]
        path = f"{GROUP}/namespaces/{self.velero.namespace}/restores/{name}"

        def ended() -> dict[str, Any] | None:
            found = self.plane.call("GET", path)[1]
            return found if found.get("status", {}).get("phase") in ENDED else None

        return wait_for(ended, what=f"the end of {name}")

    def items_of(self, backup: str) -> list[str]:
        """Return the paths of the items in a backup."""
        with tarfile.open(fileobj=io.BytesIO(self.velero.stored(backup)[f"{backup}.tar.gz"])) as archive:
            return archive.getnames()

    def cancel(self, upload: dict[str, Any]) -> None:
        """Ask for the end of an upload, as a user does."""
        meta = upload["metadata"]
        path = f"{UPLOADS}/namespaces/{meta['namespace']}/datauploads/{meta['name']}"
        status, answer = self.plane.call("PATCH", path, {"spec": {"cancel": True}}, kind=MERGE)
        assert status == 200, answer

    def _unzipped(self, backup: str, name: str) -> str:
        return gzip.decompress(self.velero.stored(backup)[name]).decode()


@contextmanager
def open_velero(plane: ControlPlane, place: Path, *, plugin: bool = False) -> Iterator[VeleroStage]:
    """Start all of them, with our plugin where that is wanted. Without Velero's programs the tests are skipped, or fail where nothing may be missing."""
    try:
        programs = find_velero()
    except MissingPrograms as missing:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(f"{MISSING}: {missing}")
    define(plane, programs)
    define_driver(plane)
    servers = run_server("versitygw", place)
    store = next(servers)
    store.bucket(BUCKET)
    velero = Velero(plane, programs, store, logs=place / "velero")
    actor = VeleroActor(plane, velero.namespace, driver=DRIVER)
    try:
        velero.install()
        if plugin:
            kubeconfig = plane.user_kubeconfig(PLUGIN_USER, [ADMIN_GROUP])
            named = os.environ.get("DATAMOVER_TEST_VELERO_PLUGIN")  # the one file of an image, for instance
            start = "from datamover.velero.main import main; main()"
            if named:
                start = f"import sys; os.execv({named!r}, sys.argv)"
            velero.add_script(PLUGIN, start=start, environment={"KUBECONFIG": str(kubeconfig)})
        velero.start()
        actor.start()
        yield VeleroStage(plane, velero, actor)
    finally:
        actor.stop()
        velero.stop()
        for _ in servers:  # it ends with its generator
            pass
