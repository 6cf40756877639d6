"""The same node next to a real API server and kube-controller-manager."""

import secrets
import shutil

import pytest

from kubekit.client.auth import Identity, StaticIdentity
from kubekit.client.client import Client
from kubekit.client.config import ClusterConfig
from kubekit.client.http import HttpTransport
from localkube.controllers.job.kinds import JOBS
from localkube.node.kinds import CLAIMS, NODES, SECRETS, VOLUMES
from localkube.node.pod_kinds import PODS
from support.beside_kubernetes import beside_kubernetes
from support.embedded import Embedded

CLONE = {"kind": "PersistentVolumeClaim", "name": "src"}


@pytest.fixture
async def real(kubernetes, namespace, tmp_path, request):
    """A node of its own name on the real API server."""
    from localkube.node.kinds import STORAGE_CLASSES

    node_world = request.getfixturevalue("node_world_type")
    pair = kubernetes.authority.client("node-test", ["system:masters"])
    config = ClusterConfig(
        server=kubernetes.url,
        auth=StaticIdentity(Identity(certificate=pair.certificate, key=pair.key)),
        ca=kubernetes.authority.pem,
        source="tests",
    )
    client = Client(HttpTransport(config))
    name = f"local-{secrets.token_hex(3)}"
    world = node_world(Embedded(client, namespace=namespace), tmp_path / "state", node_name=name)
    world.class_name = name
    node = await world.start_node()
    try:
        async with beside_kubernetes(node, client, client_ca=kubernetes.directory / "ca.crt"):
            await node.ready.wait()
            yield world
    finally:
        await world.close()
        await client.delete(NODES, name)
        for storage_class in await client.list(STORAGE_CLASSES):
            if storage_class.metadata.name.startswith(name):
                await client.delete(STORAGE_CLASSES, storage_class.metadata.name)
        await client.close()
        shutil.rmtree(tmp_path / "state", ignore_errors=True)


async def until_job(world, type_, name="j"):
    async def has():
        job = await world.get(JOBS, name)
        return job if job is not None and job.condition(type_) else None

    return await world.until(has, what=f"{name} {type_}")


def job(script, *, claim, **spec):
    container = {
        "name": "main",
        "image": "host",
        "command": ["sh", "-c", script],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    template = {"spec": {"restartPolicy": "Never", "containers": [container], "volumes": volumes}}
    return {"metadata": {"name": "j"}, "spec": {"backoffLimit": 0, "template": template, **spec}}


@pytest.mark.parametrize("mode", ["Immediate", "WaitForFirstConsumer"])
async def test_clone_job_and_clean_up(real, mode):
    cls = f"{real.class_name}-{mode.lower()}"
    await real.storage_class(cls, mode=mode)
    mine = real.state.parent / "mine"
    mine.mkdir()
    (mine / "file").write_text("content")
    await real.node.adopt_directory(name="src", path=mine, storage_class=cls, namespace=real.namespace)
    await real.bound("src")
    await real.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"WORD": "secret"}})
    await real.claim("clone", storage_class=cls, dataSource=CLONE)
    script = "echo $WORD; cat $DATAMOVER_ROOT/data/file; echo outcome > $DATAMOVER_ROOT/dev/termination-log"
    await real.create(JOBS, job(script, claim="clone"))
    done = await until_job(real, "Complete")
    assert done.status.succeeded == 1
    (pod,) = await real.client.list(PODS, namespace=real.namespace)
    assert pod.node == real.node_name
    assert pod.status.container_statuses[0]["state"]["terminated"]["message"] == "outcome\n"
    assert await real.log(pod.metadata.name) == "secret\ncontent"
    clone = await real.bound("clone")
    assert clone != mine
    await real.delete(JOBS, "j", propagation="Foreground")
    await real.until_gone(JOBS, "j")
    await real.delete(CLAIMS, "clone")
    await real.until_gone(CLAIMS, "clone")

    async def removed():
        names = [v.metadata.name for v in await real.client.list(VOLUMES) if v.directory == str(clone)]
        return not clone.exists() and not names

    await real.until(removed, what="volume and directory are gone")
    assert (mine / "file").read_text() == "content"


async def test_a_failing_job_is_retried_and_fails(real):
    cls = f"{real.class_name}-i"
    await real.storage_class(cls)
    await real.claim("c", storage_class=cls)
    await real.create(SECRETS, {"metadata": {"name": "s"}})
    await real.create(JOBS, job("exit 3", claim="c"))
    failed = await until_job(real, "Failed")
    assert failed.condition("Failed").reason == "BackoffLimitExceeded"


async def test_a_class_that_cannot_clone_says_so(real):
    cls = f"{real.class_name}-no"
    await real.storage_class(cls, cloning="false")
    await real.claim("src", storage_class=cls)
    await real.bound("src")
    await real.claim("clone", storage_class=cls, dataSource=CLONE)
    assert "cannot clone volumes" in await real.told("ProvisioningFailed")


async def test_kubectl_reads_and_follows_logs(real, kubernetes):
    import asyncio

    if kubernetes.programs.kubectl is None:
        pytest.skip("there is no kubectl")
    await real.pod(script="echo one; sleep 1; echo two", automountServiceAccountToken=False)
    await real.until_phase("p", "Running", "Succeeded")
    done = await asyncio.to_thread(kubernetes.kubectl, "logs", "-f", "p", "-n", real.namespace)
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n"), done.stderr
    tail = await asyncio.to_thread(kubernetes.kubectl, "logs", "--tail=1", "p", "-n", real.namespace)
    assert tail.stdout == "two\n"


async def test_a_service_account_token_is_projected(real):
    script = "wc -c < $DATAMOVER_ROOT/var/run/secrets/kubernetes.io/serviceaccount/token; ls $DATAMOVER_ROOT/var/run/secrets/kubernetes.io/serviceaccount"
    await real.pod(script=script)
    assert (await real.until_phase()).status.phase == "Succeeded"
    size, *files = (await real.log()).split()
    assert int(size) > 100
    assert files == ["ca.crt", "namespace", "token"]


async def test_deletion_is_graceful_and_a_crashed_node_fails_its_pods(real):
    await real.pod("gentle", "trap 'exit 0' TERM; echo up; sleep 60 & wait", automountServiceAccountToken=False)
    await real.until_phase("gentle", "Running")
    await real.delete(PODS, "gentle")
    await real.until_gone(PODS, "gentle")
    await real.pod("cut", "exec sleep 60", automountServiceAccountToken=False)
    await real.until_phase("cut", "Running")
    await real.stop_node()
    await real.start_node()
    pod = await real.until_phase("cut")
    assert (pod.status.phase, pod.status.reason) == ("Failed", "NodeRestart")


async def test_idle_status_is_not_written_again(real):
    """The real server fills in fields of its own; the node must not take that for a difference."""
    import asyncio

    await real.pod(script="exit 0", automountServiceAccountToken=False)
    await real.until_phase()
    await asyncio.sleep(0.5)
    before = (await real.get(PODS, "p")).metadata.resource_version
    await real.stop_node()
    await real.start_node()
    await real.node.ready.wait()
    await asyncio.sleep(0.5)
    assert (await real.get(PODS, "p")).metadata.resource_version == before
