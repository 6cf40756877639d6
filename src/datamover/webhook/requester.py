"""May whoever makes a DataVolume copy from another namespace? The API server is asked, for only here it is known who that is.

Guarantees: nothing but a plain yes of the API server, in time, becomes a permit (`datamover.volumes.permit`). Without one the DataVolume is made all the
same: its controller then says what is missing.
Assumptions: the client may create subjectaccessreviews and get datasources.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_source import DATA_SOURCES, DataSourceSource
from datamover.api.cdi.data_volume import ObjectSource, SourceReference
from datamover.api.validation import is_object_name
from datamover.volumes.permit import CloneSource, issue_permit
from datamover.webhook.review import NewVolume, Question
from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.clock import Clock, within
from kubekit.words.authorization import ACCESS_REVIEWS, User, ask_access

_log = logging.getLogger(__name__)

PATIENCE: Final = 3.0
"""Seconds for all that is asked about one DataVolume: the API server that waits for our answer gives it five."""
MOST: Final = 8
"""Requesters that are asked about at a time."""
_HOPS: Final = 2
"""DataSources that may stand for each other in a row."""


class Requesters:
    """Issues permits."""

    def __init__(self, client: Client, *, key: Callable[[], bytes | None], clock: Clock) -> None:
        """`key` is what permits are signed with; None while it is not known."""
        self._client = client
        self._key = key
        self._clock = clock
        self._asking = 0

    async def find_permit(self, question: Question, volume: NewVolume) -> str | None:
        """Return the permit for a DataVolume that is being created, None where it needs none or there is none to be had."""
        key, spec = self._key(), volume.spec
        if key is None or spec is None or (spec.source is None and spec.source_ref is None) or self._asking >= MOST:
            return None
        self._asking += 1
        try:
            source = await within(self._clock, PATIENCE, self._find_allowed(question, volume))
        except (KubeError, TimeoutError) as error:
            # Not in the server's words: they might quote what was sent.
            _log.warning("a requester could not be asked about: %s", type(error).__name__)
            return None
        finally:
            self._asking -= 1
        if source is None:
            return None
        meta = volume.metadata
        name = meta.name or question.name
        return issue_permit(
            key,
            namespace=question.namespace,
            name=name or meta.generate_name,
            prefix=not name,
            source=source,
            at=self._clock.now(),
        )

    async def _find_allowed(self, question: Question, volume: NewVolume) -> CloneSource | None:
        source = await self._find_source(question, volume)
        if source is None or not source.namespace or source.namespace == question.namespace:
            return None
        whole = replace(source, name="")
        for each in (whole, source):
            if await self._may(question.user_info, each):
                return each
        return None

    async def _find_source(self, question: Question, volume: NewVolume) -> CloneSource | None:
        spec = volume.spec
        if spec is None:
            return None
        if spec.source is not None:
            return _of(spec.source.pvc, spec.source.snapshot, question.namespace)
        if spec.source_ref is None or spec.source_ref.kind != DATA_SOURCES.kind:
            return None
        reference: SourceReference | ObjectSource | None = spec.source_ref
        namespace = question.namespace
        for _ in range(_HOPS):
            if reference is None:
                return None
            namespace = reference.namespace or namespace
            if not (is_object_name(reference.name) and is_object_name(namespace)):
                return None  # it is to become part of a request's path
            found = await self._client.get(DATA_SOURCES, reference.name, namespace=namespace)
            stands_for = found.spec.source if found.spec is not None else DataSourceSource()
            if (source := _of(stands_for.pvc, stands_for.snapshot, namespace)) is not None:
                return source
            reference = stands_for.data_source
        return None

    async def _may(self, user: User, source: CloneSource) -> bool:
        attributes = {
            "namespace": source.namespace,
            "verb": "create",
            "group": names.GROUP,
            "version": "*",
            "resource": "datavolumes",
            "subresource": "source",
            "name": source.name,
        }
        answer = await self._client.create(ACCESS_REVIEWS, ask_access(user, resourceAttributes=attributes))
        return answer.status is not None and answer.status.allowed is True


def _of(claim: ObjectSource | None, snapshot: ObjectSource | None, namespace: str) -> CloneSource | None:
    for kind, found in (("pvc", claim), ("snapshot", snapshot)):
        if found is not None:
            return CloneSource(kind, found.namespace or namespace, found.name)
    return None
