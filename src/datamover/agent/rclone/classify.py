"""From what the engine said to a class, a reason and a sentence. Pure.

The engine's exit code says little (1 for nearly everything), so its error lines are read. Where several things went wrong, the one that must
be mended first is told: without a key nothing else can be known.
"""

import re
from collections.abc import Callable, Mapping

from datamover.agent.errors import Failure
from datamover.agent.printing import quote_names
from datamover.agent.rclone import answers, logs
from datamover.agent.rclone.causes import CAUSES, UNKNOWN, Cause
from datamover.api import transfer

_EXAMPLES = 5
_DISTINCT = 1 << 14
"""Objects that are told apart when they are counted."""
KILLED = -9
"""What ended by SIGKILL. Nobody sends that to an engine whose errors are then asked for, but the kernel when memory runs out."""
_SILENT = (
    "rclone hung: it said nothing for {seconds:.0f} s, not even how far it was, so it was ended. It is tried again. If it comes back: rclone can lock itself up where"
    " RCLONE_MAX_TRANSFER limits it, so remove that; else look whether the node stands still, and at the volume."
)
_OUT_OF_MEMORY = (
    "rclone was killed, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise spec.mover.resources.limits.memory, or lower "
    "RCLONE_TRANSFERS and RCLONE_CHECKERS in spec.additionalEnv."
)
_ERROR_LEVELS = frozenset({"emergency", "alert", "critical", "error"})
_LOCAL_WRITE = re.compile(r"(open|write|create|mkdir) \S+: no space left|preallocate: file too big", re.IGNORECASE)
# what the engine says before its log is set up, and when it breaks down
_EARLY = re.compile(r"panic:|fatal error:|\d{4}/\d\d/\d\d [\d:]+ (ERROR|CRITICAL|ALERT|EMERGENCY|Fatal)")
_MISSING = re.compile(r"object not found|NoSuchKey|StatusCode: 404")
_OF_DATA = frozenset({transfer.SOURCE_UNREADABLE, transfer.SOURCE_CHANGED, transfer.VERIFY})
_BOILERPLATE = re.compile(
    r"exceeded maximum number of attempts, \d+, |https response error StatusCode: 0, |request send failed, "
)
_PLACES = {cause: place for place, cause in enumerate((*CAUSES, UNKNOWN))} | {None: 1 << 16}
_SERVER = re.compile(r'"https?://([^"/:]+|\[[^"/\]]+\])[":/]')
# what an engine says that may replace nothing (see `live`): that a file differs is what it was asked for
_NOT_REPLACED = "immutable file modified"
# what it says of one file that it has listed and cannot open any more, and in its sums of an attempt; the error comes last, whatever the path holds
_VANISHED = re.compile(
    r"(?:Attempt \d+/\d+ failed with \d+ errors? and: |Failed to \w+(?: with \d+ errors)?: (?:last error was: )?)?(?:Failed to copy: )?"
    r"(?:failed to open source object|Failed to calculate src hash: hash: failed to open): .*: no such file or directory",
    re.DOTALL,
)
_NO_ERRORS = "Can't retry any of the errors"
_URL = re.compile(r'"https?://[^"]*"')
_WEB_PAGE = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_XML_CODE = re.compile(r"<Code>(\w+)</Code>")


class Errors:
    """Collects what the engine complained of. Memory does not grow with the number of errors.

    Only the engine's latest attempt counts: it tries again what failed, and what arrived then has not failed. `replaces_nothing`: the
    agent, not the user, told the engine to replace nothing, so that it does not is no error. `spares_vanished`: nor is it that a file of a live
    source was gone when it was to be read. `silent`: for so many seconds it said nothing, so it was killed.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        """`redact` takes secrets out of what is kept: it is cut and quoted later (law L8)."""
        self.count = 0
        self.replaces_nothing = False
        self.spares_vanished = False
        self.silent = 0.0
        self._redact = redact
        self._first: dict[Cause | None, str] = {}
        self._counts: dict[str, int] = {}
        self._objects: dict[Cause | None, _Objects] = {}
        self._attempt_ended = False

    def add(self, line: logs.Line) -> None:
        """Take a line of the engine's log into account."""
        final = line.level == "notice" and line.msg.startswith("Failed to ")
        crash = not line.level and _EARLY.match(line.msg) is not None
        if not (line.level in _ERROR_LEVELS or final or crash):
            return
        line = logs.Line(msg=self._redact(line.msg), level=line.level, object=self._redact(line.object))
        summary = final or line.msg.startswith("Attempt ")
        if self._attempt_ended and not summary:
            self._attempt_ended = False
            self._first.clear()
            self._objects.clear()
        self._attempt_ended = self._attempt_ended or summary
        if self.replaces_nothing and is_about_replacing(line.msg):
            return
        if self.spares_vanished and (line.object or summary) and is_about_vanished(line.msg):
            return
        cause = answers.find(_without_names(line))
        self._first.setdefault(cause, line.msg)
        if not summary:
            self.count += 1
            if cause is not None:
                self._counts[cause.failure_class] = self._counts.get(cause.failure_class, 0) + 1
            if line.object:
                self._objects.setdefault(cause, _Objects()).add(line.object)

    @property
    def none(self) -> bool:
        """Whether nothing went wrong in the latest attempt."""
        return not self._first

    def amount(self, failure_class: str) -> int:
        """Return how many lines belong to a class."""
        return self._counts.get(failure_class, 0)

    def failure(
        self,
        *,
        code: int,
        place: str,
        bucket: str,
        endpoint: str,
        total: int | None = None,
        sentences: Mapping[str, str] | None = None,
    ) -> Failure:
        """Return what to tell about a command that ended with `code` and was about `total` objects, where that is known.

        `sentences`, by reason, take the place of a cause's own where the user has other variables and fields than a DataMover's.
        """
        told = sentences or {}
        if self.silent:
            message = told.get(transfer.REASON_ENGINE_SILENT, _SILENT).format(seconds=self.silent)
            return Failure(transfer.INTERNAL, transfer.REASON_ENGINE_SILENT, message)
        if code == KILLED:
            message = told.get(transfer.REASON_OUT_OF_MEMORY, _OUT_OF_MEMORY)
            return Failure(transfer.INTERNAL, transfer.REASON_OUT_OF_MEMORY, message)
        cause = min(self._first, key=_PLACES.__getitem__, default=None)
        text = self._first.get(cause, "")
        objects = self._objects.get(cause, _Objects())
        if cause is None:
            quoted = f": {_brief(text)}" if text else ""
            return Failure(
                transfer.INTERNAL,
                transfer.REASON_ENGINE_FAILED,
                f"rclone ended with exit code {code}{quoted}. {objects.told(total)}Its log has more.",
                problems=tuple(objects.names),
            )
        if cause.failure_class == transfer.NO_SPACE and _LOCAL_WRITE.search(text):
            return Failure(
                transfer.NO_SPACE,
                transfer.REASON_NO_LOCAL_SPACE,
                f"No space left on device in the scratch space (a mover's own /config or /tmp, TMPDIR of a command): give it more. ({_brief(text)})",
            )
        chosen = told.get(cause.reason, cause.sentence)
        sentence = chosen.format(place=place, bucket=bucket, endpoint=endpoint) + _sent_on(text, endpoint)
        return Failure(
            cause.failure_class,
            cause.reason,
            f"{sentence} {objects.told(total) if cause.single else ''}({_brief(text)})",
            retryable=cause.retryable,
            problems=tuple(objects.names),
        )


class _Objects:
    """How many objects something is about, and the first few of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._seen: set[int] = set()
        self._count = 0

    def add(self, name: str) -> None:
        """Count an object once; beyond the limit each line counts, which is at most a few for an object."""
        if (known := hash(name)) in self._seen:
            return
        if len(self._seen) < _DISTINCT:
            self._seen.add(known)
        self._count += 1
        if len(self.names) < _EXAMPLES:
            self.names.append(name)

    def told(self, total: int | None) -> str:
        """Return a sentence with a space behind it, empty when there are none."""
        if not self._count:
            return ""
        count = self._count if total is None else min(self._count, total)
        of = f" of {total}" if total is not None else ""
        return f"That is so for {count}{of} object{'' if (total or count) == 1 else 's'}: {quote_names(self.names, count)}. "


def is_about_replacing(text: str) -> bool:
    """Tell whether an engine that may replace nothing says only that it did not, for one file or in the end."""
    return text.startswith(_NO_ERRORS) or (text.endswith(_NOT_REPLACED) and not text.startswith("Attempt "))


def is_about_vanished(text: str) -> bool:
    """Tell whether an engine says only that a file was gone when it was to be read, of one file or in the end."""
    return _VANISHED.fullmatch(text) is not None


def server_code(text: str) -> str | None:
    """Return the S3 error code in a dumped answer of the server, or None when there is none (not an S3 server)."""
    match = _XML_CODE.search(text)
    return match[1] if match else None


def is_web_page(text: str) -> bool:
    """Tell whether a dumped answer is a page for people, as web servers and proxies send."""
    return _WEB_PAGE.search(text) is not None


def about_record(failure: Failure, text: str, *, place: str, reading: bool) -> Failure:
    """Return what to tell about a request for a record of ours at `place`, from what the same words would mean about data.

    `text` is what the engine said. It reads and writes records as it does files, so it would be the source that cannot be read.
    """
    if reading and _MISSING.search(text):
        return Failure(
            transfer.GUARD,
            transfer.REASON_RECORD_UNUSABLE,
            f"The record {place} was there a moment ago and cannot be found: something else deletes there. Nothing was moved or deleted; it is tried"
            f" again. ({_brief(text)})",
            retryable=True,
        )
    doing = f"The record {place} cannot be {'read' if reading else 'written'}"
    if failure.failure_class in _OF_DATA:
        return Failure(transfer.INTERNAL, transfer.REASON_ENGINE_FAILED, f"{doing}: {_brief(text)}")
    return Failure(
        failure.failure_class,
        failure.reason,
        f"{doing}. {failure.message}",
        retryable=failure.retryable,
    )


def _sent_on(text: str, endpoint: str) -> str:
    """Return a sentence, with a space before it, when the request ended at another server than it was sent to."""
    found = _SERVER.search(text) if "request send failed" in text and "get credentials" not in text else None
    host = _SERVER.match(f'"{endpoint}/')
    if not found or not host or f".{found[1]}".endswith(f".{host[1]}"):
        return ""
    return f" The request had been sent on to {found[1]}: is BUCKET_HOST the S3 server itself?"


def _without_names(line: logs.Line) -> str:
    """Return what was said without the file's name where it stands as one, in an address or a path: whatever words it holds, nobody said them."""
    text = _URL.sub('""', line.msg)
    if line.object:
        text = text.removeprefix(f"{line.object}: ").replace(f"/{line.object}:", "/:")
    return text


def _brief(text: str) -> str:
    """Return the telling part of an engine's error: without request ids and what its SDK says of every request, at most 300 letters."""
    text = re.sub(r"\b(RequestID|HostID): [^,]*, ", "", text.replace("\n", " "))
    text = _BOILERPLATE.sub("", text)
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", text)
    return text if len(text) <= 300 else f"{text[:120]}…{text[-170:]}"
