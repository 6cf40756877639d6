"""From a verdict to a plan: what is worth a write, and what goes with it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.names import Phase
from datamover.api.transfer import REASON_INTERNAL_ERROR, REASON_NEWER_BACKUP_EXISTS
from datamover.plans.conditions import State
from datamover.plans.steps import Create, Emit, ProvePods, ProveStatus, WriteStatus
from datamover.reconcilers.datamover.plan import Plan
from datamover.reconcilers.datamover.status import tell
from datamover.runs.verdict import News, Rest, Tally, Verdict, blocked, working
from kubekit.words.batch import JOBS
from support import builders
from support.builders import CLONE, NOW

LATER = NOW + timedelta(minutes=1)
STALLED = {"Reconciling": "False", "Stalled": "True"}


def told(answer: Verdict | Rest, *, phase: str = Phase.CREATING_POD, **status: Any) -> Plan:
    mover = builders.data_mover(status=builders.status(phase, **status))
    return tell(mover, answer, now=LATER)


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


def hanging(message: str, *, reason: str = "X", news: News) -> Verdict:
    return blocked(reason, message, action="Wait", news=news)


NEWS = {
    "it waits, and that is not told": (hanging("no", news=News.WORDS), {}, True),
    "told, the same words": (hanging("3 of 7", news=News.WORDS), {"message": "3 of 7"}, False),
    "told, other numbers": (hanging("4 of 7", news=News.WORDS), {"message": "3 of 7"}, False),
    "told, other words": (hanging("4 of ten", news=News.WORDS), {"message": "3 of 7"}, True),
    "told, another reason": (hanging("no", reason="Y", news=News.WORDS), {"message": "no"}, True),
    "told, the same reason": (hanging("quite another", news=News.REASON), {"message": "no"}, False),
    "told, another generation": (hanging("no", news=News.REASON), {"message": "no", "observed_generation": 7}, True),
    "told, other amounts": (
        replace(hanging("no", news=News.REASON), tally=Tally(2)),
        {"message": "no"},
        True,
    ),
}


@pytest.mark.parametrize("case", NEWS)
def test_a_wait_is_news_when_people_would_learn_anything(case: str) -> None:
    answer, status, news = NEWS[case]
    given = {"reason": "X", "conditions": STALLED, **status} if status else {}
    assert kinds(told(answer, **given)) == ([WriteStatus, Emit] if news else [])


@pytest.mark.parametrize(("conditions", "news"), [({}, False), (STALLED, True)], ids=["at work", "it waited"])
def test_that_a_run_is_at_work_is_news_after_an_obstacle_only(conditions: dict[str, str], *, news: bool) -> None:
    answer = working(reasons.CLONING, "being made", news=News.HALTED)
    assert kinds(told(answer, conditions=conditions)) == ([WriteStatus] if news else [])


def test_an_unchanged_status_is_proved_before_an_effect() -> None:
    create = Create(JOBS, {})
    answer = Verdict(State.WORKING, "R", "m", "Do", before=(ProvePods(),), after=(create,))
    assert kinds(told(answer)) == [ProvePods, WriteStatus, Create]
    assert kinds(told(answer, reason="R", message="m")) == [ProvePods, ProveStatus, Create]


def test_what_is_told_stays_told_until_a_fenced_effect_is_done() -> None:
    event = Emit("Normal", "R", "m", "Do")
    answer = Verdict(State.WORKING, "R", "m", "Do", after=(Create(JOBS, {}),), fenced=True, events=(event,))
    assert kinds(told(answer)) == [ProveStatus, Create, WriteStatus, Emit]


def test_a_failed_run_stays_failed_while_its_retry_waits() -> None:
    (written, _) = told(blocked("X", "no", action="Retry"), phase=Phase.FAILED).steps
    assert isinstance(written, WriteStatus)
    assert (written.status.phase, written.status.condition("Failed").status) == (Phase.FAILED, "True")


@pytest.mark.parametrize(("reason", "advised"), [("X", True), (REASON_NEWER_BACKUP_EXISTS, False)])
def test_a_failure_says_what_is_kept_and_how_to_try_again(reason: str, *, advised: bool) -> None:
    answer = Verdict(State.FAILED, reason, "it broke.", "Synchronize", kept=CLONE)
    (written, event) = told(answer).steps
    assert isinstance(written, WriteStatus)
    message = written.status.message
    assert message.startswith(f"it broke. The clone {CLONE} is kept.")
    assert (f'kubectl -n default annotate datamover nightly {names.RETRY_ANNOTATION}="' in message) is advised
    assert isinstance(event, Emit)
    assert event.message == message
    assert written.status.run.finished is not None


def test_an_operator_that_decides_again_takes_back_that_it_fails() -> None:
    wait = Rest(wake_after=5.0)
    plan = told(wait, reason=REASON_INTERNAL_ERROR, conditions=STALLED)
    assert kinds(plan) == [WriteStatus]
    assert plan.wake_after == 5.0
    assert plan.steps[0].status.condition("Ready").reason == reasons.JOB_CREATED
    assert told(wait, reason=REASON_INTERNAL_ERROR, conditions=STALLED, phase=Phase.FAILED) == Plan((), 5.0)
