"""Recipes of the documentation, as they are printed: restoring into a volume, and a backup on a schedule."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.archive import write_image
from support.cluster import wait_for
from support.place import TREE, Place, digests_of
from support.pods import restricted_pod

DOCS = Path(__file__).resolve().parents[2] / "docs"
KUBECTL_IMAGE = "registry.k8s.io/kubectl:v1.34.1"

_LOOK = """
import hashlib, json, os, stat
found = {}
for folder, _, names in os.walk("/data"):
    for name in names:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        digest = os.readlink(path) if stat.S_ISLNK(status.st_mode) else hashlib.md5(open(path, "rb").read()).hexdigest()
        found[os.path.relpath(path, "/data")] = [digest, stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid, status.st_gid]
top = os.lstat("/data")
found["."] = [stat.S_IMODE(top.st_mode), top.st_mtime_ns, top.st_uid, top.st_gid]
print(json.dumps(found))
"""


def printed(page: str) -> list[dict[str, Any]]:
    """Return the objects of a page, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [each for block in blocks for each in yaml.safe_load_all(block)]


def changed(objects: list[dict[str, Any]], *changes: tuple[str, str]) -> list[dict[str, Any]]:
    """Return objects with some of their words replaced; each must be there."""
    text = json.dumps(objects)
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return json.loads(text)


def look(place: Place, claim: str) -> dict[str, list[Any]]:
    """Return digest, mode, time and owners of every file of a claim, and the last ones of its top folder."""
    name = f"look-{claim}"
    pod = restricted_pod(name, image=place.cluster.images.mover, command=["python3", "-c", _LOOK], claim=claim)
    place.kubectl.apply(pod, namespace=place.namespace)
    place.run("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=120s")
    found = json.loads(place.run("logs", name))
    place.run("delete", "pod", name, "--wait=true")
    return found


def test_a_volume_comes_back_as_the_page_says_step_by_step(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    # what it takes to see owners; the restore itself needs `baseline`
    place.kubectl.run(
        "label", "namespace", place.namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"
    )
    place.create_mover("my-backup", deletePvcAfterBackup=True, mover={"securityContext": {"runAsUser": 0}})
    run = place.wait_complete("my-backup")["status"]["run"]["id"]
    before = look(place, "app-data")
    assert {path: found[0] for path, found in before.items() if path != "."} == digests_of(TREE)

    authority = {"name": "RCLONE_CA_CERT", "value": "/authority/CA_CERT"}
    place.kubectl.run(
        "label", "namespace", place.namespace, "pod-security.kubernetes.io/enforce=baseline", "--overwrite"
    )
    claim, job = changed(
        [each for each in printed("restore.md") if each["kind"] in ("PersistentVolumeClaim", "Job")],
        ("localhost/datamover/mover:0.1.0", place.cluster.images.mover),
        ("20240806143052-8f14e45fceea", run),
        ("10Gi", "1Gi"),
    )
    claim["spec"]["storageClassName"] = place.cluster.storage_class("rig")
    pod = job["spec"]["template"]["spec"]
    for container in pod["initContainers"]:
        container["env"].append(authority)
        container["volumeMounts"].append({"name": "authority", "mountPath": "/authority"})
        container["imagePullPolicy"] = "IfNotPresent"
    pod["volumes"].append(
        {
            "name": "authority",
            "secret": {"secretName": "storage-credentials", "items": [{"key": "CA_CERT", "path": "CA_CERT"}]},
        }
    )
    place.kubectl.apply(claim, job, namespace=place.namespace)
    place.choose_namespace()
    job_phase = "kubectl get job restore-app-data -o jsonpath='{.status.conditions[*].type}'"
    wait_for(lambda: "Complete" in place.run_shell(job_phase) or "Failed" in place.run_shell(job_phase))
    log = place.run_shell("kubectl logs job/restore-app-data --all-containers")
    assert "Complete" in place.run_shell(job_phase), log
    place.run_shell("kubectl delete job restore-app-data")
    assert look(place, "app-data-restored") == before, log


def test_a_cron_job_begins_a_backup_and_forgets_those_that_completed(place: Place) -> None:
    if place.cluster.rig is None:
        pytest.skip("an image with kubectl is made here")
    kubectl = Path(place.kubectl.program)
    archive = place.scratch / "kubectl.tar"
    write_image(archive, name=KUBECTL_IMAGE, program=kubectl, machine="x86_64")
    place.cluster.rig.load([archive])
    place.create_volume()
    place.create_secret()
    place.kubectl.apply(*printed("schedule.md"), namespace=place.namespace)
    place.choose_namespace()

    def names() -> set[str]:
        return {each["metadata"]["name"] for each in place.kubectl.items("datamovers", "-n", place.namespace)}

    seen: set[str] = set()
    for number in ("now", "later"):
        place.run_shell(f"kubectl create job --from=cronjob/nightly-backup nightly-backup-{number}")
        place.run_shell(f"kubectl wait --for=condition=Complete job/nightly-backup-{number} --timeout=60s", seconds=90)
        wait_for(lambda: len(names() - seen) == 1, what=lambda: f"{names()} besides {seen}")
        (new,) = names() - seen
        place.wait_complete(new)
        assert names() == {new}, "the one that had completed is forgotten"
        seen.add(new)
    folders = {key.split("/", 1)[0] for key in place.store.digests(place.bucket)}
    assert len(folders) == 2, "both backups are there"
