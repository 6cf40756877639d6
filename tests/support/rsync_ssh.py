"""Both sides of rsync over ssh on loopback: movers of ours, and stock ssh, sshd and rsync in the place of either."""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import MINIMAL, Ended, Running
from support.engines import find_engine, path_with


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_keys(folder: Path) -> Path:
    """Make a folder as the main Secret has it. The keys are shorter than the operator's, which take seconds."""
    folder.mkdir()
    for name in ("source", "destination"):
        subprocess.run(
            [find_engine("ssh-keygen"), "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f", folder / name],
            check=True,
        )
    return folder


@dataclass
class Side:
    """The container of one mover: data/ or dev/block, keys/ and tmp/ in a directory."""

    root: Path
    direction: str
    keys: Path
    port: int
    variables: dict[str, str] = field(default_factory=dict)
    engine: str = "rsync"
    wrapper: tuple[str, ...] = ()
    """A program and arguments that start the mover in another way, to take rights from it."""

    def __post_init__(self) -> None:
        for name in ("data", "dev", "keys", "tmp"):
            (self.root / name).mkdir(parents=True)
        if self.engine == "rsync-tls":
            shutil.copy(self.keys / "psk.txt", self.root / "keys" / "psk.txt")
            return
        wanted = {
            transfer.SOURCE_DIRECTION: ("source", "source.pub", "destination.pub"),
            transfer.DESTINATION_DIRECTION: ("destination", "destination.pub", "source.pub"),
        }[self.direction]
        for name in wanted:
            shutil.copy(self.keys / name, self.root / "keys" / name)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def block(self) -> Path:
        return self.root / "dev" / "block"

    @contextlib.contextmanager
    def start(self, **changes: str | None) -> Iterator[Running]:
        """Start the mover; it is killed at the end of the block if it still runs."""
        message = self.root / "dev" / "termination-log"
        message.write_bytes(b"")
        base = {name: os.environ[name] for name in MINIMAL if name in os.environ}
        environment: dict[str, str | None] = {
            **base,
            "PATH": path_with("rsync", "ssh", "sshd", "stunnel"),
            "PYTHONPATH": str(Path(transfer.__file__).parents[2]),
            "DATAMOVER_ROOT": str(self.root),
            "DATAMOVER_RUN_ID": "ssh-1",
            "DIRECTION": self.direction,
            **(
                {"DESTINATION_ADDRESS": "127.0.0.1", "DESTINATION_PORT": str(self.port)}
                if self.direction == transfer.SOURCE_DIRECTION
                else {"LISTEN_PORT": str(self.port)}
            ),
            **self.variables,
            **changes,
        }
        process = subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", "datamover.agent.main", self.engine],
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running = Running(process, message)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
            running.wait()

    def run(self, *, timeout: float = 60, **changes: str | None) -> Ended:
        """Run the mover to its end."""
        with self.start(**changes) as running:
            return running.wait(timeout=timeout)

    def wait_listening(self, running: Running, *, seconds: float = 20) -> None:
        """Wait until the destination's sshd takes connections."""
        wait_port(self.port, alive=lambda: running.process.poll() is None, seconds=seconds)


def wait_port(port: int, *, alive, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


CAPABILITIES = ("audit_write", "chown", "dac_override", "fowner", "setgid", "setuid", "sys_chroot")


def as_in_the_image(folder: Path) -> tuple[str, ...]:
    """Return what starts a mover with the rights that its Job gives it, where root's shell is the login program. Skips where that cannot be."""
    main = Path(transfer.__file__).parents[1] / "agent" / "main.py"
    shell = folder / "datamover-agent-login"
    shell.write_text(f"#!{sys.executable}\n{main.read_text()}")
    shell.chmod(0o755)
    lines = Path("/etc/passwd").read_text().splitlines()
    passwd = folder / "passwd"
    passwd.write_text(
        "".join(f"{line.rpartition(':')[0]}:{shell}\n" if line.startswith("root:") else f"{line}\n" for line in lines)
    )
    passwd.chmod(0o644)
    kept = ",".join(f"+{name}" for name in CAPABILITIES)
    script = f"mount --bind '{passwd}' /etc/passwd && exec setpriv --no-new-privs --bounding-set -all,{kept} \"$@\""
    wrapper = ("unshare", "--mount", "/bin/sh", "-c", script, "sh")
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr}")
    return wrapper


def with_mount(options: str, target: Path) -> tuple[str, ...]:
    """Return what starts a mover that alone sees a file system in memory, with these options, at `target`. Skips where that cannot be."""
    script = f"mount -t tmpfs -o {options} none '{target}' && exec \"$@\""
    wrapper = ("unshare", "--mount", "/bin/sh", "-c", script, "sh")
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr}")
    return wrapper


@dataclass
class Client:
    """Stock ssh and rsync that have a source's keys."""

    keys: Path
    port: int
    folder: Path

    def options(self) -> list[str]:
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} " + (self.keys / "destination.pub").read_text())
        return [
            "-F", "/dev/null", "-p", str(self.port), "-i", str(self.keys / "source"), "-o", f"UserKnownHostsFile={known}",
            "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10",
        ]  # fmt: skip

    def ssh(self, *command: str, options: tuple[str, ...] = (), text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(find_engine("ssh")), *self.options(), *options, "root@127.0.0.1", *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def rsync(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        shell = shlex.join([str(find_engine("ssh")), *self.options()])
        return subprocess.run(
            [str(find_engine("rsync")), "-e", shell, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


SCRIPT = """\
#!/bin/sh
# a destination as one of its users would write it: rsync into one folder, and an order to end
cd '{data}' || exit 9
PATH='{path}'
case "$SSH_ORIGINAL_COMMAND" in
  "rsync --server"*) exec $SSH_ORIGINAL_COMMAND ;;
  "shutdown "*) echo "$SSH_ORIGINAL_COMMAND" > '{folder}/ordered' ;;
  *) exit 1 ;;
esac
"""


@contextlib.contextmanager
def stock_destination(folder: Path, keys: Path, *, data: Path, script: str = SCRIPT) -> Iterator[int]:
    """Run a stock sshd with a forced command; give its port."""
    port = free_port()
    forced = folder / "forced.sh"
    forced.write_text(script.format(data=data, folder=folder, path=path_with("rsync")))
    forced.chmod(0o700)
    authorized = folder / "authorized_keys"
    authorized.write_text(f'command="{forced}",restrict ' + (keys / "source.pub").read_text())
    configuration = folder / "sshd_config"
    configuration.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys / 'destination'}\nAuthorizedKeysFile {authorized}\nPidFile none\nStrictModes no\n"
        "PermitRootLogin prohibit-password\nUsePAM no\n"
    )
    sshd = str(find_engine("sshd"))
    process = subprocess.Popen(
        [sshd, "-D", "-e", "-f", str(configuration)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_port(port, alive=lambda: process.poll() is None)
        yield port
    finally:
        process.terminate()
        process.wait(10)
