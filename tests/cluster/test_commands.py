"""The documents' commands, as printed, and what people read who type them."""

import re
import subprocess
import time

import pytest
import yaml

from datamover.api.names import Phase
from support.cluster import OPERATOR_NAMESPACE
from support.place import SLOWLY, TREE, Place, digests_of

DEPLOYMENT = f"-n {OPERATOR_NAMESPACE} deployment/datamover-operator-controller-manager"
ACCOUNT = f"system:serviceaccount:{OPERATOR_NAMESPACE}:datamover-operator-controller-manager"


def here(place: Place, command: str, **names: str) -> str:
    """Run a printed command with its <placeholders> filled in, in the namespace of the test."""
    for name, value in names.items():
        command = command.replace(f"<{name.replace('_', '-')}>", value)
    assert "<" not in command, command
    return place.run_shell(command)


@pytest.fixture
def done(place: Place) -> str:
    """A run that is complete, whose clone and Job are kept; returns the name of the clone. kubectl's namespace is the test's."""
    place.create_volume()
    place.create_secret()
    place.create_mover("my-backup")
    place.choose_namespace()
    return str(place.wait_complete("my-backup")["status"]["restoredPvcName"])


def test_what_the_documents_tell_to_look_at_is_there(place: Place, done: str) -> None:
    assert "Completed" in here(place, "kubectl describe datamover my-backup")
    assert done in here(place, "kubectl get pvc <cloned-pvc-name>", cloned_pvc_name=done)
    assert done in here(place, "kubectl get pvc -l app.kubernetes.io/created-by=datamover-operator")
    assert "Complete" in here(place, "kubectl get jobs -l app.kubernetes.io/created-by=datamover-operator")
    assert "Transferred:" in here(place, 'kubectl logs job/verify-<pvc-name> | grep "Transferred:"', pvc_name=done)
    assert "finalizers" in here(
        place, "kubectl get pvc <cloned-pvc-name> -o yaml | grep finalizers", cloned_pvc_name=done
    )
    pods = here(
        place, "kubectl get pods --all-namespaces -o wide | grep <cloned-pvc-name>", cloned_pvc_name=f"verify-{done}"
    )
    assert "Completed" in pods
    place.run_shell("kubectl get volumeattachment")  # there are none where a driver needs no attaching
    events = here(place, "kubectl get events --field-selector involvedObject.kind=PersistentVolumeClaim")
    assert done in events
    secret = here(place, "kubectl get secret <secret-name> -o yaml", secret_name="storage-credentials")
    named = "AWS_ACCESS_KEY_ID" in secret
    assert named, "the Secret is not shown"  # and not what it holds


def test_helm_can_tell_whether_the_operator_answers(place: Place) -> None:
    if place.cluster.rig is None:
        pytest.skip("the operator may not be Helm's")
    assert re.search(r"Phase:\s+Succeeded", place.cluster.run_helm("test", "datamover", "--timeout", "90s"))


def test_the_operators_log_and_rights_read_as_the_documents_say(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("my-backup", deletePvcAfterBackup=True)
    place.choose_namespace()
    clone = place.wait_complete("my-backup")["status"]["restoredPvcName"]
    # the documents' command asks one Pod of the Deployment; the one that leads is asked here, with the same pipe
    leader = place.cluster.leader()
    for pipe in ("grep -i cleanup", 'grep -i "cleanup\\|delete"'):
        assert clone in here(place, f"kubectl logs -n {OPERATOR_NAMESPACE} pod/{leader} | {pipe}")
    assert here(place, f"kubectl logs {DEPLOYMENT}")
    allowed = here(place, f"kubectl auth can-i delete persistentvolumeclaims --as={ACCOUNT}")
    assert allowed.strip() == "yes"


def test_the_metrics_are_where_the_documents_say(place: Place, done: str) -> None:
    address = place.kubectl.get("service", "operator-metrics-service", "-n", OPERATOR_NAMESPACE)["spec"]["clusterIP"]
    if place.cluster.rig is None:
        pytest.skip("the addresses of Services are reached from the node")
    # the short name is one of the operator's namespace; curl is told its address as a Pod there would be
    (place.scratch / ".curlrc").write_text(f"connect-to = operator-metrics-service:8080:{address}:8080\nsilent\n")
    assert "cleanup" in here(place, "curl http://operator-metrics-service:8080/metrics | grep cleanup")
    assert done


def test_watching_shows_the_phases_in_order(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    command = [place.kubectl.program, "--kubeconfig", place.kubectl.kubeconfig, "-n", place.namespace]
    place.create_mover("my-backup", deletePvcAfterBackup=True, suspend=True, additionalEnv=SLOWLY)
    with subprocess.Popen(
        [*command, "get", "datamover", "my-backup", "-w"], stdout=subprocess.PIPE, text=True
    ) as watch:
        try:
            assert watch.stdout is not None
            lines = [watch.stdout.readline(), watch.stdout.readline()]  # it watches now
            place.run("patch", "datamover/my-backup", "--type=merge", "-p", '{"spec":{"suspend":false}}')
            place.wait_complete("my-backup")
            time.sleep(1)
        finally:
            watch.terminate()
        lines += watch.stdout.read().splitlines()
    assert lines[0].split()[:2] == ["NAME", "PHASE"]
    phases = [phase for line in lines[1:] for phase in Phase.ORDER if phase and phase in line.split()]
    assert phases == sorted(phases, key=Phase.ORDER.index), lines
    assert {Phase.CREATING_POD, Phase.CLEANING_UP, Phase.COMPLETED} <= set(phases)


def test_todays_backup_is_found_with_rclone(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("my-backup", addTimestampPrefix=True, deletePvcAfterBackup=True)
    folder = place.wait_complete("my-backup")["status"]["run"]["timestamp"]
    printed = "rclone lsd s3:my-bucket/ | grep $(date +%Y-%m-%d)".replace("my-bucket", place.bucket)
    assert folder in place.run_shell(printed, TZ="UTC", **place.store.rclone_environment())


SCRIPT = """#!/bin/bash
# External cleanup verification script

NAMESPACE="default"
DATAMOVER_NAME="my-backup"

# Wait for backup completion
kubectl wait --for=condition=Complete datamover/$DATAMOVER_NAME -n $NAMESPACE --timeout=3600s

# Verify backup in storage
if rclone check s3:my-bucket/latest/ /verify/path/; then
    echo "Backup verified, cleanup can proceed"
else
    echo "Backup verification failed, manual intervention required"
    exit 1
fi
"""


def test_the_script_that_verifies_a_backup_from_outside(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    prefix = {"name": "CUSTOM_PATH_PREFIX", "value": "latest"}
    place.create_mover("my-backup", deletePvcAfterBackup=True, additionalEnv=[prefix])
    local = place.scratch / f"verify-{place.namespace}"
    for path, content in TREE.items():
        (local / path).parent.mkdir(parents=True, exist_ok=True)
        (local / path).write_bytes(content)
    names = {"/verify/path/": f"{local}/", "my-bucket": place.bucket, '"default"': f'"{place.namespace}"'}
    script = re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], SCRIPT)
    environment = place.store.rclone_environment() | {"RCLONE_EXCLUDE": ".datamover/**"}
    assert "Backup verified, cleanup can proceed" in place.run_shell(script, **environment)
    (local / "hello.txt").write_bytes(b"HELLO\n")
    with pytest.raises(AssertionError, match="manual intervention required"):
        place.run_shell(script, **environment)
    assert {key.removeprefix("latest/") for key in place.store.digests(place.bucket)} == set(digests_of(TREE))


def test_describe_tells_the_story_of_a_run(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("my-backup", deletePvcAfterBackup=True, additionalEnv=SLOWLY)
    place.wait_complete("my-backup")
    told = place.run("describe", "datamover/my-backup")
    events = told[told.index("Events:") :]
    assert {"JobCreated", "Completed"} <= set(events.split()), events
    assert "Warning" not in events
    explained = yaml.safe_load(place.run("get", "datamover", "my-backup", "-o", "yaml"))
    assert {each["type"] for each in explained["status"]["conditions"]} >= {"Ready", "Complete", "Failed"}
    for field in ("sourcePvc", "secretName", "additionalEnv", "addTimestampPrefix", "deletePvcAfterBackup", "image"):
        assert f"FIELD: {field}" in place.run("explain", f"datamover.spec.{field}")
