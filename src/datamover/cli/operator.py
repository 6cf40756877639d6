"""Putting the operator together: the same reconcilers over whichever transport the client has."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import CollectorRegistry

from datamover import __version__
from datamover.api import names
from datamover.api.installed import describe_absence, find_gap
from datamover.api.volsync.names import LEASE_NAME as VOLSYNC_LEASE
from datamover.cli.kinds import kinds_for
from datamover.cli.options import MetricsAccess, Options, ReplicationOptions, StartError
from datamover.cli.surroundings import AnyKind, Definitions, MakeKind, Surroundings
from datamover.metrics.exposition import CONTENT_TYPE, expose, new_registry
from datamover.metrics.runtime import RuntimeMetrics
from datamover.movers.defaults import DefaultsError, MoverDefaults, read_defaults
from datamover.plans.reconciler import Reconciler
from datamover.reconcilers.cluster import Cluster
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import Forbidden, KubeError, NotFound
from kubekit.client.http import HttpTransport
from kubekit.runtime.access import Gatekeeper
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.runtime.definition_gate import DefinitionGate
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.gate import Gate, Guarded
from kubekit.runtime.informer import Informer
from kubekit.runtime.leader import LeaderElector
from kubekit.runtime.lease_gate import LeaseGate
from kubekit.runtime.manager import Elector, Manager
from kubekit.runtime.precondition import Precondition
from kubekit.runtime.serving import Heartbeat, StatusServer
from kubekit.runtime.serving_certificate import CertificateError, ServingCertificate
from kubekit.runtime.signals import stop_on_signals
from kubekit.words.core import NAMESPACE_METAS
from kubekit.words.meta import HasMeta, Manifest, PartialObject, Resource

if TYPE_CHECKING:
    from datamover.cli.webhook import Webhook

_log = logging.getLogger(__name__)

T = TypeVar("T", bound=HasMeta)

_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    PartialObject,
    namespaced=False,
)


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
        kinds: tuple[MakeKind, ...] | None = None,
    ) -> None:
        """`metrics` counts into `registry`; the client's requests are observed by whoever made the client. Without `kinds`, the options say which."""
        kinds = kinds_for(options) if kinds is None else kinds
        clock = clock or SystemClock()
        self.registry = registry
        self.webhook: Webhook | None = None
        created_by = {value for make in kinds for value in getattr(make, "created_by", AnyKind.created_by)}
        children = {each for make in kinds for each in getattr(make, "children", AnyKind.children)}
        self.cluster = Cluster(
            client,
            clock=clock,
            namespace=options.namespace,
            created_by=created_by,
            children=children,
            metrics=metrics,
        )
        gates = _beside_volsync(client, options.replication, clock=clock)
        definitions = Definitions(client, clock=clock)
        around = Surroundings(
            client, self.cluster, cluster, options, registry, metrics, clock, definitions, gates, self._permit_keys
        )
        self.kinds = tuple(make(around) for make in kinds)
        for kind in self.kinds:
            if not (created_by.issuperset(kind.created_by) and children.issuperset(kind.children)):
                raise ValueError(
                    f"the children of {kind.resource.kind} would not be watched: let its maker say created_by and children"
                )
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
        self._definitions = [
            _expect_definition(client, wanted, clock=clock)
            for kind in self.kinds
            if options.check_definitions and not kind.optional and (wanted := kind.definition) is not None
        ]
        self.manager = Manager(elector=_begin_after([each for each, _ in self._definitions], elector))
        for definition, changes in self._definitions:
            self.manager.add_task("definitions", definition.run)
            self.manager.add_task("changes of definitions", changes.run)
        for informer in self.cluster.informers():
            self.manager.add_informer(informer)
        for name, named in self.cluster.named():
            self.manager.add_task(name, named.run)
        self.manager.add_task("events", recorder.run)
        self.manager.add_finisher(recorder.flush)
        for kind in self.kinds:
            reconciler = Reconciler(kind, client=client, caches=self.cluster, recorder=recorder, clock=clock)
            controller = reconciler.controller(workers=options.workers, metrics=metrics)
            gates = [
                *(
                    [self._follow(definitions.gate(kind.resource, to_the_end=kind.to_the_end), kind.resource)]
                    if kind.optional
                    else []
                ),
                *kind.gates,
            ]
            if gates:
                guarded = Guarded(controller, kind.objects, gates=gates, rest=reconciler.rest, metrics=metrics)
                self.manager.add_guarded(guarded)
            else:
                self.manager.add_informer(kind.objects)
                self.manager.add_controller(controller)
        self.webhook = self._add_webhook(client, options, recorder=recorder, clock=clock)
        if options.status_address:
            self._serve_status(options.status_address, options.metrics_access, client=client, clock=clock)

    def objects(self, resource: Resource[T]) -> Informer[T]:
        """Return the cache of a kind. Raises StopIteration for a kind that is not reconciled."""
        return next(kind.objects for kind in self.kinds if kind.resource is resource)

    def _follow(self, gate: DefinitionGate, resource: Resource[Any]) -> DefinitionGate:
        """Return the gate before a kind that may be missing. When it opens, whoever reads the kind looks for it at once."""

        def follow() -> None:
            if gate.check() is None:
                for informer in self.cluster.informers():
                    if informer.resource is resource:
                        informer.look_again()

        gate.add_handler(follow)
        return gate

    def _add_webhook(
        self, client: Client, options: Options, *, recorder: EventRecorder, clock: Clock
    ) -> "Webhook | None":
        """Serve the admission webhook where that is wanted."""
        if not options.webhook.address:
            return None
        from datamover.cli.webhook import make_webhook  # it brings a library for certificates, which takes its time

        place = split_address(options.webhook.address)
        webhook = make_webhook(client, options, place=place, registry=self.registry, recorder=recorder, clock=clock)
        webhook.add(self.manager)
        return webhook

    def _permit_keys(self) -> tuple[bytes, ...]:
        return self.webhook.permit_keys() if self.webhook is not None else ()

    def _serve_status(self, address: str, access: MetricsAccess, *, client: Client, clock: Clock) -> None:
        """Serve liveness, readiness and metrics."""
        host, port = split_address(address)
        heartbeat = Heartbeat(clock=clock)
        certificate = _load_certificate(access, clock=clock)
        server = StatusServer(
            host=host,
            port=port,
            alive={"event loop": heartbeat.check},
            ready=self.checks,
            notes=self.manager.notes,
            remarks=lambda: {kind.name: kind.note() for kind in self.kinds if kind.note is not None},
            metrics=lambda: (expose(self.registry), CONTENT_TYPE),
            guard=Gatekeeper(client, clock=clock).judge if access.authenticated else None,
            tls=certificate.context if certificate else None,
        )
        if certificate is not None:
            self.manager.add_task("metrics certificate", certificate.run)
        self.manager.add_task("heartbeat", heartbeat.run)
        self.manager.add_task("status server", server.run)

    def checks(self) -> Mapping[str, Callable[[], str | None]]:
        """Readiness: what is waited for, by name."""
        definitions = [definition for definition, _ in self._definitions]
        waiting = {"definitions": lambda: _first_problem(definitions)} if definitions else {}
        return {**waiting, **self.manager.checks()}

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises LeadershipLost when another replica may lead, PreconditionLost when the definitions change."""
        await self.manager.run(stop)


def _beside_volsync(client: Client, options: ReplicationOptions, *, clock: Clock) -> tuple[Gate, ...]:
    """Return what stands before kinds that VolSync's own operator may be at work on. It is looked at only where such a kind is."""
    if options.volsync_namespace is None:
        return ()
    return (LeaseGate(client, namespace=options.volsync_namespace, name=VOLSYNC_LEASE, whose="VolSync", clock=clock),)


class _After:
    """Begins the work, or the election for it, when a precondition is met."""

    def __init__(self, precondition: Precondition, elector: Elector | None) -> None:
        self._precondition = precondition
        self._elector = elector

    async def run(self, while_leading: Callable[[], Awaitable[None]]) -> None:
        elector = self._elector
        await self._precondition.hold(while_leading if elector is None else lambda: elector.run(while_leading))


def _begin_after(preconditions: Iterable[Precondition], elector: Elector | None) -> Elector | None:
    """Return what begins the work, or the election for it, when all preconditions are met."""
    for precondition in preconditions:
        elector = _After(precondition, elector)
    return elector


def _first_problem(preconditions: Iterable[Precondition]) -> str | None:
    return next((problem for each in preconditions if (problem := each.check()) is not None), None)


def _expect_definition(
    client: Client, wanted: Manifest, *, clock: Clock
) -> tuple[Precondition, Informer[PartialObject]]:
    """Return the wait for a definition, and the watch of its changes: by name, so that a right to this one is enough."""
    name = wanted["metadata"]["name"]
    changes = Informer(client, _DEFINITIONS, field_selector=f"metadata.name={name}", optional=True, clock=clock)

    def judge(found: Manifest | None) -> str | None:
        return describe_absence(wanted) if found is None else find_gap(found, wanted)

    return Precondition(client, _DEFINITIONS.path(name=name), judge=judge, changes=changes, clock=clock), changes


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
        found = await client.get(NAMESPACE_METAS, "kube-system")
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
        stop = stop_on_signals()  # before the first request, for that may wait long for its answer
        cluster = options.cluster_id or await _unless(stop, find_cluster(client))
        if cluster is None:
            return
        checked = replace(options, check_definitions=True)
        operator = Operator(client, cluster=cluster, options=checked, registry=registry, metrics=metrics)
        _log.info("datamover operator %s, cluster %s", __version__, cluster)
        await operator.run(stop)
    finally:
        await transport.close()
