"""What the caches show is proved by the server, and what it says goes into them."""

from types import SimpleNamespace
from typing import Any

import pytest

from datamover.plans.proof import Proof, RefusedError
from datamover.plans.refusals import Attempts
from datamover.plans.steps import Create, ProveGone, ProveListed, ProvePods, ProveSame
from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import HasMeta, ObjectMeta, Resource
from support.scripted_transport import ScriptedTransport, answer, failure

SEEN = ObjectMeta(name="disk", namespace="vms", uid="pvc", resource_version="9")
OWNER = ObjectMeta(name="disk", namespace="vms", uid="dv")


class Noting:
    """Caches that note what they are given."""

    def __init__(self) -> None:
        self.news: list[str] = []

    def observe(self, resource: Resource[Any], obj: HasMeta) -> bool:
        del resource
        self.news.append(obj.metadata.resource_version)
        return True

    def shows(self, resource: Resource[Any], obj: HasMeta) -> bool:
        del resource, obj
        return True


def proof_of(*script: Any) -> tuple[Proof[Any], Noting]:
    caches, nobody = Noting(), None
    kind: Any = nobody
    return Proof(Client(ScriptedTransport(*script)), caches=caches, kind=kind), caches


def claim(version: str, uid: str = "pvc", **meta: Any) -> Any:
    return answer(
        body={"metadata": {"name": "disk", "namespace": "vms", "uid": uid, "resourceVersion": version, **meta}}
    )


async def test_the_very_version_that_was_seen_is_the_same() -> None:
    proof, caches = proof_of(claim("9"))
    await proof.prove_same(ProveSame(PERSISTENT_VOLUME_CLAIMS, SEEN))
    assert not caches.news


@pytest.mark.parametrize("found", [claim("10"), claim("9", uid="another")], ids=["changed", "another one"])
async def test_n19_another_version_goes_into_the_caches_and_nothing_after_it_is_done(found: Any) -> None:
    proof, caches = proof_of(found)
    with pytest.raises(Conflict):
        await proof.prove_same(ProveSame(PERSISTENT_VOLUME_CLAIMS, SEEN))
    assert len(caches.news) == 1


async def test_what_is_gone_is_not_the_same() -> None:
    proof, _ = proof_of(failure(404, "NotFound"))
    with pytest.raises(NotFound):
        await proof.prove_same(ProveSame(PERSISTENT_VOLUME_CLAIMS, SEEN))


async def test_an_absence_that_may_not_be_read_is_believed_unless_it_has_to_be_certain() -> None:
    proof, _ = proof_of(failure(403, "Forbidden"), failure(403, "Forbidden"), failure(404, "NotFound"))
    await proof.prove_gone(OWNER, ProveGone(PERSISTENT_VOLUME_CLAIMS, "disk"), Attempts())
    certain = ProveGone(PERSISTENT_VOLUME_CLAIMS, "disk", certain=True)
    with pytest.raises(RefusedError):
        await proof.prove_gone(OWNER, certain, Attempts())
    await proof.prove_gone(OWNER, certain, Attempts())


async def test_a_claim_that_its_owner_still_has_is_not_gone() -> None:
    mine = [{"apiVersion": "v1", "kind": "X", "name": "disk", "uid": "dv"}]
    proof, caches = proof_of(claim("10", ownerReferences=mine))
    with pytest.raises(Conflict):
        await proof.prove_gone(OWNER, ProveGone(PERSISTENT_VOLUME_CLAIMS, "disk", certain=True), Attempts())
    assert caches.news == ["10"]


async def test_in_another_namespace_the_very_object_counts_and_its_successor_does_not() -> None:
    step = ProveGone(PERSISTENT_VOLUME_CLAIMS, "disk", namespace="images", uid="pvc", certain=True)
    transport = ScriptedTransport(claim("10"), claim("11", uid="another"), failure(404, "NotFound"))
    caches, nobody = Noting(), None
    kind: Any = nobody
    proof: Proof[Any] = Proof(Client(transport), caches=caches, kind=kind)
    with pytest.raises(Conflict):
        await proof.prove_gone(OWNER, step, Attempts())
    await proof.prove_gone(OWNER, step, Attempts())
    await proof.prove_gone(OWNER, step, Attempts())
    assert caches.news == ["10"]
    assert all("/namespaces/images/" in str(each) for each in transport.requests)


async def test_what_a_watch_does_not_show_is_not_put_into_its_cache() -> None:
    proof, caches = proof_of(claim("10"))
    caches.shows = lambda resource, obj: False  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict):
        await proof.prove_same(ProveSame(PERSISTENT_VOLUME_CLAIMS, SEEN))
    assert caches.news == []


@pytest.mark.parametrize(("step", "uid"), [(ProvePods(), "dv"), (ProvePods("pvc"), "pvc")])
async def test_pods_are_counted_that_belong_to_the_object_or_to_what_it_fills(step: ProvePods, uid: str) -> None:
    transport = ScriptedTransport(answer(body={"metadata": {}, "items": []}))
    kind: Any = SimpleNamespace(created_by=("datamover",))
    await Proof(Client(transport), caches=Noting(), kind=kind).prove_pods(OWNER, step, Attempts())
    (request,) = transport.requests
    assert f"datamover.a-cup-of.coffee/owner-uid={uid}" in dict(request.query)["labelSelector"]


LISTED = ProveListed(PERSISTENT_VOLUME_CLAIMS, "vms", "app=web")


async def test_what_has_a_label_is_listed_and_what_the_caches_did_not_know_is_decided_upon_anew() -> None:
    item = {"metadata": {"name": "disk", "namespace": "vms", "uid": "pvc", "resourceVersion": "10"}}
    transport = ScriptedTransport(
        answer(body={"metadata": {}, "items": [item]}), answer(body={"metadata": {}, "items": []})
    )
    caches, nobody = Noting(), None
    kind: Any = nobody
    proof: Proof[Any] = Proof(Client(transport), caches=caches, kind=kind)
    with pytest.raises(Conflict, match="disk was not known so"):
        await proof.prove_listed(LISTED, Attempts())
    assert caches.news == ["10"]
    await proof.prove_listed(LISTED, Attempts())
    request = transport.requests[0]
    assert request.path == "/api/v1/namespaces/vms/persistentvolumeclaims"
    assert dict(request.query)["labelSelector"] == "app=web"


async def test_what_may_not_be_listed_proves_nothing() -> None:
    proof, _ = proof_of(failure(403, "Forbidden", "no"))
    with pytest.raises(RefusedError):
        await proof.prove_listed(LISTED, Attempts())


async def test_a_job_that_a_late_cache_hides_is_ours_when_its_owner_is_the_one_that_it_was_to_have() -> None:
    """What fills a claim belongs to the claim, not to the DataVolume."""
    manifest = {"metadata": {"name": "disk", "namespace": "vms", "ownerReferences": [{"uid": "pvc"}]}}
    found = claim(
        "9",
        "job",
        ownerReferences=[{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "disk", "uid": "pvc"}],
    )
    proof, _ = proof_of(found)
    assert (await proof.identify(OWNER, Create(JOBS, manifest), Attempts())).metadata.uid == "job"
    foreign, _ = proof_of(
        claim("9", "job", ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}])
    )
    foreign._kind = SimpleNamespace(resource=PERSISTENT_VOLUME_CLAIMS)  # pyright: ignore[reportPrivateUsage]  # its name is told
    with pytest.raises(RefusedError):
        await foreign.identify(OWNER, Create(JOBS, manifest), Attempts())
