"""What is remembered of deletions."""

from datamover.plans.learned import Learned
from datamover.plans.memory import Memory
from datamover.plans.steps import Delete, Plan, ProveStatus
from kubekit.words.batch import JOBS
from kubekit.words.meta import ObjectMeta
from support.clock import VirtualClock


def test_a_deletion_that_was_agreed_to_is_neither_asked_for_nor_proved_again() -> None:
    memory = Memory(clock=VirtualClock())
    gone, there = (Delete(JOBS, ObjectMeta(name=name, uid=name)) for name in ("gone", "there"))
    memory.learn("owner", Learned(deleted=("gone",)))
    assert memory.due(Plan((ProveStatus(), gone))).steps == ()
    assert memory.due(Plan((ProveStatus(), gone, there))).steps == (ProveStatus(), there)
