"""What the status of a StorageProfile says: what its users say, else what is known of the class's driver. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from datamover.api.cdi.storage_profile import (
    ClaimProperties,
    StorageProfile,
    StorageProfileSpec,
    StorageProfileStatus,
)
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Plan, WriteStatus
from datamover.volumes.cloning import CLONE_STRATEGY, choose_method, choose_snapshot_class
from datamover.volumes.drivers import ways_of
from kubekit.words.snapshot import VolumeSnapshotClass
from kubekit.words.storage import StorageClass

FORMAT: Final = "pvc"
"""How imports of DataImportCrons are kept where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A profile, its class, and the cluster's snapshot classes; None where it has no snapshots."""

    profile: StorageProfile
    storage_class: StorageClass | None
    snapshot_classes: tuple[VolumeSnapshotClass, ...] | None = None
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[StorageProfileStatus]:
    """Write what is known, when it is another thing than is said."""
    profile = facts.profile
    if profile.metadata.terminating:
        return REST
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return Plan(wake_after=refusal.retry_after)
    status = describe(facts)
    return REST if status == profile.status else Plan((WriteStatus(status),))


def describe(facts: Facts) -> StorageProfileStatus:
    """Return what the status is to say. Of a class that is not there nothing is known but what users say."""
    profile, of = facts.profile, facts.storage_class
    said, driver = profile.spec or StorageProfileSpec(), of.provisioner if of is not None else ""
    snapshots = choose_snapshot_class(facts.snapshot_classes or (), driver=driver, wanted=said.snapshot_class or None)
    advised = of.metadata.annotation(CLONE_STRATEGY) if of is not None else None
    known: dict[str, Any] = {
        "storage_class": profile.metadata.name,
        "provisioner": driver or None,
        "claim_property_sets": said.claim_property_sets or _ways_of(driver) or None,
        "clone_strategy": said.clone_strategy or _strategy_of(advised, driver=driver, snapshot_class=snapshots),
        "data_import_cron_source_format": said.data_import_cron_source_format or (FORMAT if driver else None),
        "snapshot_class": said.snapshot_class or snapshots,
    }
    return replace(profile.status or StorageProfileStatus(), **known)


def _strategy_of(advised: str | None, *, driver: str, snapshot_class: str | None) -> str | None:
    return choose_method(advised, driver=driver, snapshot_class=snapshot_class).value if driver else None


def _ways_of(driver: str) -> tuple[ClaimProperties, ...]:
    return tuple(
        ClaimProperties(access_modes=(way.access_mode,), volume_mode=way.volume_mode) for way in ways_of(driver)
    )
