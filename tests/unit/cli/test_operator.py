"""Putting the operator together: addresses, the cluster's identity, and what is said when it cannot start."""

import asyncio
import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from datamover.api.names import CREATED_BY_LABEL, CREATED_BY_VALUE
from datamover.cli.hosted_control_planes import follow_backups
from datamover.cli.kinds import KINDS, REPLICATION_KINDS, kinds_for
from datamover.cli.operator import Operator, find_cluster, new_metrics, serve, split_address
from datamover.cli.options import HostedControlPlaneOptions, MetricsAccess, Options, ReplicationOptions, StartError
from datamover.cli.surroundings import Surroundings
from datamover.plans.known import UNKNOWN
from datamover.reconcilers.hosted_control_plane.facts import PATIENT
from datamover.reconcilers.hosted_control_plane.kind import HostedControlPlaneKind
from kubekit.client.client import Client
from kubekit.client.errors import KubeError, TransportError
from kubekit.words.batch import JOBS
from support import builders
from support.control_planes import at, backup
from support.errand import ErrandKind
from support.scripted_transport import ScriptedTransport, answer, failure

ADDRESSES = {
    ":8082": ("", 8082),
    "127.0.0.1:0": ("127.0.0.1", 0),
    "localhost:65535": ("localhost", 65535),
    "[::1]:80": ("::1", 80),
    "[::]:80": ("::", 80),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address(text: str) -> None:
    assert split_address(text) == ADDRESSES[text]


@pytest.mark.parametrize("text", ["", "8082x", ":", "localhost", "127.0.0.1:http", ":65536", ":-1", "a:1:2x", ":²"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(StartError, match="is not an address such as :8082"):
        split_address(text)


def client(*script) -> Client:
    return Client(ScriptedTransport(*script), jitter=lambda: 0.0, clock=NoSleep())


class NoSleep:
    async def sleep(self, seconds: float) -> None:
        del seconds


async def test_the_cluster_is_the_uid_of_its_first_namespace() -> None:
    assert await find_cluster(client(answer(200, {"metadata": {"name": "kube-system", "uid": "u-1"}}))) == "u-1"


@pytest.mark.parametrize("refusal", [failure(403, "Forbidden", "may not"), failure(404, "NotFound", "none there")])
async def test_a_cluster_that_may_not_be_identified_names_the_way_out(refusal) -> None:
    with pytest.raises(StartError, match=r"kube-system.*(may not|none there).*--cluster-id"):
        await find_cluster(client(refusal))


@pytest.mark.parametrize(
    "trouble",
    [TransportError("connection refused"), failure(401, "Unauthorized", "who are you"), failure(500, "", "broken")],
)
async def test_a_cluster_that_cannot_be_reached_is_told_as_such(trouble) -> None:
    with pytest.raises(StartError, match=r"cannot reach the API server: .*(refused|who are you|broken)"):
        await find_cluster(client(*[trouble] * 10))


async def test_nothing_is_started_without_an_image_for_movers(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--mover-image"):
        await serve(Options(), kubeconfig=tmp_path / "none", context=None)


BAD_CONFIGS = {
    "a file that is missing": (None, "none"),
    "a directory": ("DIRECTORY", ""),
    "no YAML": ("{", ""),
    "a list": ("[]", ""),
    "no clusters": ("apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: []\nclusters: []\nusers: []\n", "a"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
async def test_a_bad_kubeconfig_is_one_clear_error(case: str, tmp_path: Path) -> None:
    text, words = BAD_CONFIGS[case]
    path = tmp_path / "none"
    if text == "DIRECTORY":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises((KubeError, OSError)) as refused:
        await serve(Options(mover_image="x"), kubeconfig=path, context=None)
    assert words in str(refused.value)
    assert str(refused.value).strip()


SILENT = """
apiVersion: v1
kind: Config
current-context: a
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
clusters: [{{name: a, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: a, user: {{}}}}]
"""


async def test_who_asks_it_to_stop_need_not_wait_for_an_api_server_that_does_not_answer(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(SILENT.format(port=server.sockets[0].getsockname()[1]))
        serving = asyncio.create_task(serve(Options(mover_image="x"), kubeconfig=path, context=None))
        await asyncio.wait_for(asked.wait(), timeout=10)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, timeout=5)


def make_operator(**options) -> Operator:
    registry, metrics = new_metrics()
    given = Options(mover_image="x", **options)
    return Operator(client(), cluster="c", options=given, registry=registry, metrics=metrics)


async def test_an_operator_counts_in_its_own_registry() -> None:
    assert make_operator().registry is not make_operator().registry


async def test_a_bad_status_address_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="is not an address"):
        make_operator(status_address="nowhere")
    with pytest.raises(StartError, match="'nowhere' is not an address"):
        await serve(Options(mover_image="x", status_address="nowhere"), kubeconfig=tmp_path / "none", context=None)


CERTIFICATE = {"certificate": Path("/none/tls.crt"), "key": Path("/none/tls.key")}
REFUSED_ACCESS = {
    "tokens in the open": (MetricsAccess(authenticated=True), "--metrics-auth needs --metrics-tls-cert"),
    "a certificate without its key": (MetricsAccess(certificate=Path("x")), "give both or none"),
    "a key without its certificate": (MetricsAccess(key=Path("x"), plain_tokens=True), "give both or none"),
}


@pytest.mark.parametrize("case", REFUSED_ACCESS)
async def test_metrics_that_cannot_be_guarded_as_asked_are_told_before_anything_is_asked(case, tmp_path: Path) -> None:
    access, words = REFUSED_ACCESS[case]
    with pytest.raises(StartError, match=words):
        await serve(Options(mover_image="x", metrics_access=access), kubeconfig=tmp_path / "none", context=None)


@pytest.mark.parametrize(
    "access",
    [
        MetricsAccess(),
        MetricsAccess(authenticated=True, plain_tokens=True),
        MetricsAccess(authenticated=True, **CERTIFICATE),
    ],
)
def test_metrics_may_be_open_guarded_over_tls_or_behind_something_that_encrypts(access: MetricsAccess) -> None:
    access.check()


async def test_a_certificate_that_cannot_be_read_is_told_at_the_start() -> None:
    with pytest.raises(StartError, match=r"cannot be served over TLS: cannot read /none/tls.crt"):
        make_operator(status_address="127.0.0.1:0", metrics_access=MetricsAccess(**CERTIFICATE))


class Courier(ErrandKind):
    """A kind whose children carry the label of another project."""

    created_by = ("courier",)


def test_the_children_of_every_kind_are_watched_by_the_label_that_it_gives_them() -> None:
    registry, metrics = new_metrics()
    given = (*KINDS, Courier)
    operator = Operator(client(), cluster="c", options=Options(), registry=registry, metrics=metrics, kinds=given)
    for value in ("courier", CREATED_BY_VALUE):
        assert operator.cluster.shows(JOBS, builders.job(labels={CREATED_BY_LABEL: value})), value
    assert not operator.cluster.shows(JOBS, builders.job(labels={CREATED_BY_LABEL: "somebody"}))


def test_a_kind_whose_children_nobody_would_watch_is_refused() -> None:
    registry, metrics = new_metrics()
    hidden = (lambda around: Courier(around),)
    with pytest.raises(ValueError, match="children of Errand would not be watched"):
        Operator(client(), cluster="c", options=Options(), registry=registry, metrics=metrics, kinds=hidden)


OF_RESTORES = ("datamoverrestore", "restored-claim", "restore-populator")
"""The controllers that sleep where there is no DataMoverRestore."""


def kind_names(operator: Operator) -> list[str]:
    return [kind.resource.kind for kind in operator.kinds]


def test_what_is_optional_or_behind_gates_holds_up_nobody_and_is_told_of() -> None:
    class Guest(ErrandKind):
        optional = True

    def guest(around: Surroundings) -> Guest:
        kind = Guest(around)
        kind.gates = around.beside_volsync
        return kind

    registry, metrics = new_metrics()
    options = Options(
        check_definitions=True, replication=ReplicationOptions(enabled=True, volsync_namespace="volsync-system")
    )
    operator = Operator(
        client(), cluster="c", options=options, registry=registry, metrics=metrics, kinds=(*KINDS, guest)
    )
    assert kind_names(operator) == [
        "DataMover",
        "DataMoverRestore",
        "PersistentVolumeClaim",
        "CustomResourceDefinition",
        "Errand",
    ]
    assert list(operator.manager.notes()) == [*OF_RESTORES, "errand"]
    assert operator.checks()["errands.example.com"]() is None, "it makes no replica unready"
    for gate in ("definition", "lease"):
        assert registry.get_sample_value("datamover_controller_asleep", {"controller": "errand", "gate": gate}) == 1


def test_nobody_is_looked_for_where_no_namespace_is_named() -> None:
    found: list[Surroundings] = []

    def note(around: Surroundings) -> ErrandKind:
        found.append(around)
        return ErrandKind(around)

    for namespace, gates in ((None, 0), ("volsync-system", 1)):
        registry, metrics = new_metrics()
        options = Options(replication=ReplicationOptions(volsync_namespace=namespace))
        Operator(client(), cluster="c", options=options, registry=registry, metrics=metrics, kinds=(*KINDS, note))
        assert len(found[-1].beside_volsync) == gates


@pytest.mark.parametrize("enabled", [False, True])
def test_the_kinds_of_replication_are_reconciled_only_where_that_is_on(enabled: bool) -> None:
    kinds = kinds_for(Options(replication=ReplicationOptions(enabled=enabled)))
    assert kinds == ((*KINDS, *REPLICATION_KINDS) if enabled else KINDS)


def test_an_operator_that_fills_no_claims_for_restores_registers_nothing_and_hands_nothing_over() -> None:
    options = Options(restore_population=False)
    kinds = kinds_for(options)
    assert set(kinds) < set(KINDS)
    registry, metrics = new_metrics()
    operator = Operator(client(), cluster="c", options=options, kinds=kinds, registry=registry, metrics=metrics)
    watched = {each.resource.group_resource for each in operator.cluster.informers()}
    assert "volumepopulators.populator.storage.k8s.io" not in watched
    assert "restore-populator" not in operator.manager.notes()


@pytest.mark.parametrize("enabled", [False, True])
def test_backups_of_hosted_control_planes_are_followed_only_where_that_is_on(enabled: bool) -> None:
    options = Options(hosted_control_planes=HostedControlPlaneOptions(enabled=enabled, velero_namespace="adp"))
    kinds = kinds_for(options)
    assert kinds == ((*KINDS, follow_backups) if enabled else KINDS)
    registry, metrics = new_metrics()
    operator = Operator(client(), cluster="c", options=options, registry=registry, metrics=metrics)
    watched = {each.resource.group_resource for each in operator.cluster.informers()}
    assert ("datauploads.velero.io" in watched) is enabled
    assert list(operator.manager.notes()) == [*OF_RESTORES, *(["hosted-control-plane"] if enabled else [])]


def test_a_stall_is_one_after_as_long_as_is_said() -> None:
    found: list[HostedControlPlaneKind] = []

    def note(around: Surroundings) -> Any:
        made = follow_backups(around)
        assert isinstance(made, HostedControlPlaneKind)
        found.append(made)
        return made

    registry, metrics = new_metrics()
    options = Options(hosted_control_planes=HostedControlPlaneOptions(stalled_after=timedelta(minutes=25)))
    Operator(client(), cluster="c", options=options, registry=registry, metrics=metrics, kinds=(note,))
    facts = found[0].gather(backup(), known=UNKNOWN, now=at(1))
    assert facts.pace == replace(PATIENT, stall=timedelta(minutes=25))
