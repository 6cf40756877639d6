"""A stage for what goes wrong: one embedded world and one S3 server for many acts, each in a namespace and a bucket of its own.

Everything is real but the cluster's hardware. Every act proves that nothing was lost, whatever happened in it: the source is what it
was (names, contents, modes, times), what lay in the bucket lies there byte for byte, and when the DataMover goes nothing of it stays.
Every failure is held against law L10 (reason, sentence, condition, event, metric) and law L8 (no key in anything that can be read).
"""

import asyncio
import hashlib
import os
import re
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover, Run
from datamover.cli.embedded.world import WorldOptions, start_world
from datamover.cli.options import Options
from kubekit.client.errors import ApiError
from kubekit.words.batch import JOBS
from kubekit.words.core import EVENTS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from support.s3 import S3Server, run_server
from support.scenario import AGENT, TREE, Cluster, create_classes, ready_reason

SECRET = "storage-credentials"
SOURCE = "app-data"
PRECIOUS = {"theirs/photo.jpg": b"\xff\xd8 precious", "2020-01-01-000000/dump.sql": b"the last good copy\n"}
"""What somebody else keeps in each bucket."""

_MANY = 90

IMPATIENT = "example.com/mover/impatient"
"""The mover, but it gives an unreachable server three seconds."""
POWERLESS = "example.com/mover/powerless"
"""The mover as a user who may not read everything: root without its rights to pass over modes."""
_WITHOUT = "-dac_override,-dac_read_search"
_NOW = ("env", "DATAMOVER_OUTAGE_LIMIT=3")
IMAGES = {
    names.DEFAULT_IMAGE_REPOSITORY: AGENT,
    IMPATIENT: (*_NOW, *AGENT),
    POWERLESS: (
        ("setpriv", f"--bounding-set={_WITHOUT}", f"--inh-caps={_WITHOUT}", *AGENT) if os.geteuid() == 0 else AGENT
    ),
}

Fingerprint = Mapping[bytes, tuple[Any, ...]]


def fingerprint(root: Path) -> Fingerprint:
    """Return everything that a backup must not change about a tree: type, mode, owner, size, times, content, target."""
    found: dict[bytes, tuple[Any, ...]] = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for path in (folder, *(os.path.join(folder, name) for name in (*folders, *files))):
            status = os.lstat(path)
            content: Any = None
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 26:
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[os.path.relpath(path, base)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_size,
                status.st_nlink,
                status.st_mtime_ns,
                content,
            )
    return found


class Stage:
    """One world, one server."""

    def __init__(self, cluster: Cluster, s3: S3Server) -> None:
        self.cluster = cluster
        self.s3 = s3
        self._buckets = {shared: _buckets(shared=shared) for shared in (True, False)}

    @asynccontextmanager
    async def act(
        self, title: str, files: Mapping[str, bytes] | None = None, *, shared: bool = True
    ) -> AsyncIterator["Act"]:
        """Give a namespace, a bucket and a bound source; leave nothing behind.

        In a `shared` bucket somebody else keeps precious things, which no mirror would bear; others are empty.
        """
        bucket = self._buckets[shared].pop(0)
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-")
        name = f"{slug}-{bucket}"
        await self.cluster.client.create(NAMESPACES, {"metadata": {"name": name}})
        cluster = Cluster(
            client=self.cluster.client,
            node=self.cluster.node,
            registry=self.cluster.registry,
            namespace=name,
            place=self.cluster.place / name,
        )
        act = Act(cluster, self.s3, bucket=bucket)
        act.source = await act.create_volume(SOURCE, files)
        yield act
        await act.leave()


class Act:
    """One row of a table, with what it needs and what it must prove."""

    source: Path

    def __init__(self, cluster: Cluster, s3: S3Server, *, bucket: str) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.namespace = cluster.namespace
        self.s3 = s3
        self.bucket = bucket
        self._before: tuple[Fingerprint, dict[str, bytes]] | None = None

    # --- what a row arranges ---------------------------------------------------------------------------------------

    def put(self, objects: Mapping[str, str | bytes]) -> None:
        """Lay objects into the bucket, as somebody else with a key would."""
        self.s3.put(objects, bucket=self.bucket)

    def objects(self, *, records: bool = True) -> dict[str, bytes]:
        """Return what is in the bucket."""
        return self.s3.objects(bucket=self.bucket, records=records)

    def secret(self, **changes: str) -> dict[str, str]:
        """Return the documents' Secret for the bucket."""
        return self.s3.secret(**{"BUCKET_NAME": self.bucket, **changes})

    async def create_secret(self, without: str = "", **changes: str) -> None:
        """Create the Secret, changed, without one of its keys."""
        values = {key: value for key, value in self.secret(**changes).items() if key != without}
        await self.cluster.create_secret(SECRET, values)

    async def create_volume(self, name: str, files: Mapping[str, bytes] | None = None) -> Path:
        """Make a claim over a directory and wait until it is bound."""
        directory = await self.cluster.create_volume(name, TREE if files is None else files)

        async def bound() -> bool:
            claim = await self.client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=self.namespace)
            return claim.status is not None and claim.status.phase == "Bound"

        await self.cluster.wait_for(bound)
        return directory

    async def start(self, name: str = "mover", **spec: Any) -> DataMover:
        """Remember how things are and create a DataMover: a timestamped copy, unless told otherwise."""
        self.remember()
        wanted = {"addTimestampPrefix": True, **spec}
        return await self.cluster.create_mover(
            name, **{key: value for key, value in wanted.items() if value is not ...}
        )

    def remember(self) -> None:
        """What is there now must be there afterwards."""
        self._before = (fingerprint(self.source), self.objects())

    # --- what a row expects ----------------------------------------------------------------------------------------

    async def expect_refused(self, spec: Mapping[str, Any], *words: str, **fields: Any) -> None:
        """The API server refuses the object, says so in these words, and nothing has happened."""
        self.remember()
        with pytest.raises(ApiError) as refused:
            await self.cluster.create(DATA_MOVERS, fields.pop("name", "mover"), spec=dict(spec), **fields)
        assert refused.value.status in (400, 422), refused.value
        missing = [word for word in words if word not in refused.value.message]
        assert not missing, f"{missing} not in: {refused.value.message}"
        assert await self.client.list(DATA_MOVERS, namespace=self.namespace) == ()
        await self._prove(touched=False)

    async def _expect_children(self, kinds: tuple[str, ...], *, seconds: float) -> None:
        """Storage of a claim comes a moment after it."""
        end = time.monotonic() + seconds
        while sorted(children := await self.cluster.children()) != sorted(kinds) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert sorted(children) == sorted(kinds), children

    async def expect_blocked(
        self, reason: str, *words: str, name: str = "mover", left: tuple[str, ...] = (), seconds: float = 30
    ) -> DataMover:
        """The run waits with this reason and these words; of its children there are these kinds."""
        mover = await self.cluster.wait_reason(name, reason, seconds=seconds)
        assert _says(mover, "Stalled") == "True", mover.status
        assert _says(mover, "Failed") == "False", mover.status
        _expect_words(mover, words)
        await self._expect_children(left, seconds=seconds)
        await self._expect_told(name, reason)
        await self._prove(touched=False)
        return mover

    async def expect_failed(
        self, reason: str, *words: str, name: str = "mover", touched: bool = False, seconds: float = 40
    ) -> DataMover:
        """The run has failed with this reason and these words, and keeps its copy. `touched`: files may have arrived.

        Records of ours may be there in any case: a run announces itself before its first byte.
        """
        mover = await self.cluster.wait_phase(name, "Failed", "Completed", seconds=seconds)
        assert ready_reason(mover) == reason, mover.status and mover.status.message
        assert _says(mover, "Failed") == _says(mover, "Stalled") == "True", mover.status
        assert _says(mover, "Complete") == "False", mover.status
        _expect_words(mover, (*words, names.RETRY_ANNOTATION))
        run = run_of(mover)
        children = await self.cluster.children()
        assert children["Job"] == [run.job_name]
        copied = run.copy_method != "Direct"
        assert mover.status is not None
        assert children.get("PersistentVolumeClaim") == ([mover.status.restored_pvc_name] if copied else None)
        assert len(children.get("PersistentVolume", ())) == copied
        await self._expect_told(name, reason)
        await self._prove(touched=touched, records=True)
        return mover

    async def expect_completed(self, *, name: str = "mover", seconds: float = 40) -> DataMover:
        """The run is complete: what looks bad is none, or was mended."""
        mover = await self.cluster.wait_phase(name, "Failed", "Completed", seconds=seconds)
        assert (mover.status and mover.status.phase) == "Completed", mover.status and mover.status.message
        return mover

    async def copied(self, name: str = "mover") -> dict[str, bytes]:
        """Return what the run wrote into its timestamp folder."""
        mover = await self.expect_completed(name=name)
        return self.s3.objects(run_of(mover).timestamp, bucket=self.bucket)

    async def leave(self) -> None:
        """Delete what the act created: nothing of it stays, and nothing else goes."""
        for mover in await self.client.list(DATA_MOVERS, namespace=self.namespace):
            await self.client.delete(DATA_MOVERS, mover.metadata.name, namespace=self.namespace)

        async def gone() -> bool:
            return not await self.cluster.children()

        await self.cluster.wait_for(gone, seconds=40)
        if self._before is not None:
            await self._prove(touched=True)

    async def _prove(self, *, touched: bool, records: bool = False) -> None:
        assert self._before is not None, "the row has not begun"
        source, objects = self._before
        assert fingerprint(self.source) == source, "the source has changed"
        now = self.objects()
        assert {key: now.get(key) for key in objects} == objects, "something in the bucket has changed"
        if not touched:
            new = {key for key in now.keys() - objects.keys() if not (records and key.startswith(".datamover/"))}
            assert not new, f"something was written to the bucket: {sorted(new)}"
        assert self.s3.secret_key not in await self._everything(), "a secret can be read (law L8)"

    async def _everything(self) -> str:
        """Return all that people without access to Secrets can read in the namespace."""
        paths = [
            _path(resource, self.namespace) for resource in (DATA_MOVERS, JOBS, PODS, PERSISTENT_VOLUME_CLAIMS, EVENTS)
        ]
        return "".join([str(await self.client.request_json("GET", path)) for path in paths]) + self.cluster.metrics()

    async def _expect_told(self, name: str, reason: str) -> None:
        """An event and a metric say the same as the status (law L10)."""
        end = time.monotonic() + 5
        while ("Warning", reason) not in await self.cluster.events(name):  # events are written behind
            assert time.monotonic() < end, f"no event says {reason}: {await self.cluster.events(name)}"
            await asyncio.sleep(0.05)
        pattern = re.compile(
            rf'^datamover_errors_total\{{error_type="{reason}",namespace="{self.namespace}",phase="\w*"\}} [1-9]',
            re.MULTILINE,
        )
        assert pattern.search(self.cluster.metrics()), f"no metric counts {reason}"


def run_of(mover: DataMover) -> Run:
    """Return the run."""
    assert mover.status is not None
    assert mover.status.run is not None
    return mover.status.run


def env(**variables: str) -> list[dict[str, str]]:
    """Return variables as additionalEnv has them."""
    return [{"name": name, "value": value} for name, value in variables.items()]


@asynccontextmanager
async def open_stage(place: Path) -> AsyncGenerator[Stage]:
    """Start the world and the server. At the end no key of the server may be on disk (law L8)."""
    _fill(place / "rclone-server" / "buckets")
    for s3 in run_server("rclone", place):
        options = WorldOptions(
            state=place / "state", operator=Options(progress_interval=0.5), job_backoff=0.2, images=IMAGES
        )
        async with start_world(options) as world:
            await create_classes(world.client)
            cluster = Cluster(
                client=world.client, node=world.node, registry=world.registry, namespace="default", place=place / "acts"
            )
            yield Stage(cluster, s3)
        assert not holding(place / "state", s3.secret_key), "a key was written to disk (law L8)"


def _buckets(*, shared: bool) -> list[str]:
    return [f"{'shared' if shared else 'bare'}-{number:02}" for number in range(_MANY)]


def _fill(directory: Path) -> None:
    """Make all buckets before the server starts: it remembers what it has listed once, and asks nobody again for minutes."""
    for shared in (True, False):
        for bucket in _buckets(shared=shared):
            (directory / bucket).mkdir(parents=True)
            for key, content in PRECIOUS.items() if shared else ():
                (directory / bucket / key).parent.mkdir()
                (directory / bucket / key).write_bytes(content)


def holding(root: Path, text: str) -> list[Path]:
    """Return the files below a directory that hold some text."""
    found: list[Path] = []
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes():
            found.append(path)
    return found


def _says(mover: DataMover, type_: str) -> str:
    condition = mover.status.condition(type_) if mover.status else None
    return condition.status if condition else "absent"


def _expect_words(mover: DataMover, words: tuple[str, ...]) -> None:
    message = (mover.status and mover.status.message) or ""
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


def _path(resource: Resource[Any], namespace: str) -> str:
    return resource.path(namespace=namespace)
