"""What the embedded node could not copy of a volume, such as owners of files. Read at the end of a command, because the events go when it ends."""

from kubekit.client.client import Client
from kubekit.words.core import EVENTS
from localkube.node.names import COPY_INCOMPLETE, COPY_NOT_CONSISTENT


async def find_copy_losses(client: Client) -> tuple[str, ...]:
    """Return a sentence for each copy that is not complete. Raises the client's errors."""
    events = await client.list(EVENTS)
    return tuple(
        f"{event.involved_object.name}: {event.message}"
        for event in events
        if event.reason in {COPY_INCOMPLETE, COPY_NOT_CONSISTENT} and event.involved_object is not None
    )
