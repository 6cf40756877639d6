"""Collection with a lifetime of 0 seconds beside the operator of `support.disks`: as soon as a DataVolume has Succeeded, somebody wants it gone."""

from typing import Any

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.plans.steps import Annotate, Delete, Emit, Patch, ProveGone, ProveSame
from datamover.reconcilers.collection.decide import decide
from datamover.reconcilers.collection.facts import Facts, Settings
from datamover.reconcilers.collection.gather import find_leftovers
from datamover.runs.facts import Unread
from kubekit.words.meta import ObjectMeta, PartialObject
from support.disks import Operator
from support.populating import NAMESPACE, Stale

ASKED = {names.DELETE_AFTER_COMPLETION: "true"}


def glean(operator: Operator, name: str = "disk") -> int:
    """Let collection work until it has nothing to do, on caches that are as old as the operator's; return how many steps that were."""
    done = 0
    while True:
        plan = operator.volume_named(name) and decide(_facts(operator, name))
        if not plan or not plan.steps:
            return done
        for step in plan.steps:
            done += 1
            try:
                _carry_out(operator, step)
            except Stale:
                return done


def _facts(operator: Operator, name: str) -> Facts:
    volume, claim = operator.volume_named(name), operator.claim(NAMESPACE, name)
    assert volume is not None
    return Facts(
        operator.server.now,
        volume,
        claim,
        Settings(ttl=0),
        namespace=PartialObject(metadata=ObjectMeta(name=NAMESPACE)),
        config=CDIConfig(),
        kubevirt=Unread.MISSING,
        leftovers=find_leftovers(claim, operator),
    )


def _carry_out(operator: Operator, step: Any) -> None:
    match step:
        case ProveSame():
            found = operator.server.get(step.resource.kind, step.target.name)
            if found is None or found["metadata"]["resourceVersion"] != step.target.resource_version:
                raise Stale(step.target.name)
        case ProveGone():
            raise AssertionError("nobody takes the claim away")
        case Patch() | Annotate() | Delete():
            operator.server.perform(step)
            operator._look(step.resource.kind, step.target.name)
        case Emit():
            pass
        case _:
            raise AssertionError(step)
