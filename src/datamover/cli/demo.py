"""`datamover demo`: the main jobs, shown on this machine with a real S3 server (`rclone serve s3`), and a failure on purpose."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from rich.console import Console
from rich.rule import Rule
from rich.tree import Tree

from datamover.api import amounts
from datamover.cli import demo_disk, demo_replication, demo_restore
from datamover.cli.demo_server import BUCKET, DemoError, Server, serve_s3
from datamover.cli.display import choose_display, print_summary, size
from datamover.cli.embedded.restic import ResticMissing, provide_restic
from datamover.cli.embedded.state import WorldError
from datamover.cli.embedded.world import EmbeddedWorld
from datamover.cli.exits import Exit
from datamover.cli.interrupts import Interrupts
from datamover.cli.manifests import Source, read_manifests
from datamover.cli.options import StartError
from datamover.cli.outcome import explain
from datamover.cli.run import RunOptions, RunResult, run
from datamover.cli.terminal import open_console, say
from datamover.cli.volumes import Volume
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS

REQUIRED: Final = "DATAMOVER_REQUIRE_ENGINES"
"""Set to 1, it makes an act that is skipped a failure, for CI."""
_MANIFEST: Final = """\
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata:
  name: nightly-backup
spec:
  sourcePvc: "production-data"
  secretName: "backup-credentials"
  deletePvcAfterBackup: true
  addTimestampPrefix: true
"""
"""The nightly-backup example of the cleanup document, as printed."""
_METRICS: Final = (
    "datamover_data_sync_operations_total",
    "datamover_cleanup_operations_total",
    "datamover_transferred_bytes_total",
    "datamover_transferred_files_total",
    "datamover_current_phase",
)


class Interrupted(Exception):  # noqa: N818 - no error
    """Ctrl-C, or SIGTERM."""


def run_demo(*, keep: Path | None) -> int:
    """Run the demo and return the exit code: 0 when everything went as it should, the failure on purpose included.

    Ctrl-C and SIGTERM end it at once, whatever it is at: what it started is stopped, its temporary directory removed, and 130 returned.
    """
    console = open_console()
    interrupts = Interrupts()
    try:
        with interrupts:
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                return _play(console, keep.resolve(), interrupts)
            with _temporary_directory(interrupts) as place:
                return _play(console, place, interrupts)
    except (KeyboardInterrupt, Interrupted):
        say(console, "interrupted; nothing is left running" + ("" if keep else ", nothing is kept"))
        return Exit.INTERRUPTED
    except (DemoError, WorldError, StartError, OSError) as error:
        say(console, f"datamover demo: {error}", style="red")
        return 1


@contextmanager
def _temporary_directory(interrupts: Interrupts) -> Generator[Path]:
    with interrupts.held():
        place = Path(tempfile.mkdtemp(prefix="datamover-demo-"))
    try:
        yield place
    finally:
        with interrupts.held():
            shutil.rmtree(place)


def _play(console: Console, place: Path, interrupts: Interrupts) -> int:
    begun = time.monotonic()
    volume = place / "production-data"
    _title(console, "1. A volume, and a real S3 server on this machine")
    count = make_volume(volume)
    say(console, f"{count} files with odd names, modes, links and empty folders in {volume}")
    with serve_s3(place, interrupts) as server:
        console.print(f"rclone serve s3 on 127.0.0.1:{server.port}, bucket {BUCKET}", highlight=False)
        _title(console, "2. The nightly backup of the documents")
        console.print(_MANIFEST, highlight=False)
        first = _run(console, place, server)
        _title(console, "3. The same after a change")
        change_volume(volume)
        console.print("a file changed, one added, one removed", highlight=False)
        second = _run(console, place, server)
        _title(console, "4. A wrong key, on purpose")
        failed = _run(console, place, server, secret="not-the-secret")  # noqa: S106 - wrong on purpose
        _title(console, "5. Replication: with restic to a directory and to S3, with rclone to S3, and back")
        replicated = _replicate(console, place, server)
        _title(console, "6. The disk of a virtual machine: a DataVolume that is filled and collected")
        filled = _fill(console, place)
        _title(console, "7. The nightly backup comes back, from bucket and key alone")
        restored = _restore(console, place, server)
    expected = (
        replicated
        and filled
        and restored
        and (first.code, second.code, failed.code) == (Exit.COMPLETED, Exit.COMPLETED, Exit.FAILED)
    )
    _title(
        console, f"{'All went as it should' if expected else 'Something went wrong'}, {time.monotonic() - begun:.0f} s"
    )
    return 0 if expected else 1


def _run(console: Console, place: Path, server: Server, *, secret: str | None = None) -> RunResult:
    manifests = place / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "nightly-backup.yaml").write_text(_MANIFEST)
    credentials = manifests / "backup-credentials.yaml"
    credentials.touch(mode=0o600)
    credentials.write_text(_secret_manifest(server, secret or server.secret))
    paths = tuple(str(path) for path in sorted(manifests.iterdir()))
    sources = read_manifests(paths, stdin=StringIO(), namespace="default")

    async def look(world: EmbeddedWorld) -> None:
        await _show_world(console, world)

    result = _go(console, place, sources, volumes={}, look=look)
    if result.code is Exit.COMPLETED:
        console.print(_bucket_tree(server.root / BUCKET))
    return result


def _go(
    console: Console,
    place: Path,
    sources: tuple[Source, ...],
    *,
    volumes: Mapping[str, Path],
    look: Callable[[EmbeddedWorld], Awaitable[None]] | None = None,
) -> RunResult:
    """Run these objects with the volume and further ones, show how that goes, and say why where it fails. Raises Interrupted."""
    given = {"production-data": place / "production-data", **volumes}
    options = RunOptions(
        sources=sources,
        volumes=tuple(Volume(name, path) for name, path in given.items()),
        namespace="default",
        state=place / "state",
        timeout=100,
        progress_interval=0.5,
    )
    result = asyncio.run(run(options, display=choose_display(console, quiet=False), on_end=look))
    if result.code is Exit.INTERRUPTED:
        raise Interrupted
    print_summary(console, result.movers)
    for mover in result.movers:
        if result.code is not Exit.COMPLETED and mover.status is not None:
            say(console, f"why: {explain(mover)}", style="red")
    return result


def _replicate(console: Console, place: Path, server: Server) -> bool:
    """Copy the volume with restic to two repositories and with rclone to a folder, and bring all back. Return whether all went as it should, being skipped
    included.
    """
    try:
        provide_restic(os.environ)
    except ResticMissing as error:
        needed = os.environ.get(REQUIRED) == "1"
        say(console, f"skipped: {error}", style="red" if needed else None)
        return not needed
    claims = demo_replication.restored_claims()
    volumes = {name: place / name for name in (demo_replication.REPOSITORY, *claims.values())}
    for path in volumes.values():
        path.mkdir(exist_ok=True)
    given = demo_replication.secrets_of(
        password=server.secret,
        server=f"http://127.0.0.1:{server.port}",
        bucket=BUCKET,
        keys={"AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret},
    )
    sources_of, destinations_of = demo_replication.sources_of, demo_replication.destinations_of
    for objects in (sources_of("production-data", bucket=BUCKET), destinations_of(claims, bucket=BUCKET)):
        text = StringIO(demo_replication.render([*given, *objects]))
        sources = read_manifests(("-",), stdin=text, namespace="default")
        if _go(console, place, sources, volumes=volumes).code is not Exit.COMPLETED:
            return False
    different = {
        name: demo_replication.find_differences(place / "production-data", place / name) for name in claims.values()
    }
    for name, paths in different.items():
        words = (
            f"differs from the volume in {', '.join(paths[:5])}"
            if paths
            else "is the volume, file by file, with modes and links"
        )
        say(console, f"{name} {words}", style="red" if paths else "green")
    return not any(different.values())


def _fill(console: Console, place: Path) -> bool:
    """Fill a DataVolume from a web server, let it be collected, and compare its disk with the image. Return whether all went as it should."""
    with demo_disk.serve_image(place) as (address, content):
        objects = demo_disk.objects_of(address, checksum=demo_disk.packed_checksum(place))
        text = StringIO(demo_replication.render(objects))
        result = _go(console, place, read_manifests(("-",), stdin=text, namespace="default"), volumes={})
    disk = next(iter(result.disks.values()), None)
    if result.code is not Exit.COMPLETED or disk is None:
        return False
    same = demo_disk.is_image(disk, content)
    taken = disk.stat().st_blocks * 512
    words = "is the image, byte by byte" if same else "differs from the image"
    say(
        console,
        f"the DataVolume is gone, its claim stays: the disk of {size(disk.stat().st_size)}, which takes {size(taken)}, {words}",
        style="green" if same else "red",
    )
    return same


def _restore(console: Console, place: Path, server: Server) -> bool:
    """Bring the newest point of the bucket into another volume, and compare it with the first one. Return whether all went as it should."""
    target = place / demo_restore.CLAIM
    target.mkdir(exist_ok=True)
    text = demo_restore.MANIFEST
    console.print(text, highlight=False)
    sources = read_manifests(
        ("-",), stdin=StringIO(f"{text}---\n{_secret_manifest(server, server.secret)}"), namespace="default"
    )
    if _go(console, place, sources, volumes={demo_restore.CLAIM: target}).code is not Exit.COMPLETED:
        return False
    different = demo_replication.find_differences(place / "production-data", target)
    words = (
        f"differs in {', '.join(different[:5])}" if different else "is the volume, file by file, with modes and links"
    )
    say(console, f"{demo_restore.CLAIM} {words}", style="red" if different else "green")
    return not different


async def _show_world(console: Console, world: EmbeddedWorld) -> None:
    claims = await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace="default")
    console.print(f"claims that are left: {', '.join(claim.metadata.name for claim in claims)}", highlight=False)
    lines = generate_latest(world.registry).decode().splitlines()
    for line in lines:
        if line.startswith(_METRICS):
            console.print(f"  {line}", style="dim", highlight=False, soft_wrap=True)


def make_volume(volume: Path) -> int:
    """Fill a directory with a few hundred files that are not all alike, and return how many there are."""
    for index in range(240):
        _write(
            volume / "app" / f"part-{index % 12:02}" / f"record-{index:04}.json",
            f'{{"id": {index}}}\n' * (1 + index % 40),
        )
    odd = (
        "naïve résumé.txt",
        "日本語.txt",
        "with space .txt",
        "quote'\"s.txt",
        "percent%20&amp.txt",
        "emoji-🚚.bin",
        "-dash",
        "ünïcode/ßtraße.md",
    )
    for index, name in enumerate(odd):
        _write(volume / "odd" / name, f"{name} {index}\n")
    _write(volume / "data" / "large.bin", "0123456789abcdef" * 200_000)
    _write(volume / "data" / "empty", "")
    _write(volume / "data" / "script.sh", "#!/bin/sh\necho hello\n")
    (volume / "data" / "script.sh").chmod(0o750)
    (volume / "logs" / "nothing-in-here").mkdir(parents=True, exist_ok=True)
    _link(volume / "data" / "latest", "large.bin")
    _link(volume / "data" / "broken-link", "does/not/exist")
    return sum(1 for path in volume.rglob("*") if path.is_file() or path.is_symlink())


def change_volume(volume: Path) -> None:
    """Change, add and remove a file."""
    _write(volume / "app" / "part-00" / "record-0000.json", '{"id": 0, "changed": true}\n')
    _write(volume / "app" / "part-00" / "record-new.json", '{"id": "new"}\n')
    (volume / "app" / "part-01" / "record-0001.json").unlink()


def _secret_manifest(server: Server, secret: str) -> str:
    return (
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: backup-credentials\nstringData:\n"
        f"  AWS_ACCESS_KEY_ID: {server.key}\n  AWS_SECRET_ACCESS_KEY: {secret}\n"
        f'  BUCKET_HOST: 127.0.0.1\n  BUCKET_PORT: "{server.port}"\n  BUCKET_NAME: {BUCKET}\n  TLS_HOST: "false"\n'
    )


def _bucket_tree(bucket: Path) -> Tree:
    tree = Tree(f"s3:{bucket.name}")
    for folder in sorted(path for path in bucket.iterdir() if path.is_dir()):
        branch = tree.add(f"{folder.name}/")
        for child in sorted(folder.iterdir()):
            files = [path for path in child.rglob("*") if path.is_file()] if child.is_dir() else [child]
            total = sum(path.stat().st_size for path in files)
            branch.add(
                f"{child.name}{'/' if child.is_dir() else ''}  {amounts.count(len(files), 'file')}, {size(total)}"
            )
    return tree


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(text, align="left", style="cyan"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _link(path: Path, target: str) -> None:
    if not path.is_symlink():
        path.symlink_to(target)
