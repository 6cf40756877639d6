"""The laws that each write of an operator must keep which has a backup compared with its manifest again."""

from datamover.api import names, restore
from datamover.api.verification import DAMAGE
from kubekit.words.batch import JOBS
from support.simulation.calls import Call, Tree
from support.simulation.comparisons import Comparisons, compares
from support.simulation.ledger import Ledger
from support.simulation.storage import claims_of
from support.simulation.trees import environment_of, is_going, label_of, look, name_of, owners_of, uid_of
from support.simulation.writes import condition_of

_JOBS = JOBS.group_resource


class ComparingLedger(Ledger):
    """Holds what is written of comparisons to the laws as well."""

    comparisons: Comparisons

    def _check_create(self, call: Call, child: Tree) -> None:
        if call.resource != _JOBS or not compares(child["spec"]["template"]):
            super()._check_create(call, child)
            return
        owner = self._owner_of(child)
        if owner is None:
            return  # as for any child
        record: Tree = look(owner, "status", "verification") or {}
        point = environment_of(child["spec"]["template"]).get(restore.POINT)
        told = {"id": label_of(child, names.RUN_ID_LABEL), "jobName": name_of(child)}
        if any(record.get(key) != value for key, value in told.items()):
            self._break("L6", f"{call}: {told} is not recorded, but {record}")
        if record.get("finished"):
            self._break("L6", f"{call}: the verification {record} is over")
        if point != look(owner, "status", "run", "id"):
            self._break("L6", f"{call} compares {point}, which is not the run of {name_of(owner)}")
        if claims_of(child["spec"]["template"]):
            self._break("L1", f"{call} mounts a claim")
        for other in self._objects.all(_JOBS):
            ours = uid_of(owner) in owners_of(other) and uid_of(other) != uid_of(child) and not is_going(other)
            if ours and compares(other["spec"]["template"]):
                self._break("L7", f"{call}: {name_of(other)} of the same DataMover is there already")

    def _same_work(self, job: Tree, other: Tree) -> bool:
        return compares(job["spec"]["template"]) == compares(other["spec"]["template"])

    def _check_status(self, mover: Tree) -> None:
        before = self.record(uid_of(mover)).status
        super()._check_status(mover)
        now, name = mover.get("status") or {}, name_of(mover)
        self._check_record(before.get("verification") or {}, now.get("verification") or {}, name)
        made = [each for each in self.comparisons.of(uid_of(mover)) if each.point == look(now, "run", "id")]
        verified = condition_of(now, "Verified")
        if verified.get("status") == "False" and verified != condition_of(before, "Verified"):
            proved = any(each.reason == verified.get("reason") for each in made) and verified.get("reason") in DAMAGE
            if not proved:
                self._break("L11", f"{name} calls its backup damaged, and no mover has said so: {verified}")
        if now.get("lastVerified") != before.get("lastVerified") and not any(each.succeeded for each in made):
            self._break("L4", f"{name} is verified, and no mover has compared it")

    def _check_record(self, before: Tree, now: Tree, name: str) -> None:
        at_work = before.get("id") and not before.get("finished")
        if at_work and now.get("id") != before["id"]:
            self._break("L6", f"{name} forgets its verification {before['id']}")
        if now.get("id") and not now.get("finished") and before.get("finished") and now["id"] == before.get("id"):
            self._break("L6", f"{name} takes up again a verification that is over")
        if now.get("finished") and not now.get("message"):
            self._break("L10", f"{name} does not say what came of its verification")
