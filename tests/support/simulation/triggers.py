"""A user who says when the copies of the source are taken: by hand, or by a script that keeps the application quiet meanwhile."""

from datamover.api.copy_trigger import (
    CONSUMED_ANNOTATION,
    PREFIX,
    TRIGGER_ANNOTATION,
    USE_ANNOTATION,
    Status,
)
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.trees import look, name_of
from support.simulation.world import SOURCE, SPACE, World


def annotations(world: World) -> dict[str, str]:
    """What the source says of its copy triggers, by the last word of each name."""
    source = world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) or {}
    found: dict[str, str] = look(source, "metadata", "annotations") or {}
    return {key.removeprefix(PREFIX): value for key, value in found.items() if key.startswith(PREFIX)}


def annotate(world: World, values: dict[str, str | None]) -> None:
    """Change annotations of the source, as its user would."""
    world.history.note("user", f"annotates {values}")
    world.user.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, {"metadata": {"annotations": values}}, SPACE)


def want(world: World) -> None:
    """Let copies wait for triggers."""
    annotate(world, {USE_ANNOTATION: ""})


def trigger(world: World, value: str | None) -> None:
    """Set a trigger, or take it away."""
    annotate(world, {TRIGGER_ANNOTATION: value})


def copies(world: World) -> list[tuple[str, str | None]]:
    """The names of all snapshots and clones, and what they were taken for."""
    found = [*world.user.all(VOLUME_SNAPSHOTS), *world.user.all(PERSISTENT_VOLUME_CLAIMS)]
    return [
        (name_of(each), (look(each, "metadata", "annotations") or {}).get(CONSUMED_ANNOTATION))
        for each in found
        if name_of(each) != SOURCE
    ]


class Script:
    """Keeps the application quiet from before each trigger until that is told to be complete. Looks at each change, as parts of the cluster do."""

    def __init__(self, world: World, *, rounds: int = 1, pause: float = 0.2) -> None:
        self.done: list[str] = []
        self._quiet = False
        self._world = world
        self._left = [f"go{number}" for number in range(1, rounds + 1)]
        self._pause = pause

    def start(self) -> None:
        self._world.cluster.add(self)

    def look(self) -> None:
        self._check()
        if not self._left:
            return
        said, value = annotations(self._world), self._left[0]
        if self._quiet and said.get("latest-copy-trigger") == value:
            self._quiet = False
            self.done.append(self._left.pop(0))
        elif not self._quiet and said.get("latest-copy-status") == Status.WAITING:
            self._world.cluster.later("trigger", value, self._pause, self._go)

    def _go(self) -> None:
        if not self._quiet:
            self._quiet = True
            trigger(self._world, self._left[0])

    def _check(self) -> None:
        """A copy for a trigger is in the making only while the application is quiet."""
        if self._quiet:
            return
        for resource in (VOLUME_SNAPSHOTS, PERSISTENT_VOLUME_CLAIMS):
            for each in self._world.user.all(resource):
                triggered = (look(each, "metadata", "annotations") or {}).get(CONSUMED_ANNOTATION) is not None
                ready = look(each, "status", "readyToUse") or look(each, "status", "phase") == "Bound"
                of_snapshot = look(each, "spec", "dataSource", "kind") == "VolumeSnapshot"
                if triggered and not ready and not of_snapshot:
                    self._world.history.breaks("quiet", f"{name_of(each)} is copied while the application works")
