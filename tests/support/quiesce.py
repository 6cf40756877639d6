"""A disk that is copied while an application writes to it, and a `kubectl` that stands for the cluster around the two."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from databases import find_databases
from support.programs import Program, Undertaker

NOBODY = 65534
KUBECTL = """#!/bin/sh
# `exec` runs the command here. The storage copies the disk as it is on the device, as soon as it is triggered.
log() { echo "$*" >>"$PLACE/log"; }
case "$*" in
*" get pvc "*) name="${*##*/}"; cat "$PLACE/${name%\\}}" 2>/dev/null || true ;;
*" annotate pvc "*)
    log copy
    eval "$LOOK" >"$PLACE/before"
    [ -z "$ATOMIC" ] || fsfreeze --freeze "$DISK"
    cp --sparse=always "$IMAGE" "$PLACE/copy"
    [ -z "$ATOMIC" ] || fsfreeze --unfreeze "$DISK"
    sleep 0.3
    eval "$LOOK" >"$PLACE/after"
    value="$6"
    printf %s "${value#*=}" >"$PLACE/latest-copy-trigger" ;;
*" exec "*)
    while [ "$1" != -- ]; do shift; done
    shift
    log "$1"
    exec "$@" ;;
*) shift 2; log "$1 $2" ;;
esac
"""


def find_database(name: str) -> Path:
    """Return where its programs are. Skips the test without them, or fails it where they are required."""
    found = find_databases(os.environ).get(name)
    if found is None:
        _miss(f"no {name}: run `make databases`")
    assert found is not None
    return found


@dataclass(frozen=True)
class Disk:
    """A file system of its own, which is seen by those who are started `inside`: nobody else holds it, and it goes with them."""

    image: Path
    mount: Path
    inside: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.mount)

    def read(self, name: str) -> str:
        """Return a file's text."""
        return self.run("cat", str(self.mount / name)).stdout

    def run(
        self, *command: str | Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command that sees the disk."""
        done = subprocess.run(
            [*self.inside, *command], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done


@contextmanager
def mounted(image: Path, mount: Path) -> Iterator[Disk]:
    """Mount a disk as long as the block runs."""
    mount.mkdir()
    mount.chmod(0o777)
    # With a mount namespace of its own no container that begins meanwhile keeps a copy of the mount, and a test that is killed leaves none.
    mount_it = 'mount -o loop "$0" "$1"; chmod 777 "$1"; echo mounted; exec sleep infinity'
    holder = subprocess.Popen(
        [
            "setpriv",
            "--pdeathsig=KILL",
            "unshare",
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            mount_it,
            image,
            mount,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        yield Disk(image, mount, ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"))
    finally:
        holder.kill()
        holder.communicate(timeout=30)


@contextmanager
def new_disk(place: Path, *, megabytes: int) -> Iterator[Disk]:
    """Make and mount a disk. Skips the test where that is not allowed, or fails it where the databases' tests are required."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or shutil.which("mkfs.ext4") is None:
        _miss("disks are mounted by root, with loop devices and mkfs.ext4")
    image = place / "image"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=60)
    with mounted(image, place / "disk") as disk:
        yield disk


@dataclass(frozen=True)
class Quieting:
    """What a recipe did: the commands, and what the application had written before and after the copy."""

    commands: list[str]
    before: str
    after: str
    copy: Path


def quieten(
    place: Path,
    script: str,
    *,
    scripts: Mapping[str, str],
    disk: Disk,
    look: str,
    atomic: bool,
    environment: Mapping[str, str],
) -> Quieting:
    """Run a recipe as a user does, with its scripts beside it. `look` is a shell command that tells what was written."""
    for name, text in {"kubectl": KUBECTL, "recipe": f"set -e\n{script}", **scripts}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    (place / "latest-copy-status").write_text("WaitingForTrigger")
    said = subprocess.run(
        [*disk.inside, "sh", "-c", 'cd "$PLACE" && exec sh ./recipe'],
        env={
            **environment,
            "PATH": f"{place}:{environment.get('PATH', os.environ['PATH'])}",
            "PLACE": str(place),
            "DISK": str(disk),
            "IMAGE": str(disk.image),
            "LOOK": look,
            "ATOMIC": "yes" if atomic else "",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    before, after = ((place / name).read_text() for name in ("before", "after"))
    return Quieting((place / "log").read_text().splitlines(), before, after, place / "copy")


@contextmanager
def running(name: str, arguments: list[str], place: Path, *, is_ready: Callable[[], bool]) -> Iterator[None]:
    """Run a server until the block ends."""
    undertaker = Undertaker(place / f"{name}-scratch")
    program = Program(name, arguments, log=place / f"{name}.log", undertaker=undertaker)
    try:
        program.start()
        program.wait_until(is_ready, seconds=60)
        yield
    finally:
        program.stop()
        undertaker.close()


@contextmanager
def writing(place: Path, step: str, *, disk: Disk, environment: Mapping[str, str]) -> Iterator[Callable[[], int]]:
    """Run a shell command with a growing `$n` again and again while the block runs; the value tells how often it was done by now."""
    done = place / "written"
    loop = f'n=0; while :; do {step}; n=$((n+1)); echo $n >"{done}.new"; mv "{done}.new" "{done}"; done'
    writer = subprocess.Popen([*disk.inside, "sh", "-ec", loop], env=dict(environment), start_new_session=True)

    def written() -> int:
        return int(done.read_text()) if done.exists() else 0

    try:
        wait_until(lambda: written() > 2)
        yield written
    finally:
        os.killpg(writer.pid, signal.SIGKILL)
        writer.wait(timeout=30)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def _miss(cure: str) -> None:
    if os.environ.get("DATAMOVER_REQUIRE_DATABASES") == "1":
        pytest.fail(cure, pytrace=False)
    pytest.skip(cure)
