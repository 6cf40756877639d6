"""What is loaded at the start, and what only when something is asked."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from datamover.velero.actions import Call, Executed, Progress
from datamover.velero.deferred import Deferred

START = """
import sys
import datamover.velero.main, datamover.velero.housekeeping, datamover.velero.parent, datamover.velero.server
from datamover.velero.assembly import assemble
from datamover.velero.logs import Log
from datamover.velero.settings import Settings
found = assemble(Settings(command="x"), Log("info"))
assert len(found.names()) == 3
print([each for each in sys.modules if each.startswith(("datamover.verdicts", "datamover.survey", "kubekit.client", "aiohttp", "yaml"))])
"""
IN_A_POD = """
import sys
import kubekit.client.connection, kubekit.client.config
print([each for each in sys.modules if each in ("yaml", "kubekit.client.kubeconfig")])
"""


def printed(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    ).stdout


def test_a_backup_without_a_control_plane_loads_neither_the_verdict_nor_the_way_to_the_api_server():
    assert printed(START) == "[]\n"


def test_in_a_pod_no_reader_of_kubeconfigs_is_loaded():
    assert printed(IN_A_POD) == "[]\n"


class Action:
    """In the place of what is loaded."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        self.asked.append((item, backup, call))
        return Executed(item=item, operation="o")

    def progress(self, operation: str, backup: bytes, call: Call, /) -> Progress:
        self.asked.append((operation, backup, call))
        return Progress(completed=True, description="d")

    def cancel(self, operation: str, backup: bytes, call: Call, /) -> None:
        self.asked.append((operation, backup, call))


def test_it_is_loaded_once_however_many_ask_and_gets_what_was_asked():
    loaded: list[Action] = []

    def load() -> Action:
        loaded.append(Action())
        return loaded[-1]

    deferred, call = Deferred(load), Call()
    assert deferred.selector.resources == ("hostedcontrolplanes.hypershift.openshift.io",)
    assert not loaded
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: deferred.execute(b"i", b"b", call), range(32)))
    (action,) = loaded
    assert action.asked == [(b"i", b"b", call)] * 32
    action.asked.clear()
    assert deferred.operations.progress("o", b"b", call).description == "d"
    deferred.operations.cancel("p", b"c", call)
    assert action.asked == [("o", b"b", call), ("p", b"c", call)]
