"""Everything that a decision about one DataVolume may know, frozen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.reconcilers.datavolume.ask import Ask, Flaw
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.binding import Obstacle
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, SecretKeys
from kubekit.words.meta import Manifest
from kubekit.words.snapshot import VolumeSnapshot
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
