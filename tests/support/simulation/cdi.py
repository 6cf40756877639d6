"""A CDI beside the operator: it fills claims, says so, and repairs whose they are, from a cache that is late by any number of events.

Of each name it remembers all that a DataVolume has ever said. What it acts on is one of these versions, never an older one than before; the claim it
sees as it is, for what it writes on an older one is refused. It looks after every change, also in the middle of a handover.
"""

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import seconds
from support import cdi
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.hand import Hand, Refused
from support.simulation.trees import holds, is_going, look, name_of, space_of, uid_of

Place = tuple[str, str]
_AGAIN = 0.4


class Cdi:
    """See the module's docstring. `lag` is how likely it stays behind at a look, `adoption` its feature gate."""

    def __init__(
        self, cluster: Cluster, hand: Hand, *, storage_class: str, lag: float = 0.5, adoption: bool = False
    ) -> None:
        self.lag = lag
        self.adoption = adoption
        self.makes_claims = True
        """Whether it makes a claim, and fills it, where there is none."""
        self.repairs = 0
        """How often it has made a DataVolume the owner of a claim that was there."""
        self._cluster = cluster
        self._hand = hand
        self._class = storage_class
        self._versions: dict[Place, list[Tree | None]] = {}
        self._shown: dict[Place, int] = {}

    def note(self) -> None:
        """Remember what DataVolumes say now: to be called after each change, before anything else happens."""
        there = {(space_of(each), name_of(each)): each for each in self._hand.all(DATA_VOLUMES)}
        for place in there.keys() | self._versions.keys():
            known, now = self._versions.setdefault(place, [None]), there.get(place)
            if known[-1] is not now:
                known.append(now)

    def look(self) -> None:
        self.note()
        for place, versions in self._versions.items():
            last = len(versions) - 1
            shown = self._shown.get(place, 0)
            if shown < last:
                dice = self._cluster.dice
                shown = dice.randint(shown, last) if dice.random() < self.lag else last
                self._shown[place] = shown
            if shown < last:
                self._cluster.later("cdi catches up", "/".join(place), _AGAIN, self.look)
            volume = versions[shown]
            if volume is not None and not is_going(volume):
                self._serve(volume)

    # --- one DataVolume -------------------------------------------------------------------------------

    def _serve(self, volume: Tree) -> None:
        claim = self._hand.find(PERSISTENT_VOLUME_CLAIMS, name_of(volume), space_of(volume))
        try:
            if claim is None:
                self._make(volume)
                return
            patch = cdi.repair(volume, claim, adoption=self.adoption)
            if patch is not None:
                self._patch(volume, claim, patch)
            if cdi.is_its_own(volume, self._claim(volume) or claim):
                self._tell(volume, claim, adopted=patch is not None and "ownerReferences" in patch)
        except Refused as refusal:
            self._cluster.note(f"cdi is refused: {refusal}")

    def _patch(self, volume: Tree, claim: Tree, patch: Tree) -> None:
        if "ownerReferences" in patch:
            self.repairs += 1
            self._cluster.note(f"cdi makes DataVolume {name_of(volume)} {uid_of(volume)[:8]} the owner of its claim")
        on = {"uid": uid_of(claim), "resourceVersion": claim["metadata"]["resourceVersion"]}
        self._hand.patch(PERSISTENT_VOLUME_CLAIMS, name_of(claim), {"metadata": {**patch, **on}}, space_of(claim))

    def _claim(self, volume: Tree) -> Tree | None:
        return self._hand.find(PERSISTENT_VOLUME_CLAIMS, name_of(volume), space_of(volume))

    def _make(self, volume: Tree) -> None:
        if not self.makes_claims or names.PRE_POPULATED in (volume["metadata"].get("annotations") or {}):
            return
        spec: Tree = {"accessModes": ["ReadWriteOnce"], "storageClassName": self._class}
        spec["resources"] = {"requests": {"storage": "1Gi"}}
        self._cluster.note(f"cdi makes the claim of DataVolume {name_of(volume)}")
        self._hand.create(PERSISTENT_VOLUME_CLAIMS, cdi.build_claim(volume, spec), space_of(volume))

    def _tell(self, seen: Tree, claim: Tree, *, adopted: bool) -> None:
        """Say how far it is: what is adopted has Succeeded at once, bound or not. A status is written on the version that was seen."""
        bound = look(claim, "status", "phase") == "Bound"
        if look(seen, "status", "phase") == names.Phase.SUCCEEDED:
            if bound and not holds(seen, "Ready"):
                self._say(seen, names.Phase.SUCCEEDED, ready=True, adopted=True)
        elif adopted:
            self._say(seen, names.Phase.SUCCEEDED, ready=bound, adopted=True)
        elif bound:
            self._cluster.later("fill", uid_of(seen), self._cluster.conduct.run, lambda: self._fill(seen))

    def _fill(self, seen: Tree) -> None:
        now = self._hand.find(DATA_VOLUMES, name_of(seen), space_of(seen))
        claim = self._claim(seen)
        if now is None or claim is None or uid_of(now) != uid_of(seen) or is_going(now):
            return
        if look(now, "status", "phase") != names.Phase.SUCCEEDED and look(claim, "status", "phase") == "Bound":
            self._say(now, names.Phase.SUCCEEDED, ready=True, adopted=False)

    def _say(self, volume: Tree, phase: str, *, ready: bool, adopted: bool) -> None:
        now = seconds(self._hand.server.now())
        status = cdi.status_of(volume, phase=phase, now=now, adopted=adopted, ready=ready)
        on = {"uid": uid_of(volume), "resourceVersion": volume["metadata"]["resourceVersion"]}
        patch: Tree = {"metadata": on, "status": status}
        self._hand.patch(DATA_VOLUMES, name_of(volume), patch, space_of(volume), "status")
        self._cluster.note(f"DataVolume {name_of(volume)} is {phase}")
