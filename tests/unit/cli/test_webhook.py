"""The webhook of an operator, put together: answers, metrics, and what is told when something is wrong."""

import asyncio
import contextlib
import ssl
from dataclasses import replace

import aiohttp
import pytest

from datamover.api.cdi import names
from datamover.cli.operator import Operator, new_metrics
from datamover.cli.options import DataVolumeOptions, Options, StartError, WebhookOptions
from kubekit.client.client import Client
from support.admission import asked, patched
from support.tiny_server import TinyServer

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
SECRET = "/api/v1/namespaces/system/secrets/webhook-service"
VOLUME = {"metadata": {"name": "disk"}, "spec": {"source": {"blank": {}}}}
VOLUMES = DataVolumeOptions(collection=True, ttl=60, home="system")
OPTIONS = Options(
    data_volumes=VOLUMES,
    webhook=WebhookOptions(address="127.0.0.1:0", service="webhook-service", configuration="stamp"),
)


@contextlib.asynccontextmanager
async def running(options: Options, *, configured: bool = True):
    server = TinyServer()
    if configured:
        place = {"service": {"namespace": "system", "name": "webhook-service"}}
        server.put(CONFIGURATIONS, "stamp", webhooks=[{"name": "a", "clientConfig": place}])
    registry, metrics = new_metrics()
    operator = Operator(Client(server.transport()), cluster="c", options=options, registry=registry, metrics=metrics)
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        if operator.webhook is not None:
            async with asyncio.timeout(20):
                await operator.webhook.server.listening.wait()
        yield operator, server
        assert not task.done()
    finally:
        stop.set()
        await task


async def create(operator: Operator, path: str = "/") -> dict:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = f"https://127.0.0.1:{operator.webhook.server.port}{path}"
    async with aiohttp.ClientSession() as session, session.post(address, json=asked(VOLUME), ssl=context) as answer:
        return patched({"metadata": {"annotations": None}}, await answer.read())["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("volumes", "stamped"),
    [
        (VOLUMES, True),
        (replace(VOLUMES, ttl=-1), False),
        (replace(VOLUMES, ttl=None), False),
        (replace(VOLUMES, stamp=False), False),
        (replace(VOLUMES, dry_run=True), False),
        (replace(VOLUMES, collection=False), False),
    ],
)
async def test_new_volumes_are_stamped_where_a_lifetime_is_set_and_stamps_are_wanted(volumes, stamped):
    async with running(replace(OPTIONS, data_volumes=volumes)) as (operator, server):
        async with asyncio.timeout(20):
            while (found := await create(operator)) is None and stamped:
                await asyncio.sleep(0.02)  # before the caches are filled it is let through
        assert found == ({names.DELETE_AFTER_COMPLETION: "true", names.STAMPED: "true"} if stamped else None)
        told = server.objects[f"{CONFIGURATIONS}/stamp"]["webhooks"][0]["clientConfig"]
        assert told["caBundle"]
        result = operator.registry.get_sample_value(
            "datamover_webhook_answers_total", {"result": "stamped" if stamped else "unchanged"}
        )
        assert result == 1
        ends = operator.registry.get_sample_value("datamover_webhook_certificate_expiry_timestamp_seconds")
        assert ends == operator.webhook.certificate.ends.timestamp()


async def test_the_path_of_the_configuration_is_not_the_key_of_the_permits():
    async with running(OPTIONS) as (operator, server):
        told = server.objects[f"{CONFIGURATIONS}/stamp"]["webhooks"][0]["clientConfig"]["service"]["path"]
        (key,) = operator.webhook.permit_keys()
        assert len(key) == 32
        assert key.hex() not in told
        assert operator.webhook.certificate.path == told


async def test_what_is_wrong_is_a_metric_and_an_event_and_the_operator_goes_on():
    async with running(OPTIONS, configured=False) as (operator, server):
        problem = operator.registry.get_sample_value("datamover_webhook_problem", {"reason": "Configuration"})
        assert problem == 1
        async with asyncio.timeout(20):
            while not (events := [each for path, each in server.objects.items() if "/events/" in path]):
                await asyncio.sleep(0.02)
        assert events[0]["reason"] == "WebhookProblem"
        assert events[0]["regarding"]["name"] == "webhook-service"
        assert "there is no MutatingWebhookConfiguration stamp" in events[0]["note"]


async def test_without_an_address_there_is_no_webhook():
    async with running(replace(OPTIONS, webhook=WebhookOptions())) as (operator, server):
        await asyncio.sleep(0)
        assert operator.webhook is None
        assert SECRET not in server.objects


def test_an_address_needs_the_names_by_which_it_is_found():
    registry, metrics = new_metrics()
    options = replace(OPTIONS, webhook=WebhookOptions(address=":9443"))
    with pytest.raises(StartError, match="needs --webhook-service"):
        Operator(Client(TinyServer().transport()), cluster="c", options=options, registry=registry, metrics=metrics)
