"""Everything that a decision about one DataVolume may know, frozen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.storage_profile import StorageProfile
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.reconcilers.datavolume.ask import Ask, Flaw
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.binding import Obstacle
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, SecretKeys
from kubekit.words.meta import HasMeta, Manifest, Resource
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import StorageClass

Origin = PersistentVolumeClaim | VolumeSnapshot
"""What a copy is made from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with. `environment` are variables that every worker gets, `deadline` (seconds) is how long one Job may take."""

    mover_image: str
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    environment: tuple[Manifest, ...] = ()
    patience: Patience = PATIENT
    deadline: int | None = None


@dataclass(frozen=True, slots=True)
class Away:
    """What is known where the source is of another namespace: why nothing may be copied from there (None: it may be), and what has the name of the temporary
    claim there, whoever's it is. `by_worker` tells whether a worker copies; None where that is not decided yet.
    """

    namespace: str
    refusal: str | None
    temporary: PersistentVolumeClaim | None = None
    volume: PersistentVolume | Unread | None = None
    by_worker: bool | None = None


@dataclass(frozen=True, slots=True)
class Clone:
    """What is known beside the origin of a copy: its volume, the DataVolume that controls it, how copies are made of the class that is wanted, and the
    snapshot that was taken on the way, whoever's it is. `snapshot_classes` is empty where the cluster has no snapshots. `away` is None where the source is of
    the DataVolume's namespace; where it may not be copied, nothing else is known.
    """

    volume: PersistentVolume | None = None
    maker: DataVolume | None = None
    profile: StorageProfile | None = None
    snapshot_classes: tuple[VolumeSnapshotClass, ...] = ()
    midway: VolumeSnapshot | None = None
    away: Away | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """One DataVolume, what it asks for (or why that cannot be had), its claim, and the run of the worker that fills it.

    `claim` is what has its name, whoever's it is, and `claim_volume` the volume of that; None when it has none. `prime` is what has the name of
    the temporary claim, and `prime_volume` the volume of that. `storage_class` is the class that the claim is of, or is to be. `waits` is what is not
    known yet, in words; its own watch brings it. `wanted` is None where that cannot be said. `origin` is what a copy is made from; None where nothing is copied.
    `secrets` and `config_maps` are those that the spec names.
    """

    volume: DataVolume
    ask: Ask | Flaw
    run: RunFacts
    claim: PersistentVolumeClaim | None = None
    claim_volume: PersistentVolume | Unread | None = None
    prime: PersistentVolumeClaim | None = None
    prime_volume: PersistentVolume | Unread | None = None
    storage_class: StorageClass | None = None
    wanted: Wanted | Obstacle | None = None
    waits: str = ""
    obstacle: Obstacle | None = None
    config: CDIConfig | None = None
    origin: Origin | Unread | None = None
    secrets: Mapping[str, SecretKeys | Unread] = field(default_factory=dict[str, SecretKeys | Unread])
    config_maps: Mapping[str, SecretKeys | Unread] = field(default_factory=dict[str, SecretKeys | Unread])
    clone: Clone = Clone()
    belongings: tuple[tuple[Resource[Any], HasMeta], ...] = ()
    """The Secret and the Service of an upload, as far as they are there."""
