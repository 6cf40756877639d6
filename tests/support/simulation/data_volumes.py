"""A world with DataVolumes and a CDI, and what the laws ask of it when it rests."""

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.definition import MANAGED_BY_LABEL, cdi_config_crd, data_volume_crd
from datamover.cli.datavolumes import collection
from datamover.cli.surroundings import MakeKind
from kubekit.words.core import CONFIG_MAPS, NAMESPACE_METAS, PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import seconds
from support import cdi
from support.simulation.calls import Tree
from support.simulation.cdi import Cdi
from support.simulation.collection_ledger import CollectionLedger, is_asked
from support.simulation.conduct import Conduct
from support.simulation.trees import finalizers_of, holds, is_going, look, name_of, owners_of, uid_of
from support.simulation.world import CLASS, DEFINITIONS, SPACE, World, simulate

MADE: Final = "made"
"""CDI makes the claim and fills it."""
ADOPTED: Final = "adopted"
"""The claim was there, and the DataVolume says that it takes it over."""
POPULATED: Final = "populated"
"""The claim was there, and says which DataVolume has filled it."""
COPIED: Final = "copied"
"""The DataVolume itself says that its claim is filled: CDI copies that to the claim."""
ORIGINS: Final = (MADE, ADOPTED, POPULATED, COPIED)
FOREIGN: Final = "example.com/wait"


@dataclass(frozen=True)
class Manner:
    """How CDI and the network between it and the operator behave. `eager` is how likely CDI acts at once after a write of an operator."""

    lag: float = 0.5
    eager: float = 0.5
    adoption: bool = False


def collect(
    story: Callable[[World, Cdi], Coroutine[Any, Any, None]],
    *,
    seed: object,
    kinds: tuple[MakeKind, ...] = (collection,),
    manner: Manner | None = None,
    conduct: Conduct | None = None,
) -> World:
    """Tell a history of DataVolumes."""
    manner = manner or Manner()

    async def told(world: World) -> None:
        hand = world.hand("cdi", world.cluster.wake)
        part = Cdi(world.cluster, hand, storage_class=CLASS, lag=manner.lag, adoption=manner.adoption)
        dice = world.dice("eager")
        world.cluster.owners += [DATA_VOLUMES, CONFIG_MAPS]
        world.cluster.dependents.append(DATA_VOLUMES)
        world.ledger.kinds.append(CONFIG_MAPS)
        world.cluster.add(part)

        def changed(who: str) -> None:
            part.note()
            world.ledger.observe(who)
            if who not in ("cdi", "cluster") and dice.random() < manner.eager:
                world.cluster.soon(part.look)

        world.watchers.append(changed)
        await story(world, part)

    return simulate(told, seed=seed, conduct=conduct, kinds=kinds, ledger=CollectionLedger)


def furnish(world: World, *, ttl: int | None = 0) -> None:
    """Put in what a cluster with a CDI has before the first DataVolume."""
    world.furnish(secret=False, source=False)
    for definition in (data_volume_crd(), cdi_config_crd()):
        definition["metadata"]["labels"].pop(MANAGED_BY_LABEL, None)
        world.user.create(DEFINITIONS, definition)
    if world.user.find(NAMESPACE_METAS, SPACE) is None:
        world.user.create(NAMESPACE_METAS, {"metadata": {"name": SPACE}})
    world.user.create(CDI_CONFIGS, {"metadata": {"name": names.CONFIG_NAME}, "spec": {}})
    set_ttl(world, ttl)


def set_ttl(world: World, ttl: int | None) -> None:
    """Say in CDIConfig how long DataVolumes stay."""
    world.history.note("user", f"sets the TTL to {ttl}")
    world.user.patch(CDI_CONFIGS, names.CONFIG_NAME, {"spec": {"dataVolumeTTLSeconds": ttl}})


def give_owner(world: World, name: str) -> Tree:
    """Create something that may own others; return the reference to it."""
    made = world.user.find(CONFIG_MAPS, name, SPACE) or world.user.create(
        CONFIG_MAPS, {"metadata": {"name": name}}, SPACE
    )
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid_of(made)}


def give_volume(
    world: World, name: str = "disk", origin: str = MADE, *, owners: tuple[str, ...] = (), asked: str | None = "true"
) -> Tree:
    """Create a DataVolume, and the claim that it is to find."""
    world.history.note("user", f"creates DataVolume {name}, its claim is {origin}, owners {owners}, asked {asked}")
    annotations: Tree = {} if asked is None else {names.DELETE_AFTER_COMPLETION: asked}
    there = world.user.find(PERSISTENT_VOLUME_CLAIMS, name, SPACE) is not None
    if origin != MADE and not there:
        marks = {names.POPULATED_FOR: name} if origin == POPULATED else {}
        give_claim(world, name, marks)
    if origin == ADOPTED or there:
        annotations[names.ALLOW_ADOPTION] = "true"
    if origin == COPIED:
        annotations[names.POPULATED_FOR] = name
    meta: Tree = {"name": name, "annotations": annotations}
    meta["ownerReferences"] = [give_owner(world, each) for each in owners]
    spec: Tree = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}
    made = world.user.create(DATA_VOLUMES, {"metadata": meta, "spec": spec}, SPACE)
    if origin == COPIED:  # it takes its claim over only when it has Succeeded, and this one has
        now = seconds(world.server.now())
        status = cdi.status_of(made, phase=names.Phase.SUCCEEDED, now=now, adopted=True, ready=True)
        made = world.user.patch(DATA_VOLUMES, name, {"status": status}, SPACE, "status")
    return made


def give_claim(world: World, name: str, annotations: Tree | None = None) -> Tree:
    spec: Tree = {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
    spec["resources"] = {"requests": {"storage": "1Gi"}}
    meta: Tree = {"name": name, "annotations": annotations or {}}
    return world.user.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": meta, "spec": spec}, SPACE)


def volume_of(world: World, name: str = "disk") -> Tree | None:
    return world.user.find(DATA_VOLUMES, name, SPACE)


def claim_of(world: World, name: str = "disk") -> Tree | None:
    return world.user.find(PERSISTENT_VOLUME_CLAIMS, name, SPACE)


def annotate(world: World, name: str, annotations: Tree) -> None:
    if volume_of(world, name) is not None:
        world.history.note("user", f"annotates DataVolume {name}: {annotations}")
        world.user.patch(DATA_VOLUMES, name, {"metadata": {"annotations": annotations}}, SPACE)


def check_rest(world: World) -> None:
    """Note what is wrong with a world that rests: what waits without a word, is half handed over, or was left behind."""
    for volume in world.user.all(DATA_VOLUMES):
        name, claim = f"DataVolume {name_of(volume)}", claim_of(world, name_of(volume))
        if names.FINALIZER in finalizers_of(volume):
            world.history.breaks("L5", f"{name} rests with our finalizer")
        said = (volume["metadata"].get("annotations") or {}).get(names.COLLECTION, "")
        if is_asked(volume) and not is_going(volume) and not said and _is_done(volume):
            world.history.breaks("L10", f"{name} rests, and nobody says why: {volume['metadata']}")
        record = json.loads((look(claim, "metadata", "annotations") or {}).get(names.RECORD, "{}"))
        if record.get("uid") == uid_of(volume) and not record.get("returned"):
            world.history.breaks("L5", f"{name} rests with a claim that was handed over")
    for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS):
        if not is_going(claim) and (world.ledger.collected & set(owners_of(claim))):
            world.history.breaks("handover", f"claim {name_of(claim)} belongs to a DataVolume that was collected")


def _is_done(volume: Tree) -> bool:
    return look(volume, "status", "phase") == names.Phase.SUCCEEDED and holds(volume, "Ready")
