# ruff: noqa: PTH202, PTH103, PTH119, PTH120, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The records of runs at the destination: reading, writing and removing them, by small requests to one engine that keeps running.

Guarantees: everything here may be done twice; nothing longer than its limit is taken in (law L11).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from datamover.agent.errors import Failure
from datamover.agent.rclone import causes, classify, logs, process, records
from datamover.agent.rclone.control import Control, ControlError, Item
from datamover.agent.rclone.inventory import Inventory
from datamover.agent.rclone.listing import Row, Rows, md5_of
from datamover.agent.rclone.options import without_etags
from datamover.agent.rclone.settings import Store
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

_SLOWEST = 32_768
"""Bytes a second below which a connection counts as an outage."""
_CORRUPTED = "corrupted on transfer"
"""What the engine says when what arrived has another checksum than what was sent."""
_PARTS = 5 << 20
"""Bytes from which an object may go in parts, and so has an ETag that is no checksum on any store."""
_FETCH_SECONDS = 900.0
"""What bringing a manifest of millions of files here may take."""
FEW = 2_000
"""Objects of which a listing may be held in memory, here and in the engine."""
_FEW_ROOM = 64 << 20
"""Bytes that the engine may take meanwhile: many times what so many take."""
_FEW_ANSWER = 4 << 20
"""Bytes that an answer about so many has at the most, whatever their names."""
_FEW_SECONDS = 5.0
"""How long that may take. A listing of its own is given longer, and it is looked meanwhile whether the server is there."""
_TOO_LONG = "max transfer limit reached"
"""What the engine says when an object has more bytes than a request may move."""


class RecordStore(Inventory):
    """See the module. What is in a store's ETags is found out here, because records are what is written first."""

    def __init__(
        self,
        settings: Store,
        *,
        engine: process.Engine,
        environment: Mapping[str, str],
        scratch: str,
        show: Callable[[logs.Line], None],
        wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """See `Server`."""
        super().__init__(settings, engine=engine, environment=environment, scratch=scratch, show=show, wait=wait)
        self._learned: bool = False
        self._written: dict[str, int] = {}
        self.control = Control(engine, environment=environment, scratch=scratch, show=show)

    def close(self) -> None:
        """End what runs beside."""
        self.control.close()

    def names_below(self, path: str, *, deep: bool = False, patient: bool = True) -> list[str]:
        """Return the names below `path`, of folders too; without `deep` those of the first level."""
        return list(self.sizes_below(path, deep=deep, patient=patient))

    def sizes_below(self, path: str, *, deep: bool = False, patient: bool = True) -> dict[str, int]:
        """Return the same names, each with its size in bytes."""
        prefix = f"{self._settings.prefix}/" if self._settings.prefix else ""
        options = {"recurse": deep, "noModTime": True, "noMimeType": True}
        found = self._ask(
            "operations/list",
            {"fs": self._bucket, "remote": (prefix + path).rstrip("/"), "opt": options},
            patient=patient,
        )
        start = len(prefix + path)
        return {item.path[start:]: item.size for item in found}

    def list_few(self, path: str = "", *, sums: bool = False) -> Rows | None:
        """Return all below `path`, asked of the engine that runs: for what is likely to be `FEW` objects, because it is all in memory.

        None where anything is odd: an error, no answer within a few seconds, too much of it, a name that is not as people write names. A listing of its own knows what to
        do then, and what to say.
        """
        prefix = f"{self._settings.prefix}/" if self._settings.prefix else ""
        options: dict[str, Any] = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}
        if sums:  # types of checksums have them asked for, whatever else is said
            options |= {"showHash": True, "hashTypes": ["md5"]}
        if not self.control.works_in(self._environment):
            return None  # names are listed in another way meanwhile (see `learn_controls`)
        try:
            answer = self.control.ask(
                "operations/list",
                {"fs": self._bucket, "remote": (prefix + path).rstrip("/"), "opt": options},
                timeout=_FEW_SECONDS,
                limit=_FEW_ANSWER,
                room=_FEW_ROOM,  # a listing without an end would grow in it
            )
        except (ControlError, Unusable):
            return None
        if answer.error or answer.list is None:
            return None
        start = len(prefix + path)
        rows: list[Row] = []
        for item in answer.list:
            if (
                item.is_dir
                or not item.path.startswith(prefix + path)
                or not item.path.isprintable()
                or "\ufffd" in item.path
            ):
                return None
            md5 = md5_of((item.hashes or {}).get("md5", "")) if sums else None
            rows.append((item.path[start:].encode(), item.size, md5))
        return Rows(rows)

    def read(self, path: str) -> bytes:
        """Return a record that says one thing. Raises Failure when it is too long for one, or when it is no record but a web page."""
        try:
            with open(self.fetch(path, limit=outside.RECORD_LIMIT), "rb") as file:
                raw = file.read(outside.RECORD_LIMIT + 1)
        except Unusable as why:
            raise Failure(
                transfer.GUARD,
                transfer.REASON_RECORD_UNUSABLE,
                f"{self.remote(path)} is no record of datamover's: {why}. Nothing was moved or deleted. Find out who writes there; then restore that"
                " object, or use another prefix.",
            ) from None
        if outside.is_page(raw):
            raise Failure(
                transfer.CONFIG,
                transfer.REASON_NOT_S3,
                f"{causes.NOT_S3.format(endpoint=self._settings.endpoint)} It gave a web page for {self.remote(path)}. Nothing was deleted.",
            )
        return raw

    def fetch(self, path: str, *, limit: int = outside.MANIFEST_LIMIT, expected: bool = True) -> str:
        """Bring an object of at most `limit` bytes here; return the path of the file. `expected`: a listing has shown it. Raises Unusable
        for a longer one, whatever the server says of its size.

        The engine compares what comes with the ETag. Two readings that are alike and differ from it show that it is no MD5.
        """
        try:
            return self._fetch(path, limit=limit, expected=expected, compare=self.plain)
        except Failure as failure:
            if _CORRUPTED not in failure.message:
                raise
            found, again = (self._fetch(path, limit=limit, expected=expected, compare=False) for _ in range(2))
            if not _are_alike(found, again):
                raise
            self._distrust()
            return found

    def _fetch(self, path: str, *, limit: int, expected: bool, compare: bool) -> str:
        name = self._file("fetched")
        source = f"{self._settings.prefix}/{path}" if self._settings.prefix else path
        # the engine counts what comes, and ends when it is too much
        config = {"NoCheckDest": True, "MaxTransfer": limit, "CutoffMode": "HARD", "IgnoreChecksum": not compare}
        self._ask(
            "operations/copyfile",
            {
                "srcFs": self._bucket,
                "srcRemote": source,
                "dstFs": self._scratch,
                "dstRemote": os.path.basename(name),
                "_config": config,
            },
            seconds=_FETCH_SECONDS,
            record=path if expected else "",
            limit=limit,
        )
        if os.path.getsize(name) > limit:
            raise Unusable(f"it is longer than {limit} bytes")
        return name

    def prove_empty(self, path: str, *, known: Callable[[bytes], bool]) -> None:
        """Ask by its name for a record that a listing does not show; raise Failure when there is one.

        A server that answers everything with success lists nothing, and so does an S3 server whose error came as a success. What is not
        listed would be overwritten (law L3). `known` tells whether these bytes are a record.
        """
        try:
            with open(self.fetch(path, limit=outside.RECORD_LIMIT, expected=False), "rb") as file:
                found = file.read()
        except Unusable:
            found = b""  # too long to be one
        except Failure as failure:
            if failure.failure_class == transfer.NETWORK:
                raise
            return
        if not known(found):
            raise self._no_s3(" It answers every request with success.")
        raise Failure(
            transfer.NETWORK,
            transfer.REASON_SERVER_ERROR,
            f"The server at {self._settings.endpoint} lists nothing at {self.place}, but {self.remote(path)} is there, so its listings cannot be believed."
            " Nothing was moved or deleted; it is tried again. Look at the server, and at a proxy before it.",
        )

    def put(self, path: str, contents: Mapping[str, bytes | str]) -> None:
        """Write objects below `path` in one go: name to bytes, or to the path of a file of ours. Nothing is compared before.

        From what is written first it is learned whether ETags are checksums, so the engine does not judge that by them (it would delete it).
        """
        staging = self._stage(contents)
        size = sum(
            os.path.getsize(content) if isinstance(content, str) else len(content) for content in contents.values()
        )
        config = {"NoCheckDest": True, "Transfers": 8, "IgnoreChecksum": not (self._learned and self.plain)}
        self._ask(
            "sync/copy",
            {"srcFs": staging, "dstFs": self.remote(path), "_config": config},
            seconds=size / _SLOWEST,
            written=path,
        )
        for name, content in contents.items():
            self._written[path + name] = os.path.getsize(content) if isinstance(content, str) else len(content)
        if not self._learned:
            self._learn(path, contents)

    def _learn(self, path: str, contents: Mapping[str, bytes | str]) -> None:
        """Compare the checksum that the store gives of an object that was just written with its own; without one that is right read it back."""
        from hashlib import md5

        name, written = "", b""
        for each, content in contents.items():
            if isinstance(content, str) and os.path.getsize(content) >= _PARTS:
                continue
            found = _read(content) if isinstance(content, str) else content
            if not name or len(found) > len(written):
                name, written = each, found
        if not name:
            return
        prefix = f"{self._settings.prefix}/" if self._settings.prefix else ""
        answer = self._ask(
            "operations/stat",
            {
                "fs": self._bucket,
                "remote": prefix + path + name,
                "opt": {"showHash": True, "hashTypes": ["md5"], "noModTime": True, "noMimeType": True},
            },
        )
        if not answer:
            return  # the store dropped it; it is missed when the records are demanded
        told = (answer[0].hashes or {}).get("md5", "")
        if told == md5(written, usedforsecurity=False).hexdigest():
            self.plain = self._learned = True
            return
        with open(self._fetch(path + name, limit=outside.RECORD_LIMIT, expected=True, compare=False), "rb") as file:
            if file.read() != written:
                raise self._told(f"corrupted on transfer: {self.remote(path + name)} is not what was written")
        self._distrust()
        self._learned = True

    def _distrust(self) -> None:
        """Go by no ETag any more."""
        if self.plain:
            self.plain = False
            self._environment |= without_etags(self._environment)
            self.control.reconfigure(self._environment)

    def demand(self, path: str, found: Mapping[str, int]) -> None:
        """Raise Failure unless `found`, a listing of all below `path`, shows every record that was put there, in its size (law L4)."""
        lost = sorted(
            name
            for name, size in self._written.items()
            if name.startswith(path) and found.get(name.removeprefix(path)) != size
        )
        if lost:
            first = self.remote(lost[0])
            raise Failure(
                transfer.VERIFY,
                transfer.REASON_RECORD_LOST,
                f"The store said that it had taken {len(lost)} record(s) of this run and does not list them as they were sent, first of all {first}."
                " Without its records a backup is not known to be one, so this run is not complete. Nothing was deleted after that was seen. It is"
                " tried again; if it comes back, look at the store, at its lifecycle rules, and at what else deletes there.",
                problems=tuple(map(self.remote, lost[:5])),
            )

    def put_last(self, path: str, contents: Mapping[str, bytes | str], *, timeout: float) -> bool:
        """Write objects although the attempt is to end; return whether that was possible."""
        child = self._engine.start(
            [
                "copy",
                "--no-check-dest",
                *([] if self.plain else ["--ignore-checksum"]),
                self._stage(contents),
                self.remote(path),
            ],
            environment=self._environment,
            on_line=self._show,
            even_stopped=True,
        )
        return child.finish(timeout=timeout) == 0

    def remove(self, path: str) -> None:
        """Delete one record of ours, if it is there."""
        self._written.pop(path, None)
        prefix = f"{self._settings.prefix}/" if self._settings.prefix else ""
        try:
            self._ask("operations/deletefile", {"fs": self._bucket, "remote": prefix + path})
        except Failure as failure:
            if failure.failure_class != transfer.NOT_FOUND:
                raise

    def purge(self, folder: str) -> None:
        """Delete all in a folder of records, which must be this mirror's alone."""
        prefix = f"{self._settings.prefix}/" if self._settings.prefix else ""
        try:
            self._ask("operations/purge", {"fs": self._bucket, "remote": (prefix + folder).rstrip("/")}, patient=False)
        except Failure as failure:
            if failure.failure_class != transfer.NOT_FOUND:
                raise

    def abandon_uploads(self, folder: str) -> None:
        """Abort uploads in parts that an attempt which was killed left pending below `folder`, which must be this run's alone.

        Best effort: what cannot be aborted costs space until the bucket's own lifecycle rule removes it.
        """
        with suppress(Failure):
            self._ask(
                "backend/command",
                {"command": "cleanup", "fs": self.remote(folder), "opt": {"max-age": "1s"}},
                patient=False,
            )

    @property
    def _bucket(self) -> str:
        return f"{transfer.REMOTE}:{self._settings.bucket}"

    def _stage(self, contents: Mapping[str, bytes | str]) -> str:
        staging = self._file("staging")
        for name, content in contents.items():
            target = f"{staging}/{name}"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if isinstance(content, str):
                os.link(content, target)
            else:
                with open(target, "wb") as file:
                    file.write(content)
        return staging

    def _ask(
        self,
        command: str,
        parameters: Mapping[str, Any],
        *,
        patient: bool = True,
        seconds: float = 0,
        record: str = "",
        written: str = "",
        limit: int = 0,
    ) -> tuple[Item, ...]:
        """Ask the running engine; `seconds` is what the request may take beyond the outage limit.

        `record` is the path of what it reads, `written` of what it writes, when that is one of our records. `limit` is what the request
        lets the engine move; Unusable is raised when that is not enough.
        """

        def once() -> tuple[Item, ...]:
            outage = self._begin_outage()
            dead: list[Failure] = []

            def look() -> None:
                if failure := outage.look():
                    dead.append(failure)
                    raise ControlError(failure.message)

            try:
                timeout = self._settings.outage_limit + self._answering + seconds
                answer = self.control.ask(command, parameters, timeout=timeout, look=look)
            except Unusable as why:
                raise Failure(
                    transfer.GUARD,
                    transfer.REASON_RECORD_UNUSABLE,
                    f"What the server lists below {self.place}{records.FOLDER}/ cannot be taken in: {why}. Nothing was deleted. Look at what is there,"
                    " and at what stands before the server.",
                ) from None
            except ControlError as error:
                if dead:
                    raise dead[0] from None
                if error.killed:
                    raise self.explain(classify.Errors(), classify.KILLED) from None
                text = str(error)
            else:
                if not answer.error:
                    return answer.list or ((answer.item,) if answer.item else ())
                text = self._engine.redact(answer.error)
            finally:
                outage.close()
            if _TOO_LONG in text:
                raise Unusable(f"it is longer than {limit} bytes")
            failure = self._told(text)
            if record or written:
                failure = classify.about_record(
                    failure, text, place=self.remote(record or written), reading=bool(record)
                )
            raise failure

        return self.patiently(once) if patient else once()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _are_alike(one: str, other: str) -> bool:
    import filecmp

    return filecmp.cmp(one, other, shallow=False)
