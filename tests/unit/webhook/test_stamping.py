"""Which DataVolumes are stamped while they are created, and which permits are given."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from datamover.api.cdi import names
from datamover.api.outside import Unusable
from datamover.volumes.collection_time import Lifetime
from datamover.volumes.permit import CloneSource, find_refusal
from datamover.webhook.requester import MOST, Requesters
from datamover.webhook.stamping import Outcome, Stamper
from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import seconds
from support.admission import asked, patched
from support.clock import VirtualClock
from support.scripted_transport import HANG, ScriptedTransport, answer, failure

KEY = b"k" * 32
ASKS = names.DELETE_AFTER_COMPLETION
DESIGNED = names.DELETE_AFTER_COMPLETION_DESIGNED
STAMP = {ASKS: "true", names.STAMPED: "true"}
NOW = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)


def volume(annotations: dict[str, str] | None = None, **spec: object) -> dict:
    return {"metadata": {"name": "disk", "annotations": annotations}, "spec": spec or {"source": {"blank": {}}}}


class Webhook:
    """A stamper where this lifetime holds, before an API server that answers so."""

    def __init__(self, lifetime: Lifetime | None, *script: object, key: bytes | None = KEY) -> None:
        self.counted: Counter[str] = Counter()
        self.transport = ScriptedTransport(*script)
        self.clock = VirtualClock()
        client = Client(self.transport, clock=self.clock, jitter=lambda: 0.0)
        self.requesters = Requesters(client, key=lambda: key, clock=self.clock)
        self.stamper = Stamper(lambda _: lifetime, requesters=self.requesters, count=lambda each: self.counted.update([each]))  # fmt: skip

    async def create(self, made: dict, *, trusted: bool = True, **question: object) -> dict:
        body = json.dumps(asked(made, **question)).encode()  # type: ignore[arg-type]
        return patched(made, await self.stamper.answer(body, trusted=trusted))["metadata"]


def lasting(seconds: int | None) -> Lifetime:
    return Lifetime(seconds, "a test")


@pytest.mark.parametrize("ttl", [0, 1, 3600])
async def test_g11_with_a_lifetime_a_new_volume_is_stamped(ttl):
    webhook = Webhook(lasting(ttl))
    assert (await webhook.create(volume()))["annotations"] == STAMP
    assert webhook.counted == {Outcome.STAMPED: 1}


async def test_g12_without_a_lifetime_nothing_is_changed():
    webhook = Webhook(lasting(None))
    assert (await webhook.create(volume()))["annotations"] is None
    assert webhook.counted == {Outcome.UNCHANGED: 1}


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ({ASKS: "false"}, {ASKS: "false"}),
        ({DESIGNED: "false"}, {DESIGNED: "false"}),
        ({ASKS: "true", DESIGNED: "false"}, {ASKS: "true", DESIGNED: "false"}),
        ({ASKS: "true"}, {ASKS: "true"}),
        ({DESIGNED: "true"}, {DESIGNED: "true"}),
        ({ASKS: ""}, STAMP),
        ({ASKS: "no", "other": "kept"}, {**STAMP, "other": "kept"}),
    ],
)
async def test_g6_what_the_user_says_stands_and_his_true_is_not_marked_as_ours(said, after):
    assert (await Webhook(lasting(0)).create(volume(said)))["annotations"] == after


async def test_before_the_caches_are_filled_it_goes_through():
    webhook = Webhook(None)
    assert (await webhook.create(volume()))["annotations"] is None
    assert webhook.counted == {Outcome.UNREADY: 1}


@pytest.mark.parametrize(
    "question",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE"},
        {"resource": "datasources"},
        {"group": "other.io"},
        {"sub_resource": "status"},
    ],
)
async def test_other_questions_are_answered_without_a_change(question):
    webhook = Webhook(lasting(0))
    assert (await webhook.create(volume(), **question))["annotations"] is None
    assert webhook.counted == {Outcome.UNCHANGED: 1}


async def test_an_odd_object_goes_through_as_it_is():
    webhook = Webhook(lasting(0))
    odd = {"metadata": {"annotations": {"a": 1}}}
    assert (await webhook.create(odd))["annotations"] == {"a": 1}
    assert webhook.counted == {Outcome.UNREADABLE: 1}


@pytest.mark.parametrize(("size", "stamped"), [(250_000, True), (262_100, False), (262_144, False)])
async def test_a_volume_is_not_refused_because_a_stamp_would_be_one_annotation_too_many(size, stamped):
    there = {"x": "y" * (size - 1)}
    webhook = Webhook(Lifetime(0, "us"))
    made = await webhook.create(volume(there))
    assert (made["annotations"] != there) is stamped
    assert webhook.counted == {Outcome.STAMPED if stamped else Outcome.UNCHANGED: 1}
    assert sum(len(key) + len(value) for key, value in made["annotations"].items()) <= 262_144


async def test_what_is_no_question_is_counted():
    webhook = Webhook(lasting(0))
    with pytest.raises(Unusable):
        await webhook.stamper.answer(b"nothing", trusted=True)
    assert webhook.counted == {Outcome.UNREADABLE: 1}


async def test_a_fault_of_ours_lets_it_go_through(caplog):
    def fail(_namespace: str) -> Lifetime:
        raise RuntimeError

    counted: Counter[str] = Counter()
    stamper = Stamper(fail, count=lambda each: counted.update([each]))
    made = volume()
    assert patched(made, await stamper.answer(json.dumps(asked(made)).encode(), trusted=True)) == made
    assert counted == {Outcome.FAILED: 1}
    assert "could not be judged" in caplog.text


YES, NO = answer(201, {"status": {"allowed": True}}), answer(201, {"status": {"allowed": False}})
CLONE = {"source": {"pvc": {"namespace": "images", "name": "debian"}}}
SOURCE = CloneSource("pvc", "images", "debian")


def refused(meta: dict, source: CloneSource = SOURCE, *, name: str = "disk") -> str | None:
    made = ObjectMeta(name=name, namespace="shop", creation_timestamp=seconds(NOW), annotations=meta["annotations"])
    return find_refusal(made, source, keys=[KEY])


async def test_who_may_use_all_of_a_namespace_gets_a_permit_that_the_controller_believes():
    webhook = Webhook(lasting(None), YES)
    meta = await webhook.create(volume(**CLONE), user={"username": "ann", "groups": ["g"], "extra": {"k": ["v"]}})
    assert refused(meta) is None
    said = json.loads(webhook.transport.requests[0].body)["spec"]
    assert (said["user"], said["groups"], said["extra"]) == ("ann", ["g"], {"k": ["v"]})
    assert said["resourceAttributes"] == {
        "namespace": "images",
        "verb": "create",
        "group": "cdi.kubevirt.io",
        "version": "*",
        "resource": "datavolumes",
        "subresource": "source",
        "name": "",
    }


async def test_who_may_use_one_claim_gets_a_permit_for_that_one():
    webhook = Webhook(lasting(None), NO, YES)
    meta = await webhook.create(volume(**CLONE))
    assert refused(meta) is None
    assert refused(meta, CloneSource("pvc", "images", "other")) is not None


@pytest.mark.parametrize(
    "script",
    [
        [NO, NO],
        [failure(403), failure(403)],
        [TransportError("gone")] * 9,
        [answer(201, {}), answer(201, {"status": {"allowed": "yes"}})],
    ],
)
async def test_without_a_plain_yes_there_is_no_permit_and_the_volume_is_made(script):
    webhook = Webhook(lasting(0), *script)
    creating = asyncio.create_task(webhook.create(volume({names.CLONE_PERMIT: "forged"}, **CLONE)))
    await webhook.clock.advance(60)
    meta = await creating
    assert meta["annotations"] == STAMP


async def test_an_api_server_that_is_slow_is_not_waited_for():
    webhook = Webhook(lasting(0), HANG)
    creating = asyncio.create_task(webhook.create(volume(**CLONE)))
    await webhook.clock.advance(3.1)
    assert creating.done()
    assert (await creating)["annotations"] == STAMP


async def test_only_so_many_requesters_are_asked_about_at_a_time():
    webhook = Webhook(lasting(None), *[HANG] * MOST)
    waiting = [asyncio.create_task(webhook.create(volume(**CLONE))) for _ in range(MOST)]
    await webhook.clock.advance(0.1)
    assert (await webhook.create(volume(**CLONE)))["annotations"] is None
    await webhook.clock.advance(5)
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("key", [None, KEY])
async def test_a_question_that_may_come_from_anybody_is_given_no_permit(key):
    webhook = Webhook(lasting(0), key=key)
    meta = await webhook.create(volume(**CLONE), trusted=key is None)
    assert meta["annotations"] == STAMP
    assert webhook.transport.requests == []


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {"pvc": {"namespace": "shop", "name": "debian"}}},
        {"source": {"pvc": {"name": "debian"}}},
        {"source": {"http": {"url": "https://x"}}},
        {"sourceRef": {"kind": "Other", "namespace": "images", "name": "debian"}},
        {"sourceRef": {"kind": "DataSource", "namespace": "images", "name": "../../secrets/x"}},
        {"sourceRef": {"kind": "DataSource", "namespace": "../..", "name": "x"}},
        {"storage": {}},
    ],
)
async def test_what_comes_from_nowhere_else_needs_no_permit_and_asks_nobody(spec):
    webhook = Webhook(lasting(None))
    assert (await webhook.create(volume(**spec)))["annotations"] is None
    assert webhook.transport.requests == []


async def test_a_permit_that_the_user_writes_is_taken_away():
    webhook = Webhook(lasting(None))
    assert (await webhook.create(volume({names.CLONE_PERMIT: "true", "a": "b"})))["annotations"] == {"a": "b"}


async def test_a_snapshot_and_a_data_source_are_looked_through():
    snapshot = Webhook(lasting(None), YES)
    meta = await snapshot.create(volume(source={"snapshot": {"namespace": "images", "name": "debian"}}))
    assert refused(meta, CloneSource("snapshot", "images", "debian")) is None
    found = answer(200, {"metadata": {"name": "os"}, "spec": {"source": {"pvc": {"namespace": "images", "name": "debian"}}}})  # fmt: skip
    through = Webhook(lasting(None), found, YES)
    meta = await through.create(volume(sourceRef={"kind": "DataSource", "name": "os"}))
    assert refused(meta) is None
    assert through.transport.requests[0].path.endswith("/namespaces/shop/datasources/os")


async def test_data_sources_that_stand_for_each_other_end_somewhere():
    found = answer(200, {"metadata": {"name": "a"}, "spec": {"source": {"dataSource": {"kind": "DataSource", "name": "a"}}}})  # fmt: skip
    webhook = Webhook(lasting(None), found, found, found)
    meta = await webhook.create(volume(sourceRef={"kind": "DataSource", "name": "a", "namespace": "images"}))
    assert meta["annotations"] is None
    assert len(webhook.transport.requests) == 2


async def test_a_volume_that_gets_its_name_from_the_server_is_known_by_its_beginning():
    webhook = Webhook(lasting(None), YES)
    made = volume(**CLONE)
    made["metadata"] = {"generateName": "disk-"}
    meta = await webhook.create(made)
    assert refused(meta, name="disk-x7k2p") is None
    assert refused(meta, name="other") is not None
