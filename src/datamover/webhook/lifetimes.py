"""How long completed DataVolumes of a namespace stay, from caches of the webhook's own: of what is asked for there, and no more.

Kept are CDIConfig and the namespaces that have the label, so that a cluster of thousands of namespaces costs nothing. It goes on whatever the
controllers do, on each replica.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS, CDIConfig
from datamover.volumes.collection_time import Lifetime, find_lifetime
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key
from kubekit.words.core import NAMESPACE_METAS

if TYPE_CHECKING:
    from kubekit.words.meta import PartialObject

_CONFIG: Final = Key("", names.CONFIG_NAME)


class CachedLifetimes:
    """Call it with a namespace; None is answered while it is not known."""

    def __init__(self, client: Client, *, own: int | None, namespace: str | None, clock: Clock) -> None:
        """`own` is the operator's setting; with `namespace`, DataVolumes of others are none of its business."""
        self._own = own
        self._namespace = namespace
        by_name = f"metadata.name={namespace}" if namespace else None
        self._namespaces: Informer[PartialObject] = Informer(
            client,
            NAMESPACE_METAS,
            field_selector=by_name,
            label_selector=None if namespace else names.TTL_LABEL,
            optional=True,
            clock=clock,
        )
        self._configs: Informer[CDIConfig] = Informer(
            client, CDI_CONFIGS, field_selector=f"metadata.name={names.CONFIG_NAME}", optional=True, clock=clock
        )

    def __call__(self, namespace: str) -> Lifetime | None:
        """Return what holds in a namespace."""
        if self._namespace is not None and namespace != self._namespace:
            return Lifetime(None, "nobody: the operator watches another namespace")
        if not _is_known(self._namespaces):
            return None
        found = self._namespaces.store.get(Key("", namespace))
        label = found.metadata.label(names.TTL_LABEL) if found is not None else None
        if label is None and self._own is None and not _is_known(self._configs):
            return None
        return find_lifetime(label=label, own=self._own, config=self._configs.store.get(_CONFIG))

    async def run(self) -> None:
        """Watch until cancelled."""
        informers: tuple[Informer[Any], ...] = (self._namespaces, self._configs)
        async with asyncio.TaskGroup() as group:
            for each in informers:
                group.create_task(each.run(), name=f"{each.name} of the webhook")


def _is_known(informer: Informer[Any]) -> bool:
    """Tell whether what is not in the store is not there."""
    if informer.state is State.FORBIDDEN or informer.store.poisoned():
        return False
    return informer.synced.is_set() or informer.state is State.ABSENT
