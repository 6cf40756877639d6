"""The answers of servers, found in the engine's words, and what they mean. Pure.

The engine hands an answer on in words of its own: `StatusCode: 403, …, api error AccessDenied: …`.
"""

import functools
import re

import msgspec

from datamover.agent.rclone.causes import CAUSES, UNKNOWN, Cause

# codes that say so little that the words beside them say more
_GENERIC = frozenset({"accessdenied", "forbidden", "invalidrequest", "invalidargument", "internal"})
# what these say holds whatever code stands beside them
_PLAIN_STATUSES = frozenset({401, 402, 403, 407, 413, 429, 431, *range(500, 600)})

_STATUS = re.compile(r"StatusCode: ([1-9]\d\d)\b")
# of the errors that its SDK has a type for, the engine leaves out that they are errors of the server's
_CODE = re.compile(
    r"(?:api error |StatusCode: [^,]*, RequestID: [^,]*, HostID: [^,]*, (?=[A-Z]))([\w.]+):? ?(.*)|the server answers ([\w.]+)",
    re.DOTALL,
)
_VENDOR = re.compile(r"^(X?Minio(Admin)?|X?Admin)(?=[A-Z])")
_SUFFIX = re.compile(r"(Error|Exception)$")
_NAMES = re.compile(r"\"[^\"]*\"|'[^']*'|\barn:\S+")
_WORD = re.compile(r"\b[A-Z][a-zA-Z0-9]*[a-z][a-zA-Z0-9]*\b")


class Answer(msgspec.Struct, frozen=True):
    """An answer of a server, as the engine tells it. `status` is 0 and `code` empty where it does not say."""

    status: int
    code: str
    words: str


def read(text: str) -> Answer | None:
    """Return the answer of a server that the engine's words tell of, None when they tell of none."""
    found = _CODE.search(text)
    status = _STATUS.search(text)
    if not found and not status:
        return None
    code = (found[1] or found[3]) if found else ""
    words = (found[2] or "") if found else ""
    if code.lower() == words.strip().replace(" ", "").lower() and _normal(code) not in _index():
        code, words = "", ""  # the engine's own words for a status, where the server said nothing
    # whatever words a name has, nobody said them
    return Answer(status=int(status[1]) if status else 0, code=code, words=_NAMES.sub("''", words))


def find(text: str) -> Cause | None:
    """Return what a text of the engine means, None when it tells of no answer and nothing in it is known."""
    cause = _by_pattern(text, first=True)
    if cause is not None:
        return cause
    answer = read(text)
    if answer is not None:
        return _by_answer(answer, text) or _by_pattern(text) or UNKNOWN
    return _by_pattern(text) or next(filter(None, map(_by_code, _WORD.findall(text))), None)


def _by_answer(answer: Answer, text: str) -> Cause | None:
    code = _normal(answer.code)
    for cause in CAUSES:
        if cause.narrowed and answer.code in cause.codes and re.search(cause.words, answer.words, re.IGNORECASE):
            return cause
    named = _by_code(answer.code)
    if named is not None and code not in _GENERIC:
        return named
    if answer.words:
        for cause in CAUSES:
            if cause.words and not cause.narrowed and re.search(cause.words, answer.words, re.IGNORECASE):
                return cause
    if named is not None:
        return named
    if not code:
        for cause in CAUSES:
            if cause.shape and re.search(cause.shape, text, re.IGNORECASE | re.DOTALL):
                return cause
    if code and answer.status not in _PLAIN_STATUSES:
        return UNKNOWN
    return next((cause for cause in CAUSES if answer.status in cause.statuses), None)


def _by_code(code: str) -> Cause | None:
    normal = _normal(code)
    found = _index().get(normal)
    if found is None and normal:
        found = next(
            (cause for start, cause in _index().items() if start[-1] == "*" and normal.startswith(start[:-1])), None
        )
    return found


@functools.cache
def _index() -> dict[str, Cause]:
    return {_normal(code): cause for cause in CAUSES if not cause.narrowed for code in cause.codes}


def _by_pattern(text: str, *, first: bool = False) -> Cause | None:
    for cause in CAUSES:
        wanted = cause.pattern and (not first or cause.first)
        if wanted and re.search(cause.pattern, text, re.IGNORECASE):
            return cause
    return None


def _normal(code: str) -> str:
    """Return a code as it is compared: some servers put their name before it, or `Error` behind it, and some do not."""
    return _SUFFIX.sub("", _VENDOR.sub("", code)).lower()
