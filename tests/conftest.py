"""Fixtures that several rooms of tests share.

`kubernetes` is a real control plane (etcd, API server, controller-manager), one for each test process, started when the first test
wants it; `namespace` is a fresh namespace on it. Tests that use them carry the marker `kubernetes` by themselves. Where the programs
cannot be had, they are skipped and the summary says the cure; with DATAMOVER_REQUIRE_KUBERNETES=1 they fail instead. The same goes
for the tests that want the faithful S3 server (support/s3.py), for those that want Velero (support/velero_stage.py), and for those that want
our plugin for it as one file (support/one_file.py).
"""

import logging
import os
import secrets
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from support.definitions import own_definitions, snapshot_definitions
from support.kubernetes import LASTING, ControlPlane, MissingPrograms, find_programs, lasting
from support.one_file import MISSING as MISSING_FILE
from support.s3 import MISSING as MISSING_SERVER
from support.velero_stage import MISSING as MISSING_VELERO
from support.widgets import WIDGET_DEFINITION

MISSING = "REAL API SERVER MISSING"

# how long an example takes is the machine's affair: one that is busy with other things would fail tests of what is right
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test calls sets up the logging of the whole process: later tests would miss what they look for."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane of this test process. Its garbage collector knows our kinds and those of snapshots from the first moment."""
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(f"{MISSING}: {missing}")
    plane = ControlPlane(programs, logs=tmp_path_factory.mktemp("kubernetes"))
    plane.start(manifests=[WIDGET_DEFINITION, *own_definitions(), *snapshot_definitions()])
    with lasting(plane):
        yield plane


CLEARED = (
    "/apis/datamover.a-cup-of.coffee/v1alpha1/namespaces/{}/datamovers",
    "/apis/batch/v1/namespaces/{}/jobs",
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/persistentvolumeclaims",
    "/apis/snapshot.storage.k8s.io/v1/namespaces/{}/volumesnapshots",
)
"""What a node or an operator of a later test on the same plane would otherwise go on working on."""


@pytest.fixture
def namespace(kubernetes: ControlPlane) -> Iterator[str]:
    """A fresh namespace on the real API server. Afterwards what works in it is deleted, not waited for.

    The namespace itself stays until the plane goes: its deletion asks for every kind there is, a fifth of a second of a core each time.
    """
    name = f"test-{secrets.token_hex(4)}"
    kubernetes.create_namespace(name)
    yield name
    if kubernetes.api_server.running:
        for path in CLEARED:
            kubernetes.call("DELETE", path.format(name), {"propagationPolicy": "Background"})


_ID_LIMIT = 300
"""Characters of a value that a test is called by. pytest hands a test's name to all that it starts, in their environment, which has its limit too."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    if isinstance(val, str | bytes) and len(val) > _ID_LIMIT:
        return f"{argname} of {len(val)}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kubernetes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kubernetes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, object]:
    """Have the control planes of this process wait while tests run that want none: several of them would take a tenth of the machine."""
    for plane in LASTING if item.get_closest_marker("kubernetes") else ():
        plane.resume()
    done = yield
    for plane in LASTING if nextitem is None or not nextitem.get_closest_marker("kubernetes") else ():
        plane.pause()
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, pytest.TestReport]:
    report: pytest.TestReport = yield
    plane = getattr(item, "funcargs", {}).get("kubernetes")
    if report.failed and isinstance(plane, ControlPlane):
        tails = "\n".join(f"--- {part.name}\n{part.tail(15)}" for part in plane.parts)
        report.sections.append(("kubernetes", f"logs: {plane.logs}\n{tails}"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for missing in (MISSING, MISSING_SERVER, MISSING_VELERO, MISSING_FILE):
        skipped = [report for report in terminalreporter.stats.get("skipped", ()) if missing in str(report.longrepr)]
        if skipped:
            _, _, reason = skipped[0].longrepr
            terminalreporter.section(f"{len(skipped)} tests SKIPPED", yellow=True, bold=True)
            terminalreporter.write_line(reason.removeprefix("Skipped: "))
