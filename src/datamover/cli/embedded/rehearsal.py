"""`datamover run --dry-run`: everything is checked as it would be at the start, against a copy of the state in memory. Nothing runs, nothing is kept.

ManifestError    an object cannot be used; the message says where it was read and what to do
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.validation import check_spec
from datamover.cli.applying import apply
from datamover.cli.embedded.state import WorldError, restore_for_reading
from datamover.cli.embedded.world import install_basics, tell_adoption
from datamover.cli.manifests import ManifestError, Source, data_movers
from datamover.cli.volumes import Volume
from kubekit.client.client import Client
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import SECRETS
from localkube.node.adoption import AdoptionError, check_adopted, list_adopted
from localkube.node.kinds import PersistentVolume
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport


async def rehearse(
    sources: tuple[Source, ...],
    volumes: tuple[Volume, ...],
    *,
    state: Path,
    max_copy_age: timedelta,
    say: Callable[[str], None],
) -> tuple[DataMover, ...]:
    """Say what would be run, and return the DataMovers as they would be applied. Raises ManifestError, WorldError."""
    server = ApiServer()
    restore_for_reading(server, state)
    client = Client(LocalTransport(server))
    await install_basics(client)
    before = {key_of(mover.metadata): mover for mover in await client.list(DATA_MOVERS)}
    keys = await apply(client, sources, kept=before, max_copy_age=max_copy_age, clock=SystemClock(), say=say)
    places = {
        Key(s.manifest["metadata"]["namespace"], s.manifest["metadata"]["name"]): s.place for s in data_movers(sources)
    }
    given = {volume.name: volume for volume in volumes}
    adopted = await list_adopted(client)
    movers: list[DataMover] = []
    for key in keys:
        _check_volumes(volumes, adopted, namespace=key.namespace)
        mover = await client.get(DATA_MOVERS, key.name, namespace=key.namespace)
        spec = mover.spec
        finding = check_spec(spec) if spec is not None else None
        if spec is None or finding is not None:
            raise ManifestError(
                f"{places[key]}: DataMover {key.name}: {finding.message if finding else 'it has no spec'}"
            )
        secrets = {secret.metadata.name for secret in await client.list(SECRETS, namespace=key.namespace)}
        kept = adopted.get(Key(key.namespace, spec.source_pvc))
        source = given[spec.source_pvc].path if spec.source_pvc in given else kept.directory if kept is not None else ""
        lacks = [
            *([] if source else [f"no --volume {spec.source_pvc}=DIR stands for its source"]),
            *([] if spec.secret_name in secrets else [f"the Secret {spec.secret_name} is not among the manifests"]),
        ]
        tail = f", but {' and '.join(lacks)}" if lacks else ""
        say(f"{key}: would back up {source or spec.source_pvc}{tail}")
        movers.append(mover)
    say("nothing was run and nothing is kept (--dry-run)")
    return tuple(movers)


def _check_volumes(volumes: tuple[Volume, ...], adopted: Mapping[Key, PersistentVolume], *, namespace: str) -> None:
    """Refuse a directory for a claim that stands for another one. Raises WorldError."""
    for volume in volumes:
        claim = Key(namespace, volume.name)
        if claim in adopted:
            try:
                check_adopted(adopted[claim], volume.path, claim=claim)
            except AdoptionError as error:
                raise WorldError(tell_adoption(volume, error, claim=claim)) from error
