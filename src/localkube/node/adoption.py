"""A user's own directory as a claim: used where it is, not copied.

Such a directory is never written to and never removed by the node: its volume is not dynamically provisioned and its reclaim policy is
Retain (laws L1, L2).

AdoptionError            the directory cannot be used; the message says what to do
AdoptedElsewhereError    the claim stands for another directory; the message says for which
"""

import asyncio
import threading
from hashlib import sha256
from pathlib import Path

from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.store import Key
from kubekit.words.quantity import parse_quantity
from localkube.node.kinds import CLAIMS, VOLUMES, Claim, PersistentVolume
from localkube.node.names import ADOPTED, FIELD_MANAGER
from localkube.node.provisioning import adopted_manifests
from localkube.node.walking import measure_tree

_GIB = 1 << 30


class AdoptionError(Exception):
    """The directory cannot be used as a volume."""


class AdoptedElsewhereError(AdoptionError):
    """The claim stands for another directory."""


async def adopt_directory(
    client: Client,
    *,
    name: str,
    path: Path,
    node: str,
    storage_class: str,
    state_dir: Path,
    namespace: str = "default",
    size: str | None = None,
) -> Claim:
    """Make the directory `path` the volume of the claim `namespace/name`, and return the claim.

    `storage_class` is the class that clones of it are provisioned by; `size` is what the claim shows (default: what the files take,
    rounded up to whole GiB). Doing it again for the same directory changes nothing. Raises AdoptionError, KubeError.
    """
    directory = await asyncio.to_thread(_checked, path, state_dir)
    if size is None:
        taken = await _measure(directory)
        size = f"{max(1, -(-taken // _GIB))}Gi"
    volume_name = f"adopted-{sha256(f'{namespace}/{name}'.encode()).hexdigest()[:16]}"
    claim = await _get_claim(client, name, namespace)
    volume = await _get_volume(client, volume_name)
    if claim is not None and claim.volume_name != volume_name:
        raise AdoptionError(f"claim {namespace}/{name} exists already and is not for {directory}; choose another name")
    if volume is not None:
        check_adopted(volume, directory, claim=Key(namespace, name))
    if claim is not None and volume is not None:
        return claim
    if volume is not None:  # its claim was deleted: a released volume cannot be bound again
        await client.patch(
            VOLUMES,
            volume_name,
            {"spec": {"claimRef": {"uid": None, "resourceVersion": None, "namespace": namespace, "name": name}}},
            field_manager=FIELD_MANAGER,
        )
        size = str(volume.capacity)
    elif claim is not None:
        size = str(claim.request)
    parse_quantity(size)
    wanted_volume, wanted_claim = adopted_manifests(
        name=name,
        namespace=namespace,
        volume=volume_name,
        directory=directory,
        node=node,
        size=size,
        storage_class=storage_class,
    )
    if volume is None:
        await client.create(VOLUMES, wanted_volume, field_manager=FIELD_MANAGER)
    return claim or await client.create(CLAIMS, wanted_claim, field_manager=FIELD_MANAGER)


async def list_adopted(client: Client) -> dict[Key, PersistentVolume]:
    """Return the volumes that stand for people's own directories, by the claims that they are for."""
    found = [volume for volume in await client.list(VOLUMES) if volume.metadata.annotation(ADOPTED) is not None]
    return {
        Key(ref.namespace or "", ref.name or ""): volume for volume in found if (ref := volume.claim_ref) is not None
    }


def check_adopted(volume: PersistentVolume, directory: Path, *, claim: Key) -> None:
    """Make sure that the volume of a claim is for this directory. Raises AdoptedElsewhereError."""
    if volume.directory != str(directory) or volume.metadata.annotation(ADOPTED) is None:
        raise AdoptedElsewhereError(f"claim {claim} stands for {volume.directory} already")


async def _measure(directory: Path) -> int:
    """Return the bytes in a directory. Whoever gives up does not wait for millions of files to be looked at."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(measure_tree, directory, stop=stop.is_set)
    finally:
        stop.set()


def _checked(path: Path, state_dir: Path) -> Path:
    try:
        directory = path.resolve(strict=True)
    except OSError as error:
        raise AdoptionError(f"{path}: {error.strerror}") from error
    if not directory.is_dir():
        raise AdoptionError(f"{path} is not a directory")
    state = state_dir.resolve()
    if state.is_relative_to(directory) or directory.is_relative_to(state):
        raise AdoptionError(
            f"{directory} and the node's own state directory {state} lie in one another; choose another state directory"
        )
    return directory


async def _get_claim(client: Client, name: str, namespace: str) -> Claim | None:
    try:
        return await client.get(CLAIMS, name, namespace=namespace)
    except NotFound:
        return None


async def _get_volume(client: Client, name: str) -> PersistentVolume | None:
    try:
        return await client.get(VOLUMES, name)
    except NotFound:
        return None
