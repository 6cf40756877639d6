"""The server of the destination: how long it is waited for, and what its errors mean.

Guarantees: what an outage of the server disturbs is tried again until the outage limit.
Errors: `Failure` with the class of what went wrong; `Stopped` when the attempt is to end.
"""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from datamover.agent.errors import Failure
from datamover.agent.rclone import causes, classify, logs, process, records
from datamover.agent.rclone.options import ENGINE_TIMEOUT
from datamover.agent.rclone.outage import Outage
from datamover.agent.rclone.settings import Store
from datamover.api import transfer
from datamover.api.periods import read_period

T = TypeVar("T")

_PROBE_SECONDS = 24.0
"""How long a server that refuses connections is asked again before anything has begun; the Job tries again later."""
_LONGEST_WAIT = 8.0
_NO_SUCH_KEY = ("NoSuchKey", "NotFound")
"""Codes that say no more of a listing than that it is not there."""


class Server:
    """`<root>` at the server.

    `environment` is the one for records and listings; `scratch` a directory of ours for what goes up and comes down; `show` gets
    the engine's log lines.
    """

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
        """`plain`, which is known for sure from the first record that is written: the store's ETags are the MD5 of what lies there. They are
        not where it encrypts with keys of a key service or of the client.

        `wait` hears what the server's trouble is while it is waited for, and an empty text when that is over.
        """
        self._wait = wait
        self._settings = settings
        self._engine = engine
        self._environment: dict[str, str] = dict(environment)
        self._scratch = scratch
        self._show = show
        self._count = 0
        self.plain: bool = True

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

    def _told(self, text: str) -> Failure:
        errors = classify.Errors(self._engine.redact)
        errors.add(logs.Line(level="error", msg=text))
        return self.explain(errors, 1)

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

    def _file(self, kind: str) -> str:
        self._count += 1
        return f"{self._scratch}/{kind}-{self._count}"


def _ignore(line: logs.Line) -> None:
    """Show nothing."""
