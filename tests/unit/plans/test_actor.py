"""Carrying out steps for objects of any kind: Secrets that nobody else ever sees, and patches of what is ours."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import reasons
from datamover.api.names import CREATED_BY_LABEL, CREATED_BY_VALUE, FIELD_MANAGER
from datamover.cli.operator import new_metrics
from datamover.cli.options import Options
from datamover.cli.surroundings import Definitions, Surroundings
from datamover.plans.actor import Actor
from datamover.plans.learned import Learned
from datamover.plans.refusals import ANNOTATE, Attempts
from datamover.plans.steps import Annotate, Create, Delete, Emit, Patch, Plan, Rebind, suspend
from datamover.reconcilers.cluster import Cluster, View
from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.client.transport import Request
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRET_METAS, SECRETS, SERVICES
from kubekit.words.meta import ObjectMeta, owner_reference
from support.clock import VirtualClock
from support.errand import ERRANDS, Errand, ErrandKind, ErrandSpec
from support.scripted_transport import ScriptedTransport, answer, failure

VALUE = b"volsync:0123456789abcdef0123456789abcdef"
QUOTES = (VALUE.decode(), base64.b64encode(VALUE).decode(), "0123456789abcdef")
OWNER = Errand(
    metadata=ObjectMeta(name="errand", namespace="shop", uid="u-1", resource_version="5"),
    spec=ErrandSpec(source="app", secret="s"),
)
META = {
    "name": "keys",
    "namespace": "shop",
    "labels": {CREATED_BY_LABEL: CREATED_BY_VALUE},
    "ownerReferences": [owner_reference(ERRANDS, OWNER.metadata)],
}


class Quiet:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def record(self, metadata: Any, resource: Any, type_: str, reason: str, message: str, *_: Any, **__: Any) -> None:
        """Note what is said."""
        self.messages.append(message)

    async def sleep(self, seconds: float) -> None:
        del seconds


class Stage:
    """An actor for an errand, before a server that answers by a script."""

    def __init__(self, *script: Any) -> None:
        self.server, self.recorder = ScriptedTransport(*script), Quiet()
        client = Client(self.server, clock=Quiet(), jitter=lambda: 0.0)
        clock, (registry, metrics) = VirtualClock(), new_metrics()
        self.cluster = Cluster(client, clock=clock, children=(SECRET_METAS, SERVICES))
        kind = ErrandKind(
            Surroundings(
                client, self.cluster, "c", Options(), registry, metrics, clock, Definitions(client, clock=clock)
            )
        )
        self.actor = Actor(client, kind=kind, caches=self.cluster, recorder=self.recorder)
        self.made = 0

    def make(self) -> dict[str, bytes]:
        self.made += 1
        return {"psk.txt": VALUE}

    async def act(self, step: Any) -> Learned[Any, Any]:
        return await self.actor.act(OWNER, Plan((step,)), Attempts())

    def create(self) -> Create:
        return Create(SECRET_METAS, {"metadata": META, "type": "Opaque"}, self.make)


@pytest.fixture(autouse=True)
def nothing_is_quoted(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this module may leave a value in the log (law L8)."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not [quote for quote in QUOTES if quote in caplog.text]


def stored(request: Request) -> Any:
    body = json.loads(request.body)
    return answer(201, {**body, "metadata": {**body["metadata"], "uid": "u-2", "resourceVersion": "9"}})


async def test_what_a_secret_holds_is_made_when_it_is_created_and_is_nowhere_else() -> None:
    stage = Stage(stored)
    step = stage.create()
    assert stage.made == 0
    learned = await stage.act(step)
    assert learned == Learned()
    sent = json.loads(stage.server.requests[0].body)
    assert base64.b64decode(sent["data"]["psk.txt"]) == VALUE
    assert sent["metadata"]["name"] == "keys"
    known = View(stage.cluster).child(SECRET_METAS, "shop", "keys")
    assert known is not None
    assert not [quote for quote in QUOTES if quote in repr((learned, known, step))]
    assert "data" not in step.manifest, "the plan stays as it was"


async def test_what_takes_long_to_make_is_waited_for() -> None:
    async def make() -> dict[str, bytes]:
        return await asyncio.to_thread(lambda: {"key": VALUE})

    stage = Stage(stored)
    await stage.act(Create(SECRET_METAS, {"metadata": META}, make))
    assert base64.b64decode(json.loads(stage.server.requests[0].body)["data"]["key"]) == VALUE


THEIRS = {**META, "ownerReferences": [], "uid": "u-9", "resourceVersion": "3"}


async def test_a_secret_of_ours_that_is_there_counts_as_created_and_stays_as_it_is() -> None:
    ours = answer(200, {"metadata": {**META, "uid": "u-2", "resourceVersion": "9"}})
    stage = Stage(failure(409, "AlreadyExists"), ours)
    assert await stage.act(stage.create()) == Learned()
    assert [request.method for request in stage.server.requests] == ["POST", "GET"]
    assert View(stage.cluster).child(SECRET_METAS, "shop", "keys") is not None


async def test_what_is_to_be_made_once_and_is_there_already_is_decided_upon_anew() -> None:
    """Another replica has made it, and told what goes with it; or the caches may not show it."""
    ours = answer(200, {"metadata": {**META, "uid": "u-2", "resourceVersion": "9"}})
    stage = Stage(failure(409, "AlreadyExists"), ours)
    step = Create(SECRET_METAS, {"metadata": META}, once=True)
    learned = await stage.actor.act(OWNER, Plan((step, Emit("Normal", "Made", "it is there", "Make"))), Attempts())
    assert learned.failed is not None
    assert isinstance(learned.failed.error, Conflict)
    assert learned.told is None
    assert View(stage.cluster).child(SECRET_METAS, "shop", "keys") is not None, "and the next decision knows it"


@pytest.mark.parametrize("labels", [{}, {CREATED_BY_LABEL: CREATED_BY_VALUE}])
async def test_somebody_elses_secret_of_that_name_is_not_touched(labels: dict[str, str]) -> None:
    stage = Stage(failure(409, "AlreadyExists"), answer(200, {"metadata": {**THEIRS, "labels": labels}}))
    learned = await stage.act(stage.create())
    assert learned.refusal is not None
    assert learned.refusal.reason == reasons.NAME_TAKEN
    assert [request.method for request in stage.server.requests] == ["POST", "GET"]


WEBHOOK = f"admission webhook x denied the request: {VALUE.decode()} is not nice"
UNAUTHORIZED = 'secrets is forbidden: User "a" cannot create resource "secrets" in API group "" in the namespace "shop"'


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (failure(403, "Forbidden", WEBHOOK), "403 Forbidden (its words are not repeated"),
        (failure(422, "Invalid", f'data: Invalid value: "{QUOTES[1]}"', causes=[QUOTES[1]]), "422 Invalid"),
        (failure(403, "Forbidden", UNAUTHORIZED), "create on secrets in namespace shop"),
    ],
)
async def test_a_refusal_is_told_without_what_it_may_quote(refusal: Any, words: str) -> None:
    stage = Stage(refusal)
    learned = await stage.act(stage.create())
    assert learned.refusal is not None
    assert words in learned.refusal.message
    assert not [quote for quote in QUOTES if quote in repr(learned) + str(learned.failed)]


async def test_a_server_in_trouble_quotes_nothing_either() -> None:
    stage = Stage(failure(500, "InternalError", WEBHOOK))
    learned = await stage.act(stage.create())
    assert learned.failed is not None
    assert not [quote for quote in QUOTES if quote in f"{learned.failed.error!r} {learned.failed.error}"]


def test_a_secret_cannot_be_created_as_a_kind_that_keeps_values() -> None:
    with pytest.raises(ValueError, match="SECRET_METAS"):
        Create(SECRETS, {"metadata": META}, dict)


TARGET = ObjectMeta(
    name="mover", namespace="shop", uid="u-7", resource_version="41", labels={CREATED_BY_LABEL: CREATED_BY_VALUE}
)


def patched(request: Request) -> Any:
    body = json.loads(request.body)
    labels = {**(TARGET.labels or {}), **body["metadata"].get("labels", {})}
    labels = {key: value for key, value in labels.items() if value is not None}
    meta = {"name": "mover", "namespace": "shop", "uid": "u-7", "resourceVersion": "42", "labels": labels}
    return answer(200, {**body, "metadata": meta})


PATCHES = {
    "a paused Job": (Patch(JOBS, TARGET, {"spec": {"parallelism": 0}}), {"spec": {"parallelism": 0}}),
    "a suspended Job": (suspend(TARGET, yes=True), {"spec": {"suspend": True}}),
    "the labels": (Patch(SERVICES, TARGET, {"metadata": {"labels": {"a": "b"}}}), {"metadata": {"labels": {"a": "b"}}}),
}


@pytest.mark.parametrize("case", PATCHES)
async def test_a_patch_holds_to_the_object_and_the_version_that_was_decided_on(case: str) -> None:
    step, expected = PATCHES[case]
    stage = Stage(patched)
    assert await stage.act(step) == Learned()
    (request,) = stage.server.requests
    assert request.method == "PATCH"
    assert dict(request.query)["fieldManager"] == FIELD_MANAGER
    sent = json.loads(request.body)
    assert sent == {**expected, "metadata": {"uid": "u-7", "resourceVersion": "41", **expected.get("metadata", {})}}
    cache = stage.cluster.jobs if step.resource is JOBS else stage.cluster.children(SERVICES)
    (found,) = cache.store.list()
    assert found.metadata.resource_version == "42", "the next decision sees it"


async def test_what_a_patch_takes_out_of_our_sight_does_not_stay_in_the_cache() -> None:
    stage = Stage(patched)
    await stage.act(Patch(SERVICES, TARGET, {"metadata": {"labels": {CREATED_BY_LABEL: None}}}))
    assert stage.cluster.children(SERVICES).store.list() == ()


@pytest.mark.parametrize(
    ("answered", "expected"), [(failure(409, "Conflict"), Conflict), (failure(404, "NotFound"), NotFound)]
)
async def test_a_patch_of_what_has_changed_since_is_decided_anew(answered: Any, expected: type[Exception]) -> None:
    stage = Stage(answered)
    learned = await stage.act(Patch(JOBS, TARGET, {"spec": {"parallelism": 0}}))
    assert learned.failed is not None
    assert isinstance(learned.failed.error, expected)
    assert learned.refusal is None


async def test_a_patch_that_is_not_allowed_is_told_with_the_right_that_is_missing() -> None:
    denied = 'jobs.batch "mover" is forbidden: User "a" cannot patch resource "jobs" in API group "batch"'
    stage = Stage(failure(403, "Forbidden", denied))
    learned = await stage.act(Patch(JOBS, TARGET, {"spec": {"parallelism": 0}}))
    assert learned.refusal is not None
    assert learned.refusal.reason == reasons.PERMISSION_MISSING
    assert "patch on jobs of batch in namespace shop" in learned.refusal.message
    assert learned.refusal.target == ("Job", "mover")


@pytest.mark.parametrize("as_seen", [True, False])
async def test_what_goes_for_what_it_says_goes_only_as_it_was_seen(*, as_seen: bool) -> None:
    stage = Stage(failure(409, "Conflict"), failure(404, "NotFound"))
    learned = await stage.act(Delete(PERSISTENT_VOLUME_CLAIMS, TARGET, as_seen=as_seen))
    request, *looks = stage.server.requests
    version = {"resourceVersion": "41"} if as_seen else {}
    assert json.loads(request.body)["preconditions"] == {"uid": "u-7", **version}
    assert [look.method for look in looks] == (["GET"] if as_seen else []), "what it is now is not waited for"
    assert learned.deleted == ()
    decided_anew = learned.failed is not None and isinstance(learned.failed.error, Conflict)
    assert decided_anew is as_seen, "without the version only its UID can have changed: then it is gone"


async def test_annotations_of_what_is_not_ours_are_changed_and_nothing_else_of_it() -> None:
    def changed(request: Request) -> Any:
        return answer(body={"metadata": {"name": "data", "namespace": "shop", "uid": "u-7", "resourceVersion": "42"}})

    stage = Stage(changed)
    claim = ObjectMeta(name="data", namespace="shop", uid="u-7", resource_version="41")
    assert await stage.act(Annotate(PERSISTENT_VOLUME_CLAIMS, claim, {"a": "b", "c": None})) == Learned()
    (request,) = stage.server.requests
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(request.body) == {
        "metadata": {"uid": "u-7", "resourceVersion": "41", "annotations": {"a": "b", "c": None}}
    }
    (found,) = stage.cluster.claims.store.list()
    assert found.metadata.resource_version == "42", "the next decision sees it"


async def test_an_annotation_that_is_not_allowed_stands_until_it_goes_through() -> None:
    denied = 'persistentvolumeclaims "data" is forbidden: User "a" cannot patch resource "persistentvolumeclaims" in API group ""'
    stage = Stage(failure(403, "Forbidden", denied))
    learned = await stage.act(Annotate(PERSISTENT_VOLUME_CLAIMS, replace(TARGET, name="data"), {"a": "b"}))
    assert learned.refusal is not None
    assert learned.refusal.verb == ANNOTATE, "whatever becomes of children of that kind"
    assert "patch on persistentvolumeclaims in namespace shop" in learned.refusal.message


@pytest.mark.parametrize(
    ("answered", "expected"), [(failure(409, "Conflict"), Conflict), (failure(404, "NotFound"), NotFound)]
)
async def test_an_annotation_of_what_has_changed_since_is_decided_anew(
    answered: Any, expected: type[Exception]
) -> None:
    learned = await Stage(answered).act(Annotate(PERSISTENT_VOLUME_CLAIMS, TARGET, {"a": "b"}))
    assert learned.failed is not None
    assert isinstance(learned.failed.error, expected)
    assert learned.refusal is None


PRIME_VOLUME = ObjectMeta(name="pv-1", uid="u-8", resource_version="51")
CLAIM = ObjectMeta(name="data", namespace="shop", uid="u-7", resource_version="41")


async def test_a_volume_is_handed_over_by_its_claim_reference_and_nothing_else_of_it_is_changed() -> None:
    stage = Stage(lambda _: answer(body={"metadata": {"name": "pv-1", "uid": "u-8", "resourceVersion": "52"}}))
    assert await stage.act(Rebind(PRIME_VOLUME, CLAIM, {"from": "shop/restore"})) == Learned()
    (request,) = stage.server.requests
    assert (request.method, request.path) == ("PATCH", "/api/v1/persistentvolumes/pv-1")
    assert request.headers["Content-Type"] == "application/merge-patch+json"
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "shop",
        "name": "data",
        "uid": "u-7",
        "resourceVersion": "41",
    }
    assert json.loads(request.body) == {
        "metadata": {"uid": "u-8", "resourceVersion": "51", "annotations": {"from": "shop/restore"}},
        "spec": {"claimRef": reference},
    }
    (found,) = stage.cluster.volumes.store.list()
    assert found.metadata.resource_version == "52", "the next decision sees it"


async def test_a_volume_that_has_changed_since_is_not_handed_over() -> None:
    learned = await Stage(failure(409, "Conflict")).act(Rebind(PRIME_VOLUME, CLAIM, {}))
    assert learned.failed is not None
    assert isinstance(learned.failed.error, Conflict)


async def test_a_volume_that_may_not_be_handed_over_is_told_with_the_right_that_is_missing() -> None:
    denied = 'persistentvolumes "pv-1" is forbidden: User "a" cannot patch resource "persistentvolumes" in API group "" at the cluster scope'
    learned = await Stage(failure(403, "Forbidden", denied)).act(Rebind(PRIME_VOLUME, CLAIM, {}))
    assert learned.refusal is not None
    assert learned.refusal.reason == reasons.PERMISSION_MISSING
    assert "patch on persistentvolumes in the whole cluster" in learned.refusal.message


async def test_the_last_event_is_learnt() -> None:
    one, other = (Emit("Normal", "Waiting", text, "Wait") for text in ("for this", "for that"))
    learned = await Stage().actor.act(OWNER, Plan((one, other)), Attempts())
    assert learned.told == other


async def test_what_looks_like_a_secret_in_words_of_others_gets_into_no_event() -> None:
    stage = Stage()
    said = "GET https://key:hunter2@store/b?X-Amz-Signature=0badc0ffee refused"
    await stage.act(Emit("Warning", "Waiting", said, "Wait"))
    assert stage.recorder.messages == ["GET https://[redacted]@store/b?X-Amz-Signature=[redacted] refused"]
