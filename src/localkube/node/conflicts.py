"""A write that conflicts with another writer is done for now: the watch brings the newer object."""

from kubekit.client.errors import Conflict
from kubekit.runtime.controller import DONE, Reconcile, Result
from kubekit.runtime.store import Key


def done_on_conflict(reconcile: Reconcile) -> Reconcile:
    """Return the same reconcile, done for now when the object has changed under it.

    What won the race reaches the cache by the watch, or has reached it already; either way the key is in the queue again. Law L7.
    """

    async def attempt(key: Key) -> Result:
        try:
            return await reconcile(key)
        except Conflict:
            return DONE

    return attempt
