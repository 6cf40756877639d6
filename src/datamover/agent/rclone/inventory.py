# ruff: noqa: PTH108, PTH202, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""What lies at the destination: listings, objects asked for by name, their checksums.

Guarantees: everything here may be done twice; a listing ends (see `listing`).
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from datamover.agent.errors import Failure
from datamover.agent.rclone import logs
from datamover.agent.rclone.listing import Listing
from datamover.agent.rclone.options import SILENCE
from datamover.agent.rclone.server import Server
from datamover.api import transfer

_SLOWEST_LISTING = 500
"""Objects a second that any server lists."""
_CHECKSUM = re.compile(rb"([0-9a-f]{32})  (.+)", re.DOTALL)
_PIECE = 1 << 20
"""Bytes that the engine may have taken in before it counts them."""
_OF_ONE = frozenset({transfer.NOT_FOUND, transfer.DENIED, transfer.VERIFY, transfer.INTERNAL, transfer.SOURCE_CHANGED})
"""What may be one object's trouble alone."""
_GRACE = 1.0
"""Seconds that a command gets to end by itself which only reads."""
_LIST = ("--recursive", "--files-only", "--separator", ";", "--format")


class Inventory(Server):
    """See the module."""

    def start_listing(
        self,
        path: str = "",
        *,
        patient: bool = True,
        sums: bool = False,
        extra: Sequence[str] = (),
        changes: Mapping[str, str] | None = None,
    ) -> Listing:
        """Begin to list all below `path`, with `sums` their MD5 as well, with `extra` flags and `changes` of the engine's environment. Without
        `patient` the engine does not try again by itself, so that errors come at once.
        """
        retries = {} if patient else {"RCLONE_LOW_LEVEL_RETRIES": "1"}
        environment = self._environment | retries | dict(changes or {})
        return self._start_lsf(self.remote(path), environment=environment, sums=sums, extra=extra)

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

    def list_all(
        self,
        path: str = "",
        *,
        sums: bool = False,
        extra: Sequence[str] = (),
        changes: Mapping[str, str] | None = None,
    ) -> Listing:
        """Return all below `path`, with `sums` their MD5 as well: the listing has it of all that came in one piece, and for each other object the
        engine sends one more request (HEAD). `extra` and `changes` as for `start_listing`.
        """
        return self.patiently(lambda: self.finish(self.start_listing(path, sums=sums, extra=extra, changes=changes)))

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

    def bring(self, paths: Iterable[str], *, limit: int) -> str:
        """Bring many small objects here at once, each below the returned folder as it is called below the root. What is not there is left out.

        `limit` is how many bytes each may have on the average: more is not taken in, whatever the server says of their sizes.
        """
        listed, folder = self._file("asked"), self._file("brought")
        count = 0
        with open(listed, "w", encoding="utf-8") as file:
            for path in paths:
                file.write(f"{path}\n")
                count += 1

        def once() -> None:
            child = self._engine.start(
                [
                    *("copy", "--files-from-raw", listed, "--no-traverse", "--no-check-dest", "--ignore-checksum"),
                    *("--max-transfer", f"{count * limit + _PIECE}B", "--cutoff-mode", "hard"),
                    self.remote(),
                    folder,
                ],
                environment={"RCLONE_CHECKERS": "32", "RCLONE_TRANSFERS": "32"} | self._environment,
                on_line=self._show,
            )
            code = child.wait()
            if code:
                raise self.explain(child.errors, code, total=count)

        if count:
            self.patiently(once)
        return folder

    def start_of(self, path: str, *, size: int) -> bytes:
        """Return the first bytes of an object, `size` at most. Empty when it is not there."""
        output = self._file("start")

        def once() -> None:
            child = self._engine.start(
                ["cat", "--head", str(size), self.remote(path)],
                environment=self._environment,
                on_line=self._show,
                output=output,
            )
            code = child.wait()
            failure = self.explain(child.errors, code) if code else None
            if failure is not None and failure.failure_class != transfer.NOT_FOUND:
                raise failure

        self.patiently(once)
        with open(output, "rb") as file:
            return file.read(size)

    def _start_lsf(
        self, place: str, *, environment: Mapping[str, str], extra: Sequence[str] = (), sums: bool = False
    ) -> Listing:
        output = self._file("listing")
        return Listing(
            self._engine.start(
                ["lsf", *_LIST, "shp" if sums else "sp", *extra, place],
                environment=environment,
                on_line=self._show,
                output=output,
            ),
            output,
            place=place,
            sums=sums,
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
                ["md5sum", "--no-traverse", "--files-from-raw", listed, source or self.remote()],
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

    def read_back(
        self,
        keys: Sequence[bytes],
        *,
        folder: str,
        environment: Mapping[str, str],
        told: Callable[[logs.Line], None],
    ) -> tuple[dict[bytes, bytes], Failure | None]:
        """Read these objects below `folder` from their first byte to their last; return their MD5 (16 bytes) by key, and what went wrong with those that
        could not be read. `told` hears how far it is. Raises Failure for what would be the same for all.
        """
        listed, output = self._file("asked"), self._file("read")
        with open(listed, "wb") as file:
            file.writelines(key + b"\n" for key in keys)

        def once() -> Failure | None:
            outage = self._begin_outage()
            dead: Failure | None = None
            before = (-1, -1)
            child = self._engine.start(
                ["md5sum", "--download", "--no-traverse", "--files-from-raw", listed, self.remote(folder)],
                environment={"RCLONE_CHECKERS": "16"} | dict(environment) | {"RCLONE_STATS": "1s"},
                on_line=None,
                output=output,
            )

            def on_line(line: logs.Line) -> None:
                nonlocal before, dead
                told(line)
                self._show(line)
                if line.stats is None or dead is not None:
                    return
                state = (line.stats.bytes, line.stats.transfers)
                if state != before:
                    before = state
                    outage.advance()
                elif dead := outage.look():
                    child.end(grace=_GRACE)

            try:
                code = child.follow(on_line, silence=SILENCE)
            finally:
                outage.close()
                child.close()
            failure = dead or (self.explain(child.errors, code) if code else None)
            if failure is not None and (failure.failure_class not in _OF_ONE or child.fell_silent):
                raise failure
            return failure

        trouble = self.patiently(once)
        found: dict[bytes, bytes] = {}
        with open(output, "rb") as file:
            for line in file:
                if match := _CHECKSUM.fullmatch(line.rstrip(b"\n")):
                    found[match[2]] = bytes.fromhex(match[1].decode())
        os.unlink(output)
        return found, trouble
