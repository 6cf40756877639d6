"""`datamover run --dry-run`: everything is checked as it would be at the start, against a copy of the state in memory. Nothing runs, nothing is kept.

ManifestError    an object cannot be used; the message says where it was read and what to do
"""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path

from datamover.api.cdi.data_volume import DataVolume
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.api.v1alpha1.restore_validation import check_spec as check_restore
from datamover.api.v1alpha1.validation import check_spec
from datamover.cli.applying import apply, check, name_in
from datamover.cli.embedded.state import WorldError, restore_for_reading
from datamover.cli.embedded.world import install_basics, tell_adoption
from datamover.cli.manifests import ManifestError, Source, runnables
from datamover.cli.runnables import RUNNABLES, Replication, Runnable, kind_of, name_of
from datamover.cli.sequence import find_waits
from datamover.cli.volumes import Volume
from datamover.reconcilers.replication.ask import ask_of
from datamover.reconcilers.replication.references import named_secrets
from datamover.volumes.handover import describe_source
from kubekit.client.client import Client
from kubekit.runtime.clock import SystemClock
from kubekit.runtime.store import Key
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
) -> tuple[Runnable, ...]:
    """Say what would be run, and return the objects as they would be applied. Raises ManifestError, WorldError."""
    server = ApiServer()
    restore_for_reading(server, state)
    client = Client(LocalTransport(server))
    await install_basics(client)
    before = {name_of(obj): obj for resource in RUNNABLES.values() for obj in await client.list(resource)}
    checked = await check(client, sources)
    wanted = await apply(client, checked, kept=before, max_copy_age=max_copy_age, clock=SystemClock(), say=say)
    places = {name_in(source): source.place for source in runnables(sources)}
    adopted = await list_adopted(client)
    objects: list[Runnable] = []
    waits = find_waits({name_in(source): source.manifest for source in runnables(sources)})
    for name, each in wanted.items():
        _check_volumes(volumes, adopted, namespace=name.key.namespace)
        if each.recalled is not None:
            objects.append(each.recalled)
            continue
        obj = await client.get(name.resource, name.key.name, namespace=name.key.namespace)
        secrets = {secret.metadata.name for secret in await client.list(SECRETS, namespace=name.key.namespace)}
        directories = {
            claim.name: kept.directory for claim, kept in adopted.items() if claim.namespace == name.key.namespace
        }
        directories |= {volume.name: str(volume.path) for volume in volumes}
        if name in waits:
            directories[waits[name].key.name] = f"what {waits[name]} has filled"
        say(f"{name}: {_tell(obj, places[name], directories=directories, secrets=secrets)}")
        objects.append(obj)
    say("nothing was run and nothing is kept (--dry-run)")
    return tuple(objects)


def _tell(obj: Runnable, place: str, *, directories: Mapping[str, str], secrets: Collection[str]) -> str:
    """Return what would be done, and what is missing for it. Raises ManifestError."""
    if isinstance(obj, DataVolume):
        return f"would fill its disk from {describe_source(obj.spec) or 'nothing'}"
    if isinstance(obj, DataMover):
        return _tell_mover(obj, place, directories=directories, secrets=secrets)
    if isinstance(obj, DataMoverRestore):
        return _tell_restore(obj, place, directories=directories, secrets=secrets)
    return _tell_replication(obj, place, directories=directories, secrets=secrets)


def _tell_mover(mover: DataMover, place: str, *, directories: Mapping[str, str], secrets: Collection[str]) -> str:
    spec = mover.spec
    finding = check_spec(spec) if spec is not None else None
    if spec is None or finding is not None:
        raise ManifestError(
            f"{place}: DataMover {mover.metadata.name}: {finding.message if finding else 'it has no spec'}"
        )
    source = directories.get(spec.source_pvc, "")
    lacks = [
        *([] if source else [f"no --volume {spec.source_pvc}=DIR stands for its source"]),
        *([] if spec.secret_name in secrets else [f"the Secret {spec.secret_name} is not among the manifests"]),
    ]
    return f"would back up {source or spec.source_pvc}{_but(lacks)}"


def _tell_restore(
    restore: DataMoverRestore, place: str, *, directories: Mapping[str, str], secrets: Collection[str]
) -> str:
    spec = restore.spec
    finding = check_restore(spec, now=SystemClock().now()) if spec is not None else None
    if spec is None or finding is not None:
        name = restore.metadata.name
        raise ManifestError(f"{place}: DataMoverRestore {name}: {finding.message if finding else 'it has no spec'}")
    claim, bucket = spec.target.claim_name, spec.source.bucket
    target = directories.get(claim, "")
    lacks = [] if target or spec.target.create is not None else [f"no --volume {claim}=DIR stands for its claim"]
    if bucket is not None and bucket.secret_name not in secrets:
        lacks.append(f"the Secret {bucket.secret_name} is not among the manifests")
    return f"would restore {spec.point} into {target or claim}{_but(lacks)}"


def _tell_replication(obj: Replication, place: str, *, directories: Mapping[str, str], secrets: Collection[str]) -> str:
    ask = ask_of(obj)
    if isinstance(ask, str):
        raise ManifestError(f"{place}: {kind_of(obj)} {obj.metadata.name}: {ask}")
    directory = directories.get(ask.claim, "") if ask.claim is not None else ""
    missing = [] if directory or ask.claim is None else [f"no --volume {ask.claim}=DIR stands for its volume"]
    missing += [f"the Secret {name} is not among the manifests" for name in named_secrets(ask) if name not in secrets]
    volume = directory or ask.claim or "a volume of its own"
    what = f"would copy {volume} with {ask.method}" if ask.is_source else f"would bring {volume} back with {ask.method}"
    return f"{what}{_but(missing)}"


def _but(lacks: list[str]) -> str:
    return f", but {' and '.join(lacks)}" if lacks else ""


def _check_volumes(volumes: tuple[Volume, ...], adopted: Mapping[Key, PersistentVolume], *, namespace: str) -> None:
    """Refuse a directory for a claim that stands for another one. Raises WorldError."""
    for volume in volumes:
        claim = Key(namespace, volume.name)
        if claim in adopted:
            try:
                check_adopted(adopted[claim], volume.path, claim=claim)
            except AdoptionError as error:
                raise WorldError(tell_adoption(volume, error, claim=claim)) from error
