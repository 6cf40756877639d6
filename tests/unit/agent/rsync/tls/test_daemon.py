"""The daemon's configuration, and its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rsync.tls import daemon
from datamover.agent.rsync.tls.daemon import Identity

EVERYTHING = (1 << 41) - 1


def configured(identity: Identity) -> str:
    return daemon.configure(data="/data", control="/tmp/c", log="/tmp/l", lock="/tmp/k", identity=identity)


@pytest.mark.parametrize(
    ("identity", "lines"),
    [
        (Identity(0, EVERYTHING), ["uid = 0", "gid = *"]),
        (Identity(0, 1 << 0 | 1 << 6), ["uid = 0", "gid = *"]),
        (Identity(65534, 0), []),
    ],
)
def test_root_stays_root_and_others_stay_who_they_are(identity: Identity, lines: list[str]) -> None:
    text = configured(identity)
    assert [line for line in text.splitlines() if line.startswith(("uid", "gid"))] == lines
    assert text.count("munge symlinks = yes") == 2
    assert "numeric ids = yes" in text
    assert [line for line in text.splitlines() if line.startswith("[")] == ["[data]", "[control]"]


@pytest.mark.parametrize("capabilities", [0, 1 << 6, 1 << 0])
def test_root_without_rights_is_refused(capabilities: int) -> None:
    with pytest.raises(Failure, match="privileged-movers"):
        configured(Identity(0, capabilities))


def test_a_daemon_that_still_runs_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert daemon.wait_gone(str(lock), seconds=0)
    script = "import fcntl,os,sys; h=os.open(sys.argv[1], os.O_RDWR); fcntl.lockf(h, fcntl.LOCK_EX, 4, 4); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert not daemon.wait_gone(str(lock), seconds=0.1)
    holder.communicate()
    assert daemon.wait_gone(str(lock), seconds=5)
    assert os.path.exists(lock)
