"""Everything that a decision about one object may know, frozen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from datamover.movers.defaults import NONE, MoverDefaults
from datamover.reconcilers.replication.ask import Ask, Replication
from datamover.reconcilers.replication.turns import Writer
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.copy_trigger import Sharer
from kubekit.words.core import PersistentVolumeClaim, SecretKeys, Service
from kubekit.words.meta import HasMeta, Manifest, PartialObject, Resource
from kubekit.words.snapshot import VolumeSnapshot
from kubekit.words.storage import StorageClass

Temporary = tuple[Resource[Any], HasMeta]
"""A child of one synchronisation: its kind, and what there is of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with. `environment` are variables that every mover gets, such as the operator's own proxies.

    `jitter` is the most that a scheduled synchronisation is put off, `deadline` (seconds) how long one Job may take, `most_at_once` how many
    movers may run at the same time; None is no limit.
    """

    mover_image: str
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    environment: tuple[Manifest, ...] = ()
    patience: Patience = PATIENT
    jitter: timedelta = timedelta(0)
    deadline: int | None = None
    most_at_once: int | None = None


@dataclass(frozen=True, slots=True)
class Belongings:
    """What there is of what a mover needs besides its data. None is what is not there.

    `mounted` are the names of the claims that are there of those that `moverVolumes` names. `secrets` are the Secrets that are pointed to or generated, `config_map` and `account` what the spec names, each as far as it is known. `old_cache` has the name that restic's cache had in older versions of the original.
    """

    account: HasMeta | None = None
    role: HasMeta | None = None
    binding: HasMeta | None = None
    cache: PersistentVolumeClaim | None = None
    cache_class: StorageClass | None = None
    old_cache: PersistentVolumeClaim | None = None
    service: Service | None = None
    secrets: Mapping[str, SecretKeys | Unread] = field(default_factory=dict[str, SecretKeys | Unread])
    generated: Mapping[str, HasMeta] = field(default_factory=dict[str, HasMeta])
    config_map: SecretKeys | Unread = Unread.MISSING
    mounted: frozenset[str] = frozenset()


NOTHING = Belongings()


@dataclass(frozen=True, slots=True)
class Facts:
    """One object, what it asks for (or why that cannot be done), its run, and what belongs to it.

    `temporaries` are the children that carry its UID in the cleanup label. `images` are all snapshots of its own, `image` the one that
    is being made of a destination's volume. `running` is how many other movers run that do not only listen, `sharers` who else copies the source,
    `writers` which other destinations write the same claim.
    """

    obj: Replication
    ask: Ask | str
    run: RunFacts
    belongings: Belongings = NOTHING
    namespace: PartialObject | Unread = Unread.NOT_SYNCED
    temporaries: tuple[Temporary, ...] = ()
    images: tuple[VolumeSnapshot, ...] = ()
    image: VolumeSnapshot | None = None
    running: int = 0
    sharers: tuple[Sharer, ...] = ()
    writers: tuple[Writer, ...] = ()
