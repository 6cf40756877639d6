"""A gate that is open while the API server serves a kind: its CustomResourceDefinition is watched, by name.

Guarantees: nothing is asked while nothing changes. A definition that goes closes the gate before its objects are gone, unless they wait
for their controller.
Caveats: without the right to watch it the gate is open, for then nothing is known; the kind's own informer finds out.
"""

import logging
from typing import Any

from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.gate import Gate
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS, CustomResourceDefinition
from kubekit.words.meta import Resource

_log = logging.getLogger(__name__)


class DefinitionGate(Gate):
    """See the module's docstring."""

    def __init__(
        self, client: Client, resource: Resource[Any], *, to_the_end: bool = False, clock: Clock | None = None
    ) -> None:
        """`to_the_end`: it stays open until the last object is gone, for a kind whose objects wait for their controller then."""
        super().__init__("definition")
        self._to_the_end = to_the_end
        self._key = Key("", resource.group_resource)
        self._informer: Informer[CustomResourceDefinition] = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            field_selector=f"metadata.name={self._key.name}",
            optional=True,
            clock=clock,
        )
        self._informer.add_handler(lambda _old, _new: self._judge())
        self._informer.add_state_handler(lambda _state: self._judge())

    async def run(self) -> None:
        """Watch the definition until cancelled."""
        await self._informer.run()

    def _judge(self) -> None:
        informer, name = self._informer, self._key.name
        if informer.state is State.FORBIDDEN:
            if self.check() is not None:
                _log.info("CustomResourceDefinition %s may not be watched: its kind is taken to be there", name)
            self._note(None)
        elif informer.synced.is_set() or informer.state is State.ABSENT:
            self._note(_find_problem(informer.store.get(self._key), name, to_the_end=self._to_the_end))


def _find_problem(found: CustomResourceDefinition | None, name: str, *, to_the_end: bool) -> str | None:
    if found is None:
        return f"the cluster has no CustomResourceDefinition {name}"
    if found.metadata.terminating and not to_the_end:
        return f"CustomResourceDefinition {name} is being deleted"
    if found.status is None:  # who sets none serves what is there
        return None
    served = any(each.type == "Established" and each.status == "True" for each in found.status.conditions or ())
    return None if served else f"CustomResourceDefinition {name} is not served yet"
