"""At the start: directories that no API object knows any more are removed, for a crash may have lost the object (law L5).

Guarantees: only directories that this node made (their names say so) and only when the API server is the one that they were made for:
the UID of its namespace kube-system is kept beside them. With another server nothing is removed.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import KubeError, NotFound
from kubekit.runtime.informer import Informer
from kubekit.words.meta import PartialObject, Resource
from localkube.node.directories import Directories, InUse
from localkube.node.kinds import VOLUMES, Claim
from localkube.node.snapshot_kinds import CONTENTS

_log = logging.getLogger(__name__)

_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", PartialObject, namespaced=False)
VOLUME_PREFIX = "pvc-"
SNAPSHOT_PREFIX = "snapcontent-"


class OrphanRemover:
    """Removes them once, at the start. `identity` is the file that says which cluster the directories belong to."""

    def __init__(self, client: Client, *, directories: Directories, identity: Path, claims: Informer[Claim]) -> None:
        self._client = client
        self._directories = directories
        self._identity = identity
        self._claims = claims

    async def run(self) -> None:
        """Remove orphans, then rest until cancelled."""
        await self._claims.synced.wait()
        try:
            if await self._is_same_cluster():
                await self._remove_orphans()
        except KubeError as error:
            _log.warning("directories that no object knows are not removed: %s", error)
        await asyncio.Event().wait()

    async def _is_same_cluster(self) -> bool:
        uid = (await self._client.get(_NAMESPACES, "kube-system")).metadata.uid
        known = await asyncio.to_thread(_read_or_write, self._identity, uid)
        if known != uid:
            _log.warning(
                "%s was made for another cluster (%s): what no object knows there is kept", self._identity.parent, known
            )
        return known == uid

    async def _remove_orphans(self) -> None:
        wanted = {VOLUME_PREFIX + claim.metadata.uid for claim in self._claims.store.list()}
        for name in await self._directories.names():
            if name in wanted or not await self._is_orphan(name):
                continue
            try:
                await self._directories.remove(name)
                _log.info("removed directory %s, which no object knows", name)
            except (InUse, OSError) as error:
                _log.warning("directory %s cannot be removed: %s", name, error)

    async def _is_orphan(self, name: str) -> bool:
        if name.startswith(VOLUME_PREFIX):
            resource: Resource[PartialObject] = _partial(VOLUMES)
        elif name.startswith(SNAPSHOT_PREFIX):
            resource = _partial(CONTENTS)
        else:
            return False
        try:
            await self._client.get(resource, name)
        except NotFound as error:
            return error.details.get("name") == name  # a missing kind says nothing about the object
        return False


def _partial(resource: Resource[Any]) -> Resource[PartialObject]:
    return Resource(
        resource.group, resource.version, resource.plural, resource.kind, PartialObject, namespaced=resource.namespaced
    )


def _read_or_write(path: Path, uid: str) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.write_text(uid)
        return uid
