"""How one kind of source fills a claim: the seam between the way that all of them go, and what is special about each. Pure.

A kind of source is a function from the facts to a `Filling`, or to what is missing for it; the kind (`kind.FILLERS`) has one for each that is supported. Either
a worker writes the data (`build`), or the driver of the claim makes its volume from `data`, and Bound means populated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datamover.api.cdi.config import CDIConfigSpec
from datamover.api.cdi.names import Phase
from datamover.api.importer import CONTAINER
from datamover.api.ownership import Owner
from datamover.plans.steps import Effect
from datamover.reconcilers.datavolume.ask import Ask
from datamover.reconcilers.datavolume.claims import Data, Wanted
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.volumes.binding import Obstacle
from kubekit.words.meta import HasMeta, Manifest


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is made for: the claim that it writes, and whose it is.

    `owner` is the DataVolume's claim, with which everything of the run goes. `restarts` is how often a worker was started again before. `config` is what
    the cluster's CDIConfig says.
    """

    owner: Owner
    job: str
    run_id: str
    claim: str
    claim_uid: str
    wanted: Wanted
    restarts: int
    settings: Settings
    config: CDIConfigSpec | None = None


@dataclass(frozen=True, slots=True)
class Abroad:
    """It is copied in the namespace of the source, into a temporary claim: by the driver that makes it from `source` (a reference as claims have it), or by a
    worker that mounts both. `origin` is what `source` names, and None where the temporary claim is there already.
    """

    source: Manifest
    origin: HasMeta | None = None


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills the claim, and in which words it is told.

    `build` makes the worker's Job, None where the driver fills the claim from `data`. `steps` make what the worker needs besides, such as a Service; they
    are asked for as long as it is not there. `request` is the size that the claim is made with, where the source decides on it.
    """

    scheduled: Phase
    running: Phase
    build: Callable[[Place], Manifest] | None = None
    data: Data | None = None
    steps: tuple[Effect, ...] = ()
    request: str | int | None = None
    container: str = CONTAINER
    abroad: Abroad | None = None
    endless: bool = False
    """Whether the worker waits for somebody, so that no deadline counts."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What has to be there, or be known, before the claim or its worker is made: do `steps`, and look again in `wake_after` seconds."""

    phase: Phase
    reason: str
    message: str
    steps: tuple[Effect, ...] = ()
    wake_after: float | None = None
    warns: bool = False


Filler = Callable[[Ask, Facts], Filling | Preparation | Obstacle]
"""Says how a kind of source fills the claim. Pure: all that it may know is in the facts."""

IMPORT: Final = (Phase.IMPORT_SCHEDULED, Phase.IMPORT_IN_PROGRESS)
CLONE: Final = (Phase.CLONE_SCHEDULED, Phase.CLONE_IN_PROGRESS)
UPLOAD: Final = (Phase.UPLOAD_SCHEDULED, Phase.UPLOAD_READY)
