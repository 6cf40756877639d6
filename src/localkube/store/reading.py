"""The read side: get, list with pages, and the start of watches."""

import base64
import binascii
from typing import NamedTuple

from localkube.store.calls import Call
from localkube.store.kinds import Kind
from localkube.store.selectors import Selector, parse_selector
from localkube.store.statuses import (
    Fault,
    StatusError,
    bad_request,
    expired,
    invalid,
    not_found,
    prohibited,
    required,
    unsupported,
)
from localkube.store.storage import Collection, Record, Storage
from localkube.store.trees import Tree, decode, encode, mapping, text

_MAX_DIGITS = 20
TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, "
    "or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - "
    "objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


class Page(NamedTuple):
    """A list, or a part of one."""

    records: list[Record]
    revision: int
    token: str
    remaining: int | None

    def metadata(self) -> Tree:
        """Return the list's metadata."""
        meta: Tree = {"resourceVersion": str(self.revision)}
        if self.token:
            meta["continue"] = self.token
        if self.remaining:
            meta["remainingItemCount"] = self.remaining
        return meta


class Reader:
    """Reads the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, call: Call) -> Record:
        """GET of one object. Raises StatusError 404, and 504 for a revision that is not reached yet."""
        kind = call.kind
        record = self._collection(kind).get(call.namespace, call.name)
        self._check_reached(_revision(call))
        if record is None:
            raise not_found(kind.group, kind.plural, call.name)
        return record

    def page(self, call: Call) -> Page:
        """GET of a collection. Raises StatusError 400, 410 (expired revision or token), 504."""
        selector = self.selector(call)
        limit, token, match = (
            call.number("limit") or 0,
            call.query.get("continue", ""),
            call.query.get("resourceVersionMatch", ""),
        )
        asked = _revision(call)
        self._check_match(call, match, asked, token)
        collection = self._collection(call.kind)
        revision, after = self._storage.revision, ""
        if token:
            revision, after = self._resume(collection, token)
        elif match == "Exact" and asked:
            revision = asked
            if revision < collection.floor:
                raise expired("The resourceVersion for the provided list is too old.")
        self._check_reached(asked)
        found = self.select(call, selector, revision=revision, after=after)
        if not limit or len(found) <= limit:
            return Page(found, revision, "", None)
        records = found[:limit]
        remaining = None if selector else len(found) - limit
        return Page(records, revision, _token(revision, records[-1].key), remaining)

    def select(self, call: Call, selector: Selector, *, revision: int, after: str = "") -> list[Record]:
        """Return what a call selects, as it was at `revision`, from behind the key `after`."""
        collection = self._collection(call.kind)
        name = selector.name
        if revision != self._storage.revision:
            found = collection.scan_at(call.namespace, revision=revision, after=after)
        elif name is not None and (call.namespace or not call.kind.namespaced):
            # one known object: no scan, however many there are
            only = collection.get(call.namespace, name)
            found = [only] if only is not None else []
        else:
            found = collection.scan(call.namespace, after=after)
        return [record for record in found if selector.matches(record)] if selector else found

    def selector(self, call: Call) -> Selector:
        """Return the selector of a call; a name in the path is one too."""
        return parse_selector(
            call.query.get("labelSelector", ""),
            call.query.get("fieldSelector", ""),
            known=call.kind.strategy.selectable,
            custom=call.kind.custom,
        )

    def watch_start(self, call: Call) -> tuple[int, bool]:
        """Return where a watch starts, and whether the present state comes first. Raises StatusError 400 and 410."""
        asked = call.query.get("resourceVersion", "")
        initial = call.query.get("sendInitialEvents")
        match = call.query.get("resourceVersionMatch", "")
        if initial is not None:
            faults = list[Fault]()
            if match != "NotOlderThan":
                faults.append(
                    prohibited(
                        "resourceVersionMatch",
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    )
                    if match
                    else required(
                        "resourceVersionMatch",
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    )
                )
            if faults:
                raise invalid("meta.k8s.io", "ListOptions", "", faults)
        elif match:
            raise invalid(
                "meta.k8s.io",
                "ListOptions",
                "",
                [
                    prohibited(
                        "resourceVersionMatch",
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    )
                ],
            )
        revision = _revision(call)
        if initial in {"true", "1"}:
            return self._storage.revision, True
        if asked in {"", "0"}:
            return self._storage.revision, initial is None
        return revision, False

    def too_old(self, kind: Kind, revision: int) -> StatusError | None:
        """Return the refusal (410) of a watch from `revision` when the history does not reach back to it, else None."""
        floor = self._collection(kind).floor
        return expired(f"too old resource version: {revision} ({floor})") if revision < floor else None

    def _collection(self, kind: Kind) -> Collection:
        return self._storage.collection(kind.collection)

    def _check_match(self, call: Call, match: str, asked: int, token: str) -> None:
        faults = list[Fault]()
        if "sendInitialEvents" in call.query:
            faults.append(prohibited("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        if match:
            if match not in {"Exact", "NotOlderThan"}:
                faults.append(unsupported("resourceVersionMatch", match, ("Exact", "NotOlderThan", "")))
            if "resourceVersion" not in call.query or not call.query["resourceVersion"]:
                faults.append(
                    prohibited(
                        "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
                    )
                )
            elif match == "Exact" and asked == 0:
                faults.append(
                    prohibited(
                        "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                    )
                )
            if token:
                faults.append(
                    prohibited("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
                )
        if faults:
            raise invalid("meta.k8s.io", "ListOptions", "", faults)
        if token and asked:
            raise bad_request("specifying resource version is not allowed when using continue")

    def _check_reached(self, asked: int) -> None:
        if asked > self._storage.revision:
            message = f"Too large resource version: {asked}, current: {self._storage.revision}"
            raise StatusError(
                504,
                "Timeout",
                f"Timeout: {message}",
                details={
                    "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                    "retryAfterSeconds": 1,
                },
                headers={"retry-after": "1"},
            )

    def _resume(self, collection: Collection, token: str) -> tuple[int, str]:
        try:
            parsed = mapping(decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))))
            revision, start = parsed["rv"], text(parsed["start"])
        except (ValueError, binascii.Error, KeyError):
            raise bad_request(f"invalid continue token: continue key is not valid: {token}") from None
        if not isinstance(revision, int):
            raise bad_request(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"
            )
        if revision == -1:
            return self._storage.revision, start
        if revision < collection.floor or revision > self._storage.revision:
            raise expired(TOO_OLD_PAGE, token=_token(-1, start))
        return revision, start


def _token(revision: int, key: str) -> str:
    return base64.urlsafe_b64encode(encode({"v": "meta.k8s.io/v1", "rv": revision, "start": key})).decode().rstrip("=")


def _revision(call: Call) -> int:
    value = call.query.get("resourceVersion", "")
    if not value:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise bad_request(f'Invalid value: "{value}": strconv.ParseUint: parsing "{value}": invalid syntax')
    return int(value)
