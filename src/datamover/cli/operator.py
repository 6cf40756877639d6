"""Putting the operator together: the same reconcilers over whichever transport the client has."""

import asyncio
import logging
import os
import signal
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from datamover import __version__
from datamover.api import names
from datamover.api.installed import describe_absence, find_gap
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.metrics.datamover import DataMoverMetrics
from datamover.metrics.exposition import CONTENT_TYPE, expose, new_registry
from datamover.metrics.runtime import RuntimeMetrics
from datamover.movers.defaults import NONE, DefaultsError, MoverDefaults, read_defaults
from datamover.reconcilers.datamover.caches import Caches
from datamover.reconcilers.datamover.facts import Settings
from datamover.reconcilers.datamover.reconciler import DataMoverReconciler
from datamover.runs.facts import Patience
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import Forbidden, KubeError, NotFound
from kubekit.client.http import HttpTransport
from kubekit.runtime.access import Gatekeeper
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.leader import LeaderElector
from kubekit.runtime.manager import Elector, Manager
from kubekit.runtime.precondition import Precondition
from kubekit.runtime.serving import Heartbeat, StatusServer
from kubekit.runtime.serving_certificate import CertificateError, ServingCertificate
from kubekit.words.core import NAMESPACES
from kubekit.words.meta import Manifest, PartialObject, Resource

_log = logging.getLogger(__name__)

_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)
_OUR_DEFINITION = f"metadata.name={DATA_MOVERS.group_resource}"
_NAMESPACE_META = Resource("", "v1", NAMESPACES.plural, NAMESPACES.kind, PartialObject, namespaced=False)


class StartError(Exception):
    """The operator cannot start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class MetricsAccess:
    """How the status server is reached, and who may read the metrics.

    With `authenticated`, only those whom the API server lets `get` the non-resource URL /metrics. A bearer token over plain HTTP can be
    read by whoever is on the way, so that this needs `certificate` and `key` unless `plain_tokens` says that the way is safe.
    """

    authenticated: bool = False
    certificate: Path | None = None
    key: Path | None = None
    plain_tokens: bool = False

    def check(self) -> None:
        """Raise StartError when it cannot be had."""
        if (self.certificate is None) != (self.key is None):
            raise StartError("--metrics-tls-cert and --metrics-tls-key belong together: give both or none")
        if self.authenticated and self.certificate is None and not self.plain_tokens:
            raise StartError(
                "--metrics-auth needs --metrics-tls-cert and --metrics-tls-key, for tokens must not travel in the open. Where something "
                "else encrypts the way to this port (a sidecar, a mesh), say so with --metrics-auth-without-tls"
            )


@dataclass(frozen=True, slots=True)
class Options:
    """How the operator runs. Addresses are `host:port`, or None for none; durations in seconds."""

    namespace: str | None = None
    workers: int = 4
    mover_image: str | None = None
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    cluster_id: str | None = None
    progress_interval: float = 10.0
    status_address: str | None = None
    metrics_access: MetricsAccess = MetricsAccess()
    leader_namespace: str | None = None
    """Namespace of the Lease; None runs without leader election."""
    identity: str = ""
    check_definitions: bool = False
    """Wait, not ready, until the cluster's CustomResourceDefinition has all that this version needs."""


class Operator:
    """The controllers with their caches, metrics and events, on one client."""

    def __init__(
        self,
        client: Client,
        *,
        cluster: str,
        options: Options,
        registry: CollectorRegistry,
        metrics: RuntimeMetrics,
        clock: Clock | None = None,
    ) -> None:
        """`metrics` counts into `registry`; the client's requests are observed by whoever made the client."""
        clock = clock or SystemClock()
        self.registry = registry
        self.caches = Caches(client, clock=clock, namespace=options.namespace, metrics=metrics)
        identity = options.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        recorder = EventRecorder(client, component=names.COMPONENT, instance=identity, clock=clock, metrics=metrics)
        elector = (
            LeaderElector(
                client,
                namespace=options.leader_namespace,
                name=names.LEASE_NAME,
                identity=identity,
                clock=clock,
                metrics=metrics,
                overdue=_end_process,
                one_term=True,
                field_manager=names.LEADER_MANAGER,
            )
            if options.leader_namespace
            else None
        )
        # by name, so that a right to this one definition is enough
        changes = Informer(client, _DEFINITIONS, field_selector=_OUR_DEFINITION, optional=True, clock=clock)
        self._definitions = definitions = (
            _expect_definitions(client, changes=changes, clock=clock) if options.check_definitions else None
        )
        self.manager = Manager(elector=_After(definitions, elector) if definitions is not None else elector)
        if definitions is not None:
            self.manager.add_task("definitions", definitions.run)
            self.manager.add_task("changes of definitions", changes.run)
        for informer in self.caches.informers():
            self.manager.add_informer(informer)
        self.manager.add_task("secrets", self.caches.secrets.run)
        self.manager.add_task("events", recorder.run)
        self.manager.add_finisher(recorder.flush)
        self.reconciler = DataMoverReconciler(
            client,
            caches=self.caches,
            recorder=recorder,
            meter=DataMoverMetrics(registry),
            clock=clock,
            settings=Settings(
                cluster=cluster,
                mover_image=options.mover_image,
                mover_pull_policy=options.mover_pull_policy,
                mover_defaults=options.mover_defaults,
                patience=Patience(sample=options.progress_interval),
            ),
        )
        controller = self.reconciler.controller(workers=options.workers, metrics=metrics)
        self.manager.add_controller(controller)
        if options.status_address:
            host, port = split_address(options.status_address)
            heartbeat = Heartbeat(clock=clock)
            access = options.metrics_access
            certificate = _load_certificate(access, clock=clock)
            server = StatusServer(
                host=host,
                port=port,
                alive={"event loop": heartbeat.check},
                ready=self.checks,
                metrics=lambda: (expose(registry), CONTENT_TYPE),
                guard=Gatekeeper(client, clock=clock).judge if access.authenticated else None,
                tls=certificate.context if certificate else None,
            )
            if certificate is not None:
                self.manager.add_task("metrics certificate", certificate.run)
            self.manager.add_task("heartbeat", heartbeat.run)
            self.manager.add_task("status server", server.run)

    def checks(self) -> Mapping[str, Callable[[], str | None]]:
        """Readiness: what is waited for, by name."""
        definitions = self._definitions
        return {**({"definitions": definitions.check} if definitions else {}), **self.manager.checks()}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises LeadershipLost when another replica may lead, PreconditionLost when the definitions change."""
        await self.manager.run(stop)


class _After:
    """Begins the work, or the election for it, when a precondition is met."""

    def __init__(self, precondition: Precondition, elector: Elector | None) -> None:
        self._precondition = precondition
        self._elector = elector

    async def run(self, while_leading: Callable[[], Awaitable[None]]) -> None:
        elector = self._elector
        await self._precondition.hold(while_leading if elector is None else lambda: elector.run(while_leading))


def _expect_definitions(client: Client, *, changes: Informer[PartialObject], clock: Clock) -> Precondition:
    wanted = data_mover_crd()

    def judge(found: Manifest | None) -> str | None:
        return describe_absence(wanted) if found is None else find_gap(found, wanted)

    path = _DEFINITIONS.path(name=DATA_MOVERS.group_resource)
    return Precondition(client, path, judge=judge, changes=changes, clock=clock)


def _load_certificate(access: MetricsAccess, *, clock: Clock) -> ServingCertificate | None:
    if access.certificate is None or access.key is None:
        return None
    try:
        return ServingCertificate(access.certificate, access.key, clock=clock)
    except CertificateError as error:
        raise StartError(f"metrics cannot be served over TLS: {error}") from error


def new_metrics() -> tuple[CollectorRegistry, RuntimeMetrics]:
    """Return a registry and the runtime's metrics in it."""
    registry = new_registry()
    return registry, RuntimeMetrics(registry)


async def find_cluster(client: Client) -> str:
    """Return the UID of the cluster: that of its kube-system namespace. Raises StartError."""
    try:
        found = await client.get(_NAMESPACE_META, "kube-system")
    except (Forbidden, NotFound) as error:
        raise StartError(
            f"cannot read the namespace kube-system, whose UID identifies the cluster: {error}. "
            "Allow the operator to get it, or start it with --cluster-id and any name that is unique to the cluster"
        ) from error
    except KubeError as error:
        raise StartError(f"cannot reach the API server: {error}") from error
    return found.metadata.uid


def read_mover_defaults(text: str) -> MoverDefaults:
    """Return the movers' defaults that YAML (or JSON) says; no text says none. Raises StartError."""
    import yaml

    try:
        return read_defaults(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise StartError(f"--mover-defaults is no YAML: {' '.join(str(error).split())}") from None
    except DefaultsError as error:
        raise StartError(f"--mover-defaults: {error}") from None


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `:port`; an empty host is every address. Raises StartError."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise StartError(f"{address!r} is not an address such as :8082 or 127.0.0.1:8082")
    return host.strip("[]"), int(port)


def _end_process() -> None:
    """Work that outlives its lease must not go on beside the next leader's (law L7)."""
    os._exit(1)


async def _unless(stop: asyncio.Event, asking: Coroutine[None, None, str]) -> str | None:
    """Return the answer, or None when we are asked to stop before it comes."""
    answer, stopped = asyncio.ensure_future(asking), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((answer, stopped), return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        for each in (answer, stopped):
            each.cancel()
        await asyncio.gather(answer, stopped, return_exceptions=True)


async def serve(options: Options, *, kubeconfig: Path | None, context: str | None) -> None:
    """Run the operator against a cluster until SIGTERM or SIGINT. Raises StartError, KubeError and LeadershipLost."""
    if not options.mover_image:
        raise StartError(
            "no image for movers: start with --mover-image IMAGE (or MOVER_IMAGE), an image with the agent in it (docs/mover.md). The documented "
            "default is the original operator's, which mirrors without any guard on what lies at the destination"
        )
    if options.status_address:
        split_address(options.status_address)  # before anything is begun
    options.metrics_access.check()
    registry, metrics = new_metrics()
    transport = HttpTransport(load_config(kubeconfig, context))
    try:
        client = Client(transport, user_agent=f"{names.COMPONENT}/{__version__}", observe=metrics.request)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # before the first request, for that may wait long for its answer
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        cluster = options.cluster_id or await _unless(stop, find_cluster(client))
        if cluster is None:
            return
        checked = replace(options, check_definitions=True)
        operator = Operator(client, cluster=cluster, options=checked, registry=registry, metrics=metrics)
        _log.info("datamover operator %s, cluster %s", __version__, cluster)
        await operator.run(stop)
    finally:
        await transport.close()
