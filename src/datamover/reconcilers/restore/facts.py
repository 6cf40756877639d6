"""Everything that one decision about a DataMoverRestore may know, frozen."""

from dataclasses import dataclass

from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from kubekit.words.core import PersistentVolume, PersistentVolumeClaim, SecretKeys
from kubekit.words.storage import StorageClass


@dataclass(frozen=True, slots=True)
class Facts:
    """One DataMoverRestore, and what is known of its run, whose `source` is the claim that is restored into.

    `mover` is the DataMover that the spec names, `secret` the Secret of the bucket; both count only before the restore is recorded. `before` are the
    names of other restores of the same claim that come first. `copies` are what is being made of the claim and is not there yet, in words.

    `population` is whether this operator fills claims at all.

    Where the claim is filled by a temporary one (`RestoreRun.temporary_claim`), that is the run's `source`, and `target` is the claim, with its class and
    its volume: the one that it has, or the one that names it.
    """

    restore: DataMoverRestore
    run: RunFacts
    mover: DataMover | Unread = Unread.NOT_SYNCED
    secret: SecretKeys | Unread = Unread.NOT_SYNCED
    before: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    target: PersistentVolumeClaim | None = None
    target_class: StorageClass | None = None
    target_volume: PersistentVolume | Unread = Unread.MISSING
    population: bool = True

    @property
    def temporary(self) -> str | None:
        """The temporary claim by which the claim is filled; None where the mover writes the claim itself."""
        status = self.restore.status
        return status.run.temporary_claim if status is not None and status.run is not None else None

    @property
    def claim(self) -> PersistentVolumeClaim | None:
        """The user's claim."""
        return self.target if self.temporary is not None else self.run.source

    @property
    def claim_class(self) -> StorageClass | None:
        """Its class."""
        return self.target_class if self.temporary is not None else self.run.source_class


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with: `mover_image` replaces the documented default image, and `mover_pull_policy` its policy;
    `mover_defaults` say how movers run whose object does not. `population` is whether claims are filled that wait for a restore.
    """

    mover_image: str | None = None
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    patience: Patience = PATIENT
    population: bool = True
