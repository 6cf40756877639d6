"""A CDI beside a real API server: it makes DataVolumes the owners of their claims again as `support.cdi` says, from a cache that is late.

It says nothing of its own accord: a test writes what DataVolumes say. Whatever it sees of them it sees `late` seconds after it was so; claims at once.
"""

import asyncio
import contextlib

import msgspec

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from kubekit.client.client import Client
from kubekit.client.errors import KubeError
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from support import cdi

LATE = 0.3


class CdiActor:
    """See the module's docstring."""

    def __init__(self, client: Client, *, late: float = LATE) -> None:
        self.repairs = 0
        """How often it has made a DataVolume the owner of a claim."""
        self._client = client
        self._late = late
        self._seen: dict[Key, DataVolume] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._volumes = Informer(client, DATA_VOLUMES)
        self._claims = Informer(client, PERSISTENT_VOLUME_CLAIMS)
        self._volumes.add_handler(self._see_volume)
        self._claims.add_handler(self._see_claim)

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(self._volumes.run(), self._claims.run())

    def _see_volume(self, old: DataVolume | None, new: DataVolume | None) -> None:
        def show() -> None:
            if new is not None:
                self._seen[key_of(new.metadata)] = new
                self._see_claim(None, self._claims.store.get(key_of(new.metadata)))
            elif old is not None:
                self._seen.pop(key_of(old.metadata), None)

        asyncio.get_running_loop().call_later(self._late, show)

    def _see_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        volume = self._seen.get(key_of(new.metadata)) if new is not None else None
        if new is not None and volume is not None:
            task = asyncio.get_running_loop().create_task(self._repair(volume, new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _repair(self, volume: DataVolume, claim: PersistentVolumeClaim) -> None:
        patch = cdi.repair(msgspec.to_builtins(volume), msgspec.to_builtins(claim))
        if patch is None:
            return
        meta = claim.metadata
        sent = {"metadata": {**patch, "uid": meta.uid, "resourceVersion": meta.resource_version}}
        with contextlib.suppress(KubeError):
            where = {"namespace": meta.namespace, "field_manager": "cdi-controller"}
            await self._client.patch(PERSISTENT_VOLUME_CLAIMS, meta.name, sent, **where)
            self.repairs += "ownerReferences" in patch
