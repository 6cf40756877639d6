# ruff: noqa: PTH103, PTH120, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The destination, as the engine shows it: listings, records, deletions. All I/O of the agent with the store but the copying itself.

Errors: `Failure` with the class of what went wrong; `Stopped` when the attempt is to end.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from datamover.agent import classify, logs, names, rclone, records
from datamover.agent.environment import Settings
from datamover.agent.errors import Failure
from datamover.api import transfer

_PROBE_SECONDS = 60.0
"""How long an unreachable server is asked again before anything has begun."""
_LAST_ATTEMPT = 0.4
"""No new attempt after this share of that time: one against a silent server takes as long as the engine's own timeouts."""
_LIST = ("--files-only", "--format", "sp", "--separator", ";")


class Destination:
    """`<root>` at the server.

    `environment` is the one for records and listings; `scratch` a directory of ours for what goes up and comes down; `show` gets
    the engine's log lines.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        engine: rclone.Engine,
        environment: Mapping[str, str],
        scratch: str,
        show: Callable[[logs.Line], None],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._environment = dict(environment)
        self._scratch = scratch
        self._show = show
        self._count = 0

    @property
    def place(self) -> str:
        """The root as people and the engine name it."""
        return transfer.destination(self._settings.bucket, prefix=self._settings.prefix)

    def remote(self, path: str = "") -> str:
        """Return the engine's name of a folder (with a final slash, else the engine asks whether it is a file) or object."""
        return self.place + path

    def failure(self, child: rclone.Child, code: int) -> Failure:
        """Return what to tell about a command that failed."""
        return self.explain(child.errors, code)

    def explain(self, errors: classify.Errors, code: int) -> Failure:
        """Return what to tell about errors of the engine at this destination."""
        settings = self._settings
        return errors.failure(code=code, place=self.place, bucket=settings.bucket, endpoint=settings.endpoint)

    # --- listings ------------------------------------------------------------------------------------------------

    def start_listing(self, path: str = "", *, recursive: bool = True, patient: bool = True) -> "Listing":
        """Begin to list `path`. Without `patient` the engine does not try again by itself, so that errors come at once."""
        output = self._file("listing")
        environment = self._environment if patient else self._environment | {"RCLONE_LOW_LEVEL_RETRIES": "1"}
        depth = ("--recursive",) if recursive else ("--max-depth", "1")
        child = self._engine.start(
            ["lsf", *depth, *_LIST, self.remote(path)], environment=environment, on_line=self._show, output=output
        )
        return Listing(child, output)

    def probe(self, first: "Listing", again: Callable[[], "Listing"], *, pause: Callable[[float], None]) -> "Listing":
        """Return the first listing that succeeds. An unreachable server is asked again for a while; every other failure is raised."""
        started = time.monotonic()
        limit = min(_PROBE_SECONDS, self._settings.outage_limit)
        listing, wait = first, 0.5
        while True:
            code = listing.child.wait()
            if code == 0:
                return listing
            failure = self.failure(listing.child, code)
            if failure.failure_class == transfer.NOT_FOUND:
                raise self._who_is_missing(failure)
            waited = time.monotonic() - started
            if (
                failure.failure_class != transfer.NETWORK
                or not failure.retryable
                or waited + wait > limit * _LAST_ATTEMPT
            ):
                raise failure
            pause(wait)
            wait *= 2
            listing = again()

    def _who_is_missing(self, failure: Failure) -> Failure:
        """Say what a 404 is about: the engine calls each one a missing directory, and some servers answer an unknown key with it."""
        texts: list[str] = []
        child = self._engine.start(
            ["lsf", "--max-depth", "1", self.remote()],
            environment=self._environment
            | {"RCLONE_DUMP": "bodies", "RCLONE_LOG_LEVEL": "DEBUG", "RCLONE_LOW_LEVEL_RETRIES": "1"},
            on_line=lambda line: texts.append(line.msg),
        )
        child.wait(timeout=_PROBE_SECONDS)
        code = next(filter(None, map(classify.server_code, texts)), None)
        if code is None:
            return failure
        errors = classify.Errors()
        errors.add(logs.Line(level="error", msg=f"the server answers {code}"))
        return self.explain(errors, 1)

    def start_local_listing(self, path: str, *, environment: Mapping[str, str]) -> "Listing":
        """Begin to list what the engine itself would move from a local directory, under the user's filters."""
        output = self._file("local")
        child = self._engine.start(
            ["lsf", "--recursive", *_LIST, path], environment=environment, on_line=self._show, output=output
        )
        return Listing(child, output)

    def start_visible_listing(self, *, environment: Mapping[str, str]) -> "Listing":
        """Begin to list what the engine sees at the destination under the user's filters."""
        output = self._file("visible")
        child = self._engine.start(
            ["lsf", "--recursive", *_LIST, self.remote()], environment=environment, on_line=self._show, output=output
        )
        return Listing(child, output)

    def finish(self, listing: "Listing") -> "Listing":
        """Wait for a listing; raise what went wrong with it."""
        code = listing.child.wait()
        if code:
            raise self.failure(listing.child, code)
        return listing

    def start_peek(self, path: str) -> rclone.Child:
        """Begin to list the first level of `path`, folders too; its output is empty when nothing is there."""
        return self._engine.start(
            ["lsf", "--max-depth", "1", self.remote(path)], environment=self._environment, on_line=self._show
        )

    def start_question(self) -> rclone.Child:
        """Begin to ask whether the server answers at all: one request, one try, nothing shown."""
        return self._engine.start(
            ["lsf", "--max-depth", "1", self.remote(f"{records.FOLDER}/")],
            environment=self._environment | {"RCLONE_LOW_LEVEL_RETRIES": "1", "RCLONE_RETRIES": "1"},
            on_line=_ignore,
        )

    def peek(self, child: rclone.Child) -> list[str]:
        """Return the names of a first level."""
        self._await(child)
        return child.output.decode("utf-8", "replace").splitlines()

    # --- records -------------------------------------------------------------------------------------------------

    def start_reading(self, path: str) -> rclone.Child:
        """Begin to read a small object that may be missing; its errors are not shown."""
        return self._engine.start(["cat", self.remote(path)], environment=self._environment, on_line=_ignore)

    def read(self, path: str) -> bytes:
        """Return a small object."""
        child = self._engine.start(["cat", self.remote(path)], environment=self._environment, on_line=self._show)
        self._await(child)
        return child.output

    def fetch(self, path: str) -> str:
        """Bring an object here; return the path of the file."""
        output = self._file("fetched")
        child = self._engine.start(
            ["cat", self.remote(path)], environment=self._environment, on_line=self._show, output=output
        )
        code = child.wait()
        if code:
            raise self.failure(child, code)
        return output

    def start_putting(self, path: str, contents: Mapping[str, bytes | str]) -> rclone.Child:
        """Begin to write objects below `path`, as `put`; errors are not shown, so the caller tries again if it fails."""
        return self._start_putting(path, contents, on_line=_ignore)

    def _start_putting(
        self,
        path: str,
        contents: Mapping[str, bytes | str],
        *,
        on_line: Callable[[logs.Line], None],
        even_stopped: bool = False,
    ) -> rclone.Child:
        staging = self._file("staging")
        for name, content in contents.items():
            target = f"{staging}/{name}"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if isinstance(content, str):
                os.link(content, target)
            else:
                with open(target, "wb") as file:
                    file.write(content)
        return self._engine.start(
            ["copy", "--no-check-dest", staging, self.remote(path)],
            environment=self._environment,
            on_line=on_line,
            even_stopped=even_stopped,
        )

    def put(
        self,
        path: str,
        contents: Mapping[str, bytes | str],
        *,
        even_stopped: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Write objects below `path` in one go: name to bytes, or to the path of a file of ours. Nothing is compared."""
        child = self._start_putting(path, contents, on_line=self._show, even_stopped=even_stopped)
        self._await(child, timeout=timeout)

    def remove(self, path: str) -> None:
        """Delete one record of ours."""
        self._await(
            self._engine.start(["deletefile", self.remote(path)], environment=self._environment, on_line=self._show)
        )

    def _await(self, child: rclone.Child, *, timeout: float | None = None) -> None:
        """Wait for a command about a small object; the engine's own retries may not outlast an outage."""
        code = child.wait(timeout=timeout or self._settings.outage_limit)
        if not code:
            return
        if child.timed_out:
            child.errors.add(logs.Line(level="error", msg="timeout: no answer to a small request"))
        raise self.failure(child, code)

    # --- deletions -----------------------------------------------------------------------------------------------

    def delete(self, keys: Iterable[bytes]) -> int:
        """Delete exactly these objects below the root; return how many were asked for. None is looked for by pattern (law L3)."""
        listed = self._file("delete")
        count = 0
        with open(listed, "wb") as file:
            for key in keys:
                file.write(key + b"\n")
                count += 1
        if not count:
            return 0
        child = self._engine.start(
            ["delete", "--files-from-raw", listed, self.remote()],
            environment={"RCLONE_CHECKERS": "32", "RCLONE_TRANSFERS": "32"} | self._environment,
            on_line=self._show,
        )
        code = child.wait()
        if code:
            raise self.failure(child, code)
        return count

    def can_list_controls(self, run_id: str) -> Mapping[str, str] | None:
        """Return the settings with which names that XML cannot carry are listed as they are, or None when there are none.

        Tried out with a record of ours, because servers differ and some options make other names wrong.
        """
        folder = f"{records.FOLDER}/runs/{run_id}/"
        awkward = b"listing 100%+\x01\r"
        key = names.key_of(awkward)
        self.put(folder, {os.fsdecode(awkward): b""})
        try:
            for options in ({}, {"RCLONE_S3_LIST_URL_ENCODE": "true"}):
                self._environment.update(options)
                listing = self.finish(self.start_listing(folder))
                if any(found == key for found, _ in listing.lines()):
                    return options
        finally:
            self._environment.pop("RCLONE_S3_LIST_URL_ENCODE", None)
            self.remove(folder + key.decode())
        return None

    def use(self, options: Mapping[str, str]) -> None:
        """List with these settings from now on."""
        self._environment.update(options)

    def _file(self, kind: str) -> str:
        self._count += 1
        return f"{self._scratch}/{kind}-{self._count}"


class Listing:
    """A listing that is being written into a file."""

    def __init__(self, child: rclone.Child, path: str) -> None:
        self.child = child
        self._path = path

    def lines(self) -> Iterator[tuple[bytes, int]]:
        """Yield key and size of every object."""
        with open(self._path, "rb") as file:
            for line in file:
                size, _, key = line.rstrip(b"\n").partition(b";")
                yield key, int(size)


def _ignore(line: logs.Line) -> None:
    """Show nothing."""
