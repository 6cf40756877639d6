# ruff: noqa: PTH202, PTH103, PTH119, PTH120, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The destination, as the engine shows it: listings, records, deletions. All I/O of the agent with the store but the copying itself.

Guarantees: what an outage of the server disturbs is tried again until the outage limit; everything here may be done twice.
Errors: `Failure` with the class of what went wrong; `Stopped` when the attempt is to end.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from datamover.agent.errors import AgentError, Failure
from datamover.agent.files import names
from datamover.agent.rclone import causes, classify, logs, process, records
from datamover.agent.rclone.control import Control, ControlError, Item
from datamover.agent.rclone.listing import Listing
from datamover.agent.rclone.options import ENGINE_TIMEOUT, without_etags
from datamover.agent.rclone.outage import Outage
from datamover.agent.rclone.periods import read_period
from datamover.agent.rclone.settings import Settings
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

T = TypeVar("T")

_PROBE_SECONDS = 24.0
"""How long a server that refuses connections is asked again before anything has begun; the Job tries again later."""
_LONGEST_WAIT = 8.0
_SLOWEST = 32_768
"""Bytes a second below which a connection counts as an outage."""
_CORRUPTED = "corrupted on transfer"
"""What the engine says when what arrived has another checksum than what was sent."""
_PARTS = 5 << 20
"""Bytes from which an object may go in parts, and so has an ETag that is no checksum on any store."""
_SLOWEST_LISTING = 500
"""Objects a second that any server lists."""
_FETCH_SECONDS = 900.0
"""What bringing a manifest of millions of files here may take."""
_CHECKSUM = re.compile(rb"([0-9a-f]{32})  (.+)", re.DOTALL)
_DELETED = "Deleted"
"""What the engine logs for an object that it deleted."""
_NO_VERSIONS = {f"RCLONE_CONFIG_{transfer.REMOTE.upper()}_VERSIONS": "false", "RCLONE_S3_VERSIONS": "false"}
"""A name that looks like an older version of an object is that of an object, and no version ever goes (law L3)."""
_TOO_LONG = "max transfer limit reached"
"""What the engine says when an object has more bytes than a request may move."""
_NO_SUCH_KEY = ("NoSuchKey", "NotFound")
"""Codes that say no more of a listing than that it is not there."""
_LIST = ("--recursive", "--files-only", "--format", "sp", "--separator", ";")


class Destination:
    """`<root>` at the server.

    `environment` is the one for records and listings; `scratch` a directory of ours for what goes up and comes down; `show` gets
    the engine's log lines.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: process.Engine,
        environment: Mapping[str, str],
        scratch: str,
        show: Callable[[logs.Line], None],
        wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`plain`, which is known for sure from the first record that is written: the store's ETags are the MD5 of what lies there. They are
        not where it encrypts with keys of a key service or of the client.

        `wait` hears what the server's trouble is while it is waited for, and an empty text when that is over.
        """
        self._wait = wait
        self._settings = settings
        self._engine = engine
        self._environment = dict(environment)
        self._scratch = scratch
        self._show = show
        self._count = 0
        self._learned = False
        self.plain = True
        self._written: dict[str, int] = {}
        self.control = Control(engine, environment=environment, scratch=scratch, show=show)

    def close(self) -> None:
        """End what runs beside."""
        self.control.close()

    @property
    def place(self) -> str:
        """The root as people and the engine name it."""
        return transfer.destination(self._settings.bucket, prefix=self._settings.prefix)

    def remote(self, path: str = "") -> str:
        """Return the engine's name of a folder (with a final slash, else the engine asks whether it is a file) or object."""
        return self.place + path

    def explain(self, errors: classify.Errors, code: int, *, total: int | None = None) -> Failure:
        """Return what to tell about errors of the engine at this destination, with `total` objects where that is known."""
        settings = self._settings
        return errors.failure(
            code=code, place=self.place, bucket=settings.bucket, endpoint=settings.endpoint, total=total
        )

    # --- patience ------------------------------------------------------------------------------------------------

    def patiently(self, act: Callable[[], T], *, limit: float | None = None) -> T:
        """Return what `act` returns; while the server cannot be reached, try again until `limit` (the outage limit) is near."""
        started, wait = time.monotonic(), 0.5
        limit = self._settings.outage_limit if limit is None else limit
        while True:
            try:
                found = act()
            except Failure as failure:
                waited = time.monotonic() - started
                if failure.failure_class != transfer.NETWORK or not failure.retryable or waited + wait > limit:
                    raise
                self._wait(failure.message)
            else:
                self._wait("")
                return found
            self._engine.stop.pause(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def probe(self, look: Callable[[], T]) -> T:
        """Return what the first look at the destination shows. Raises what is wrong with server, key or bucket."""
        try:
            return self.patiently(look, limit=min(_PROBE_SECONDS, self._settings.outage_limit))
        except Failure as failure:
            if failure.failure_class != transfer.NOT_FOUND:
                raise
            raise self._who_is_missing(failure) from None

    def _who_is_missing(self, failure: Failure) -> Failure:
        """Say what a 404 is about: the engine calls each one a missing directory, and some servers answer an unknown key with it."""
        codes: list[str] = []
        pages = 0

        def on_line(line: logs.Line) -> None:
            nonlocal pages
            code = classify.server_code(line.msg)
            if code and code not in _NO_SUCH_KEY and not codes:
                codes.append(code)
            pages += classify.is_web_page(line.msg)

        child = self._engine.start(
            ["lsf", "--max-depth", "1", self.remote()],
            environment=self._environment
            | {"RCLONE_DUMP": "bodies", "RCLONE_LOG_LEVEL": "DEBUG", "RCLONE_LOW_LEVEL_RETRIES": "1"},
            on_line=on_line,
        )
        child.wait(timeout=_PROBE_SECONDS)
        if codes:
            return self._told(f"the server answers {codes[0]}")
        return self._no_s3("") if pages else failure

    def _no_s3(self, more: str) -> Failure:
        sentence = causes.NOT_S3.format(endpoint=self._settings.endpoint)
        return Failure(transfer.CONFIG, transfer.REASON_NOT_S3, f"{sentence}{more} Nothing was moved or deleted.")

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

    def _told(self, text: str) -> Failure:
        errors = classify.Errors(self._engine.redact)
        errors.add(logs.Line(level="error", msg=text))
        return self.explain(errors, 1)

    # --- listings of data ----------------------------------------------------------------------------------------

    def start_listing(self, path: str = "", *, patient: bool = True) -> Listing:
        """Begin to list all below `path`. Without `patient` the engine does not try again by itself, so that errors come at once."""
        retries = {} if patient else {"RCLONE_LOW_LEVEL_RETRIES": "1"}
        return self._start_lsf(self.remote(path), environment=self._environment | retries)

    def start_local_listing(self, path: str, *, environment: Mapping[str, str], extra: Sequence[str]) -> Listing:
        """Begin to list what the engine itself would move from a local directory, under the user's filters and `extra` flags."""
        return self._start_lsf(path, environment=environment, extra=extra)

    def list_visible(self, *, environment: Mapping[str, str], objects: int) -> Listing:
        """Return what the engine sees at the destination under the user's filters, of about so many `objects`."""
        # what the filters hide takes its time and shows nothing
        patience = self._settings.outage_limit + self._answering + objects / _SLOWEST_LISTING
        return self.patiently(
            lambda: self.finish(self._start_lsf(self.remote(), environment=environment), patience=patience)
        )

    def list_all(self, path: str = "") -> Listing:
        """Return all below `path`."""
        return self.patiently(lambda: self.finish(self.start_listing(path)))

    def find(self, keys: Iterable[bytes]) -> Listing:
        """Return which of these objects are there, each asked for by its name: what a listing leaves out is found as well."""
        listed = self._file("asked")
        with open(listed, "wb") as file:
            file.writelines(key + b"\n" for key in keys)
        environment = {"RCLONE_CHECKERS": "32"} | self._environment
        return self.patiently(
            lambda: self.finish(
                self._start_lsf(
                    self.remote(), environment=environment, extra=["--no-traverse", "--files-from-raw", listed]
                )
            )
        )

    def finish(self, listing: Listing, *, patience: float | None = None) -> Listing:
        """Wait for a listing; raise what went wrong with it.

        While it shows nothing new the server is asked something small, which must be answered within the outage limit. One that shows
        nothing new for `patience` seconds (the engine's own limit, and the outage limit on top) is given up in any case: a server that trickles
        keeps the engine's timeouts from ever passing.
        """
        outage = None if patience is not None else self._begin_outage()
        patience = self._settings.outage_limit + self._answering if patience is None else patience
        code = listing.wait(patience=patience, outage=outage)
        if listing.dead is not None:
            raise listing.dead
        if listing.endless:
            raise Failure(
                transfer.INTERNAL,
                transfer.REASON_SERVER_ERROR,
                f"The listing of {self.place} has no end: {listing.endless}. So nobody can tell what is there. Nothing was deleted. Look at the"
                " server, and at what stands before it, such as a proxy.",
            )
        if listing.child.timed_out:
            failure = self._told("i/o timeout")
            failure.message = f"A listing made no progress for {patience:.0f} s ({transfer.OUTAGE_LIMIT} and RCLONE_TIMEOUT). {failure.message}"
            raise failure
        if code:
            raise self.explain(listing.child.errors, code)
        return listing

    def _start_lsf(self, place: str, *, environment: Mapping[str, str], extra: Sequence[str] = ()) -> Listing:
        output = self._file("listing")
        return Listing(
            self._engine.start(
                ["lsf", *_LIST, *extra, place], environment=environment, on_line=self._show, output=output
            ),
            output,
            place=place,
        )

    def checksums(
        self,
        keys: Iterable[bytes],
        *,
        source: str | None = None,
        environment: Mapping[str, str] | None = None,
        told: Callable[[logs.Line], None] = lambda _: None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and MD5 of these objects below the root, or files of the local directory `source`, of which the engine has one.

        Files are read for that, and `told` how far that is. What cannot be read has none.
        """
        listed, output = self._file("asked"), self._file("checksums")
        with open(listed, "wb") as file:
            file.writelines(key + b"\n" for key in keys)

        def on_line(line: logs.Line) -> None:
            told(line)
            self._show(line)

        def once() -> None:
            child = self._engine.start(
                ["md5sum", "--files-from-raw", listed, source or self.remote()],
                environment={"RCLONE_CHECKERS": "16"} | dict(environment or self._environment),
                on_line=None,
                output=output,
            )
            try:
                code = child.follow(on_line)
            finally:
                child.close()
            if code and source is None:
                raise self.explain(child.errors, code)

        # where ETags are no checksums the engine would give them as such
        if os.path.getsize(listed) and (self.plain or source is not None):
            self.patiently(once)
            with open(output, "rb") as file:
                for line in file:
                    if match := _CHECKSUM.fullmatch(line.rstrip(b"\n")):
                        yield match[2], match[1]

    def _begin_outage(self) -> Outage:
        return Outage(self, limit=self._settings.outage_limit, wait=self._wait)

    def tell_silence(self) -> Failure:
        """Return what it means that a small question is not answered."""
        return self._told("i/o timeout")

    @property
    def _answering(self) -> float:
        """Seconds that the engine itself lets an answer take."""
        return read_period(self._environment.get("RCLONE_TIMEOUT", "")) or ENGINE_TIMEOUT

    def start_question(self) -> process.Child:
        """Begin to ask whether the server answers at all: one request, one try, nothing shown."""
        return self._engine.start(
            ["lsf", "--max-depth", "1", self.remote(f"{records.FOLDER}/")],
            environment=self._environment | {"RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1"},
            on_line=_ignore,
        )

    # --- records -------------------------------------------------------------------------------------------------

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

    # --- deletions -----------------------------------------------------------------------------------------------

    def delete(self, keys: Iterable[bytes]) -> int:
        """Delete exactly these objects below the root; return how many went. None is looked for by pattern (law L3).

        Raises AgentError, with the number of what had gone until then.
        """
        listed = self._file("delete")
        asked = count = 0
        with open(listed, "wb") as file:
            for key in keys:
                file.write(key + b"\n")
                asked += 1
        if not asked:
            return 0

        def on_line(line: logs.Line) -> None:
            nonlocal count
            if line.level == "info" and line.msg == _DELETED:
                count += 1
            self._show(line)

        def once() -> None:
            child = self._engine.start(
                ["delete", "--files-from-raw", listed, self.remote()],
                environment={"RCLONE_CHECKERS": "32", "RCLONE_TRANSFERS": "32"} | self._environment | _NO_VERSIONS,
                on_line=None,
            )
            try:
                code = child.follow(on_line)
            finally:
                child.close()
            if code:
                failure = self.explain(child.errors, code, total=asked)
                failure.message = f"Objects could not be deleted. {failure.message}"
                raise failure

        try:
            self.patiently(once)
        except AgentError as error:
            error.deleted = count
            raise
        return count

        try:
            self.patiently(once)
        except AgentError as error:
            error.deleted = count
            raise
        return count

    # --- names that XML cannot carry -------------------------------------------------------------------------------

    def learn_controls(self, run_id: str) -> Mapping[str, str] | None:
        """Return the settings with which names with control characters are listed as they are, or None when there are none.

        Tried out with a record of ours, because servers differ and some settings make other names wrong. They are used from now on.
        """
        folder = f"{records.FOLDER}/runs/{run_id}/"
        awkward = b"listing 100%+\x01\r"
        key = names.key_of(awkward)
        self.put(folder, {os.fsdecode(awkward): b""})
        before = dict(self._environment)
        try:
            for options in ({}, {"RCLONE_S3_LIST_URL_ENCODE": "true"}):
                self._environment = before | options
                if any(found == key for found, _ in self.list_all(folder).lines()):
                    return options
            self._environment = before
        finally:
            self.remove(folder + key.decode())
            self._written.pop(folder + os.fsdecode(awkward), None)  # it is spelled in another way there
        return None

    def _file(self, kind: str) -> str:
        self._count += 1
        return f"{self._scratch}/{kind}-{self._count}"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _are_alike(one: str, other: str) -> bool:
    import filecmp

    return filecmp.cmp(one, other, shallow=False)


def _ignore(line: logs.Line) -> None:
    """Show nothing."""
