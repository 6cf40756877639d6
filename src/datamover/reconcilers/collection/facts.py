"""Everything that one decision about the collection of a DataVolume may know, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.plans.known import UNKNOWN, Known, OwnerFound
from datamover.runs.facts import Unread
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import PartialObject


class Machines(StrEnum):
    """What becomes of DataVolumes that a virtual machine owns."""

    SKIP = "Skip"
    """They stay, unless the cluster's KubeVirt is known to do without them."""
    COLLECT = "Collect"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator collects. `ttl` is in seconds, negative for never; None leaves it to CDIConfig."""

    ttl: int | None = None
    dry_run: bool = False
    machines: Machines = Machines.SKIP
    stamp: bool = True


@dataclass(frozen=True, slots=True)
class Facts:
    """A DataVolume, its claim, and what speaks for and against its collection.

    `claim` is what has the name that the status says, whoever owns it. `owners` are those of the DataVolume by UID, as they were found; None
    before they were asked for. `kubevirt` is the version of the cluster's KubeVirt, empty where it does not say, MISSING where there is none.
    `collector` is a CDI that collects by itself, empty where there is none. `since` is since when a lifetime holds for new DataVolumes of the
    namespace, None where that was not recorded. `leftovers` names what was made to fill the claim, belongs to it, and is still there.
    """

    now: datetime
    volume: DataVolume
    claim: PersistentVolumeClaim | None
    settings: Settings
    namespace: PartialObject | Unread = Unread.NOT_SYNCED
    config: CDIConfig | Unread = Unread.NOT_SYNCED
    owners: Mapping[str, OwnerFound] | None = None
    kubevirt: str | Unread = ""
    collector: str = ""
    since: datetime | None = None
    leftovers: tuple[str, ...] = ()
    known: Known = UNKNOWN
