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
from support.kubernetes import ControlPlane, MissingPrograms, wait_for
from support.plugin_rights import grant
from support.s3 import run_server
from support.velero import BUCKET, ENDED, GROUP, UPLOADS, Velero, find_velero
from support.velero_actor import MERGE, SNAPSHOTS, VeleroActor
from support.velero_definitions import define

MISSING = "VELERO MISSING"
PLUGIN = "datamover-velero-plugin"
PLUGIN_USER = "velero-plugin"
"""Whom the API server sees when our plugin asks it: it may do what docs/velero-plugin.md says that it needs, and nothing else.

In a cluster it asks as Velero, whose rights are added to that; so that tests can tell them apart, it does not here.
"""
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

    def copies(self, backup: str) -> list[dict[str, Any]]:
        """Return the PodVolumeBackups of a backup, by the UID in their label."""
        self.actor.check()
        uid = self.velero.backup(backup)["metadata"]["uid"]
        path = f"{GROUP}/namespaces/{self.velero.namespace}/podvolumebackups?labelSelector=velero.io/backup-uid={uid}"
        return self.plane.call("GET", path)[1]["items"]

    def copy_phases(self, backup: str) -> dict[str, str]:
        """Return the phase of each PodVolumeBackup of a backup, by its volume."""
        return {each["spec"]["volume"]: each.get("status", {}).get("phase", "") for each in self.copies(backup)}

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

    def errors_of(self, backup: str) -> list[str]:
        """Return what Velero has stored as a backup's errors: texts with the names of items, seldom their namespaces."""
        return self._results(backup, "errors")

    def warnings_of(self, backup: str) -> list[str]:
        """Return what Velero has stored as a backup's warnings."""
        return self._results(backup, "warnings")

    def _results(self, backup: str, kind: str) -> list[str]:
        found = json.loads(self._unzipped(backup, f"{backup}-results.gz"))[kind]
        groups = [found.get("velero"), found.get("cluster"), *(found.get("namespaces") or {}).values()]
        return [each for group in groups for each in group or ()]

    def operations(self, backup: str, action: str) -> dict[str, dict[str, Any]]:
        """Return the operations of one action of a backup, by the namespace of the item."""
        every = [each for each in json.loads(self.operations_of(backup)) if each["spec"]["backupItemAction"] == action]
        found = {each["spec"]["resourceIdentifier"]["Namespace"]: each for each in every}
        assert len(found) == len(every), every
        return found

    def operation(self, backup: str, action: str) -> dict[str, Any]:
        """Return the one operation of an action of a backup."""
        (found,) = self.operations(backup, action).values()
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

    def entries_of(self, backup: str) -> list[bytes]:
        """Return the entries of the archive in the bucket, each with its header, by name: their order differs from one backup to the next in any case.

        Without what tells when it was written: the second in each header, and the header's sum.
        """
        raw = bytearray(gzip.decompress(self.velero.stored(backup)[f"{backup}.tar.gz"]))
        found: list[bytes] = []
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for each in archive:
                header = each.offset_data - tarfile.BLOCKSIZE
                raw[header + 136 : header + 156] = bytes(20)
                found.append(bytes(raw[each.offset : each.offset_data + each.size]))
        return sorted(found)

    def cancel(self, upload: dict[str, Any]) -> None:
        """Ask for the end of an upload, as a user does."""
        meta = upload["metadata"]
        path = f"{UPLOADS}/namespaces/{meta['namespace']}/datauploads/{meta['name']}"
        status, answer = self.plane.call("PATCH", path, {"spec": {"cancel": True}}, kind=MERGE)
        assert status == 200, answer

    def _unzipped(self, backup: str, name: str) -> str:
        return gzip.decompress(self.velero.stored(backup)[name]).decode()


def add_plugin(plane: ControlPlane, velero: Velero) -> None:
    """Put our plugin beside Velero's own, with the rights that it has: Velero finds it at its next start."""
    grant(plane, PLUGIN_USER, velero=velero.namespace)
    kubeconfig = plane.user_kubeconfig(PLUGIN_USER)
    named = os.environ.get("DATAMOVER_TEST_VELERO_PLUGIN")  # the one file of an image, for instance
    start = "from datamover.velero.main import main; main()"
    if named:
        start = f"import sys; os.execv({named!r}, sys.argv)"
    velero.add_script(PLUGIN, start=start, environment={"KUBECONFIG": str(kubeconfig)})


@contextmanager
def open_velero(plane: ControlPlane, place: Path, *, plugin: bool = False) -> Iterator[VeleroStage]:
    """Start all of them: with our plugin in a cluster that knows HostedControlPlanes, or without either. Without Velero's programs the tests are skipped, or fail where nothing may be missing."""
    try:
        programs = find_velero()
    except MissingPrograms as missing:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(f"{MISSING}: {missing}")
    define(plane, programs, hosted=plugin)
    define_driver(plane)
    servers = run_server("versitygw", place)
    store = next(servers)
    store.bucket(BUCKET)
    velero = Velero(plane, programs, store, logs=place / "velero")
    actor = VeleroActor(plane, velero.namespace, driver=DRIVER)
    try:
        velero.install()
        if plugin:
            add_plugin(plane, velero)
        velero.start()
        actor.start()
        yield VeleroStage(plane, velero, actor)
    finally:
        actor.stop()
        velero.stop()
        for _ in servers:  # it ends with its generator
            pass
