"""From the caches to one frozen Facts. Reads nothing but caches."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from datamover.api import upload
from datamover.api.cdi.config import CDI_CONFIGS, CDIConfig
from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume, ObjectSource
from datamover.api.cdi.names import CONFIG_NAME
from datamover.api.cdi.storage_profile import STORAGE_PROFILES, StorageProfile
from datamover.plans.known import Known
from datamover.reconcilers.datavolume.ask import Ask, Flaw, Kind, ask_of, resolve, settle
from datamover.reconcilers.datavolume.claims import Wanted, choose_class, find_overhead, usable, want
from datamover.reconcilers.datavolume.facts import Away, Clone, Facts, Origin
from datamover.reconcilers.datavolume.order import copy_of, job_of, midway_of, prime_of
from datamover.runs import gather as runs
from datamover.runs.facts import Patience, RunFacts, Unread
from datamover.volumes import cloning
from datamover.volumes.beginnings import beginning_of
from datamover.volumes.binding import Obstacle
from datamover.volumes.cloning import bytes_of
from datamover.volumes.errands import errand_name, is_for
from datamover.volumes.permit import CloneSource, find_refusal
from kubekit.words.core import SECRET_METAS, SERVICES, PersistentVolume, PersistentVolumeClaim, SecretKeys
from kubekit.words.meta import HasMeta, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import StorageClass

T = TypeVar("T", bound=HasMeta)


class View(runs.View, Protocol):
    """The caches, read by name."""

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        ...

    def config_map(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a ConfigMap."""
        ...

    def named(self, resource: Resource[T], namespace: str, name: str) -> T | Unread:
        """An object that somebody wants to know by its name."""
        ...

    def child(self, resource: Resource[T], namespace: str, name: str) -> T | None:
        """A child of a further kind."""
        ...

    def storage_classes(self) -> tuple[StorageClass, ...]:
        """All StorageClasses."""
        ...


class Sources(Protocol):
    """DataVolumes and DataSources, read by name."""

    def volume(self, namespace: str, name: str) -> DataVolume | None:
        """A DataVolume."""
        ...

    def source(self, namespace: str, name: str) -> DataSource | None:
        """A DataSource."""
        ...


def gather(
    volume: DataVolume,
    *,
    view: View,
    sources: Sources,
    known: Known,
    now: datetime,
    patience: Patience,
    permit_keys: Callable[[], Collection[bytes]] = tuple,
) -> Facts:
    """Return what there is to know about a DataVolume. `permit_keys` prove that somebody may copy from another namespace."""
    namespace, claim = (
        volume.metadata.namespace or "",
        view.claim(volume.metadata.namespace or "", volume.metadata.name),
    )
    prime = view.claim(namespace, prime_of(claim)) if claim is not None else None
    ask, waits = ask_for(volume, claim, sources, permit_keys)
    config = view.named(CDI_CONFIGS, "", CONFIG_NAME)
    facts = Facts(
        volume,
        ask,
        _run(volume, claim, prime, view=view, known=known, now=now, patience=patience),
        claim=claim,
        claim_volume=_volume_of(claim, view),
        prime=prime,
        prime_volume=_volume_of(prime, view),
        waits=waits,
        config=config if isinstance(config, CDIConfig) else None,
    )
    if not isinstance(ask, Ask):
        return facts
    name = class_of(ask, claim, view.storage_classes())
    if waits:
        # a claim that is made already may not need what is waited for
        midway = view.snapshot(namespace, midway_of(volume))
        return replace(facts, storage_class=view.storage_class(name) if name else None, clone=Clone(midway=midway))
    away = _away(ask, claim, view, permit_keys)
    there = away.temporary if away is not None else None
    if there is not None and claim is not None and is_for(there, volume.metadata, claim):
        # what fills it is there, and belongs to that one
        facts = replace(facts, run=_run_of(there, there, claim, view=view, known=known, now=now, patience=patience))
    # who may not copy it is not told how large it is, or whether it is there
    origin = _origin(ask, view) if away is None or away.refusal is None else None
    return replace(
        facts,
        storage_class=view.storage_class(name) if name else None,
        wanted=None if Unread.NOT_SYNCED in (config, origin) else _want(ask, name, origin, facts.config, view),
        origin=origin,
        clone=replace(_clone(volume, origin, name, view=view, sources=sources), away=away)
        if ask.kind in (Kind.PVC, Kind.SNAPSHOT)
        else Clone(),
        belongings=_belongings(volume, view) if ask.kind is Kind.UPLOAD else (),
        secrets={each: view.secret(namespace, each) for each in named_secrets(ask)},
        config_maps={each: view.config_map(namespace, each) for each in named_config_maps(ask)},
    )


_NOT_TOLD = "nothing is told of DataSource"
_NEEDED = (
    ", which is of another namespace: it may be missing, or who created the DataVolume may not copy what it stands for. He needs the right to create "
    "datavolumes/source there, and datamover's webhook has to be at work when the DataVolume is created; then create it anew"
)


def class_of(ask: Ask, claim: PersistentVolumeClaim | None, classes: Iterable[StorageClass]) -> str | None:
    """Return the class that a claim is of, or is to be made of."""
    if claim is not None and claim.spec is not None:
        return claim.spec.storage_class_name
    return choose_class(ask.claim, classes, content=ask.content, completed=ask.completed)


def named_secrets(ask: Ask) -> tuple[str, ...]:
    """Return the Secrets that the source names."""
    http, s3 = ask.source.http, ask.source.s3
    found = (http.secret_ref, *(http.secret_extra_headers or ())) if http is not None else ()
    return tuple(each for each in (*found, *((s3.secret_ref,) if s3 is not None else ())) if each)


def named_config_maps(ask: Ask) -> tuple[str, ...]:
    """Return the ConfigMaps that the source names."""
    found = (each.cert_config_map for each in (ask.source.http, ask.source.s3) if each is not None)
    return tuple(each for each in found if each)


def ask_for(
    volume: DataVolume,
    claim: PersistentVolumeClaim | None,
    sources: Sources,
    permit_keys: Callable[[], Collection[bytes]],
) -> tuple[Ask | Flaw, str]:
    """Return what is asked for, and what a DataSource that says it is waited for. Of one in another namespace nothing is told without a permit.

    What a DataSource stands for counts when the claim is made, and what it says later no more (law L6).
    """
    ask = ask_of(volume)
    if not isinstance(ask, Ask) or ask.kind is not Kind.REFERENCE or ask.spec.source_ref is None:
        return ask, ""
    begun = beginning_of(claim, volume.metadata)
    if begun is not None:
        return settle(ask, begun.source), ""
    reference = ask.spec.source_ref
    home = reference.namespace or volume.metadata.namespace or ""
    found = resolve(ask, sources.source(home, reference.name))
    if home != volume.metadata.namespace:
        if isinstance(found, str) or _refusal_of(found, permit_keys) is not None:
            return ask, f"{_NOT_TOLD} {home}/{reference.name}{_NEEDED}"
        return found, ""
    return (
        (ask, f"waiting for DataSource {home}/{reference.name}, which {found}")
        if isinstance(found, str)
        else (found, "")
    )


def _run(
    volume: DataVolume,
    claim: PersistentVolumeClaim | None,
    prime: PersistentVolumeClaim | None,
    *,
    view: View,
    known: Known,
    now: datetime,
    patience: Patience,
) -> RunFacts:
    """Return what there is to know of the run: it belongs to the claim, so without one there is none."""
    if claim is None or not claim.metadata.owned_by(volume.metadata.uid):
        return RunFacts(now, known=known, patience=patience)
    return _run_of(claim, prime or claim, claim, view=view, known=known, now=now, patience=patience)


def _run_of(
    keeper: PersistentVolumeClaim,
    target: PersistentVolumeClaim,
    claim: PersistentVolumeClaim,
    *,
    view: View,
    known: Known,
    now: datetime,
    patience: Patience,
) -> RunFacts:
    """Return what there is to know of the worker that writes `target`, whose Job is `keeper`'s and called after the claim that is filled in the end."""
    return runs.gather_run(
        keeper.metadata,
        copy_of(target.metadata.name),
        job_of(claim.metadata.uid),
        view=view,
        known=known,
        now=now,
        patience=patience,
    )


def _want(
    ask: Ask, storage_class: str | None, origin: Origin | Unread | None, config: CDIConfig | None, view: View
) -> Wanted | Obstacle | None:
    profile = _profile(storage_class, view)
    if profile is Unread.NOT_SYNCED:
        return None
    mode = origin.spec.volume_mode if isinstance(origin, PersistentVolumeClaim) and origin.spec is not None else None
    return want(
        ask,
        storage_class=storage_class,
        profile=None if isinstance(profile, Unread) else profile,
        config=config,
        size=_disk_in(origin, config),
        volume_mode=mode,
    )


def _profile(storage_class: str | None, view: View) -> StorageProfile | Unread:
    return view.named(STORAGE_PROFILES, "", storage_class) if storage_class else Unread.MISSING


def _disk_in(origin: Origin | Unread | None, config: CDIConfig | None) -> int | None:
    """Return the size of the disk in what is copied, as far as its claim tells."""
    if not isinstance(origin, PersistentVolumeClaim):
        return None
    size = bytes_of(cloning.size_of(origin))
    if size is None or cloning.mode_of(origin) == cloning.BLOCK:
        return size
    return usable(size, find_overhead(config, origin.spec.storage_class_name if origin.spec is not None else None))


def _clone(
    volume: DataVolume, origin: Origin | Unread | None, storage_class: str | None, *, view: View, sources: Sources
) -> Clone:
    """Return what is known beside the origin of a copy."""
    found = maker = None
    if isinstance(origin, PersistentVolumeClaim):
        bound, owner = _volume_of(origin, view), cloning.maker_of(origin)
        found = bound if isinstance(bound, PersistentVolume) else None
        maker = sources.volume(origin.metadata.namespace or "", owner.name) if owner is not None else None
    profile = _profile(storage_class, view)
    return Clone(
        volume=found,
        maker=maker,
        profile=None if isinstance(profile, Unread) else profile,
        snapshot_classes=view.snapshot_classes() or (),
        midway=view.snapshot(volume.metadata.namespace or "", midway_of(volume)),
    )


def _away(
    ask: Ask, claim: PersistentVolumeClaim | None, view: View, permit_keys: Callable[[], Collection[bytes]]
) -> Away | None:
    """Return what is known of a copy from another namespace, None where it is none."""
    named = _named_by(ask)
    if named is None or (named.namespace or ask.namespace) == ask.namespace:
        return None
    home, refusal = named.namespace or "", _refusal_of(ask, permit_keys)
    temporary = view.claim(home, errand_name(claim)) if claim is not None else None
    begun = beginning_of(claim, ask.volume.metadata)
    by_worker = begun.by_worker if begun is not None else None
    return Away(home, refusal, temporary, _volume_of(temporary, view), by_worker)


def _named_by(ask: Ask) -> ObjectSource | None:
    return {Kind.PVC: ask.source.pvc, Kind.SNAPSHOT: ask.source.snapshot}.get(ask.kind)


def _refusal_of(ask: Ask, permit_keys: Callable[[], Collection[bytes]]) -> str | None:
    """Return why the source must not be copied; None when it may."""
    named = _named_by(ask)
    if named is None:
        return None
    source = CloneSource(ask.kind.value, named.namespace or ask.namespace, named.name)
    return find_refusal(ask.volume.metadata, source, keys=permit_keys())


def _belongings(volume: DataVolume, view: View) -> tuple[tuple[Resource[Any], HasMeta], ...]:
    """Return the Secret and the Service of an upload, as far as they are there."""
    namespace, name = volume.metadata.namespace or "", upload.name_of(volume.metadata.uid)
    found: tuple[tuple[Resource[Any], HasMeta | None], ...] = (
        (SECRET_METAS, view.child(SECRET_METAS, namespace, name)),
        (SERVICES, view.child(SERVICES, namespace, name)),
    )
    return tuple((resource, child) for resource, child in found if child is not None)


def _origin(ask: Ask, view: View) -> Origin | Unread | None:
    pvc, snapshot = ask.source.pvc, ask.source.snapshot
    if ask.kind is Kind.PVC and pvc is not None:
        return view.claim(pvc.namespace or ask.namespace, pvc.name) or Unread.MISSING
    if ask.kind is Kind.SNAPSHOT and snapshot is not None:
        home = snapshot.namespace or ask.namespace
        return view.snapshot(home, snapshot.name) or view.named(VOLUME_SNAPSHOTS, home, snapshot.name)
    return None


def _volume_of(claim: PersistentVolumeClaim | None, view: View) -> PersistentVolume | Unread | None:
    name = claim.spec.volume_name if claim is not None and claim.spec is not None else None
    return view.volume(name) if name else None
