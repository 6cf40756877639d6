"""Everything that one decision about a DataMover may know, frozen."""

from dataclasses import dataclass
from typing import Final

from datamover.api.v1alpha1.datamover import DataMover
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.runs.facts import PATIENT, Patience, RunFacts, Unread
from datamover.volumes.copy_trigger import Sharer
from kubekit.words.batch import Job
from kubekit.words.core import Pod, SecretKeys


@dataclass(frozen=True, slots=True)
class Comparison:
    """What there is by the name of the Job that compares what a run has left, whoever owns it, and its Pods."""

    job: Job | None = None
    pods: tuple[Pod, ...] = ()


NO_COMPARISON: Final = Comparison()
"""There is none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One DataMover, and what is known of its run. `clone_name` is the recorded name of the clone, or the next one; None without a clone.

    `sharers` are the other owners that copy the same source, where its user says by triggers when they may. Of a run that is complete
    `comparison` is known as well, and by name the DataMovers that back its claim up now: `backups`.
    """

    mover: DataMover
    run: RunFacts
    secret: SecretKeys | Unread = Unread.NOT_SYNCED
    clone_name: str | None = None
    sharers: tuple[Sharer, ...] = ()
    comparison: Comparison = NO_COMPARISON
    backups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with.

    `cluster` is the UID of the cluster. `mover_image` replaces the documented default image, and `mover_pull_policy` its policy;
    `mover_defaults` say how movers run whose DataMover does not.
    """

    cluster: str
    mover_image: str | None = None
    mover_pull_policy: str | None = None
    mover_defaults: MoverDefaults = NONE
    patience: Patience = PATIENT
