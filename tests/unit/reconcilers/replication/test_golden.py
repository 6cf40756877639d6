"""What we make and say for 28 objects, beside what a real VolSync has made and said: each difference has its reason in a table, all else is equal."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest

from support.golden import EVENTS, RECORDED, by_name, differences, statuses, told, walk
from support.theatre import Theatre

_CONTAINER: Final = r"spec/template/spec/containers\[[a-z-]+\]"
_POD: Final = r"spec/template/spec"
_ABSENT: Final = "'absent'"
_OWN: Final = r"datamover\.a-cup-of\.coffee"


@dataclass(frozen=True)
class Rule:
    """One kind of difference: where (kind and path), what is there with the other one and with us, as patterns of what Python writes; why."""

    where: str
    theirs: str
    ours: str
    why: str

    def allows(self, kind: str, path: str, theirs: Any, ours: Any) -> bool:
        said = ((self.where, f"{kind}:{path}"), (self.theirs, repr(theirs)), (self.ours, repr(ours)))
        return all(re.fullmatch(pattern, text) for pattern, text in said)


RULES: Final = (
    Rule(r"\w+:metadata/ownerReferences.*/blockOwnerDeletion", "True", "False", "ours never hold up their owner's end"),
    # labels and annotations of ours
    Rule(rf"\w+:(spec/template/)?metadata/labels/{_OWN}/(owner-uid|run-id)", _ABSENT, "'.+'", "whose, of which round"),
    Rule(
        rf"Job:metadata/annotations/{_OWN}/(actions|claim-uid|failures-before)",
        _ABSENT,
        "'.+'",
        "what a Job is for",
    ),
    Rule(
        rf"\w+:metadata/annotations/{_OWN}/asked", _ABSENT, "'.+'", "what it was made for, so that it can be made anew"
    ),
    Rule(r"\w+:(spec/template/)?metadata/labels/app.kubernetes.io/component", _ABSENT, "'[a-z-]+'", "what it is for"),
    Rule(r"\w+:(spec/template/)?metadata/labels/velero.io/exclude-from-backup", _ABSENT, "'true'", "it is temporary"),
    Rule(r"Job:spec/template/metadata/labels/volsync.backube/cleanup", _ABSENT, "'.+'", "a Pod has its Job's labels"),
    # the Job and its Pod
    Rule("Job:spec/completions", _ABSENT, "1", "that one success is the end is said, not left to a default"),
    Rule("Job:spec/podFailurePolicy/.+", _ABSENT, ".+", "an error that no retry mends ends the Job at once"),
    Rule(rf"Job:{_POD}/(automountServiceAccountToken|enableServiceLinks)", _ABSENT, "False", "a mover needs no API"),
    Rule(rf"Job:{_POD}/securityContext", "{}", _ABSENT, "there is one"),
    Rule(rf"Job:{_POD}/securityContext/seccompProfile/type", _ABSENT, "'RuntimeDefault'", "restricted Pod Security"),
    Rule(rf"Job:{_POD}/securityContext/runAsUser", _ABSENT, "0", "what VolSync's image says is said here"),
    Rule(rf"Job:{_POD}/securityContext/(runAs|fsGroup).*", _ABSENT, "65534|True|'OnRootMismatch'", "rsync's daemon"),
    # the container
    Rule(rf"Job:{_CONTAINER}/command.+", "'.+'", _ABSENT, "the image's entrypoint is the agent"),
    Rule(rf"Job:{_CONTAINER}/args.+", "'(backup|restore)'|'absent'", "'.+'", "the first argument is the mover's name"),
    Rule(rf"Job:{_CONTAINER}/env\[DATAMOVER_[A-Z_]+\]/(name|value)", _ABSENT, "'.*'", "the agent's own settings"),
    Rule(rf"Job:{_CONTAINER}/env\[DIRECTION\]/.+", _ABSENT, "'DIRECTION'|'source'|'destination'", "was in the command"),
    Rule(rf"Job:{_CONTAINER}/env\[PRIVILEGED_MOVER\]/.+", _ABSENT, "'PRIVILEGED_MOVER'|'1'", "rsync: the same for all"),
    Rule(rf"Job:{_CONTAINER}/env\[RESTORE_(AS_OF|OPTIONS)\]/value", _ABSENT, "''", "an empty value is none"),
    Rule(rf"Job:{_CONTAINER}/image", "'.+'", "'example.com/mover:1'", "our image"),
    Rule(rf"Job:{_CONTAINER}/imagePullPolicy", "'.+'", _ABSENT, "the server's default, or the operator's setting"),
    Rule(rf"Job:{_CONTAINER}/resources", "{}", _ABSENT, "nothing is nothing"),
    Rule(rf"Job:{_CONTAINER}/volumeMounts\[/data\]/readOnly", _ABSENT, "True", "a source is never written"),
    # the others
    Rule(
        "PersistentVolumeClaim:spec/dataSource/apiGroup", "None", _ABSENT, "null is the core group, and so is nothing"
    ),
    Rule(r"Role:rules(\[0\].+)?", ".+", r"\[\]|'absent'", "no right is handed out, OpenShift's constraints neither"),
    Rule(
        "Secret:data/(psk.txt|source|destination|source.pub|destination.pub)", "''", _ABSENT, "made when it is written"
    ),
)

Status = Mapping[str, Any]
LEFT_OUT: Final[tuple[tuple[str, Callable[[Status], bool]], ...]] = (
    (
        "address and keys are told in one write",
        lambda status: "address" in status.get("rsync", {}) and "sshKeys" not in status["rsync"],
    ),
    (
        "a destination has succeeded when its image can be used, not before",
        lambda status: status["latestMoverStatus"] != {} and status["conditions"][0]["reason"] == "SyncInProgress",
    ),
)
"""Statuses of VolSync that ours does not write, with the reason."""


MORE_EVENTS: Final = {
    "ServiceAddressAssigned": "the original means to send it, without an action, and API servers refuse that"
}
"""Events of ours that VolSync's API server has never seen, with the reason."""


@cache
def played(name: str) -> Theatre:
    return walk(name)


@pytest.mark.parametrize("name", RECORDED)
def test_it_makes_the_same_children_but_for_what_is_in_the_table(name: str) -> None:
    theirs, ours = by_name(RECORDED[name]["children"]), by_name(played(name).created)
    assert set(ours) == set(theirs)
    found = [(kind, *each) for kind, child in theirs for each in differences(theirs[kind, child], ours[kind, child])]
    unknown = [each for each in found if not any(rule.allows(*each) for rule in RULES)]
    assert unknown == []


def test_each_rule_of_the_table_is_needed() -> None:
    found = [
        (kind, *each)
        for name in RECORDED
        for (kind, child), theirs in by_name(RECORDED[name]["children"]).items()
        for each in differences(theirs, by_name(played(name).created)[kind, child])
    ]
    assert [rule for rule in RULES if not any(rule.allows(*each) for each in found)] == []


@pytest.mark.parametrize("name", RECORDED)
def test_other_backups_are_told_to_leave_alone_what_is_temporary_and_nothing_else(name: str) -> None:
    for child in played(name).created:
        labels = child["metadata"]["labels"]
        assert ("velero.io/exclude-from-backup" in labels) is ("volsync.backube/cleanup" in labels), child["metadata"]


@pytest.mark.parametrize("name", RECORDED)
def test_it_says_the_same_in_the_same_order_but_for_what_is_in_the_table(name: str) -> None:
    theirs = [
        status for status in statuses(RECORDED[name]["statuses"]) if not any(left(status) for _, left in LEFT_OUT)
    ]
    assert statuses(played(name).statuses) == theirs
    assert statuses([RECORDED[name]["last"]]) == statuses([played(name).status])


def test_each_status_that_is_left_out_is_one_that_volsync_writes() -> None:
    written = [status for case in RECORDED.values() for status in statuses(case["statuses"])]
    for why, left in LEFT_OUT:
        assert any(left(status) for status in written), why


@pytest.mark.parametrize("name", RECORDED)
def test_it_sends_the_same_events(name: str) -> None:
    case = RECORDED[name]
    theirs = [
        told(each["type"], each["reason"], each["action"], each["note"], each["related"])
        for each in EVENTS
        if (each["ns"], each["cr"]) == (case["namespace"], case["name"])
    ]
    ours = []
    for each in played(name).events:
        assert each.related is not None
        related = f"{each.related.resource.kind}/{each.related.metadata.name}"
        ours.append(told(each.type, each.reason, each.action, each.message, related))
    assert [each for each in ours if each[1] not in MORE_EVENTS] == theirs


def test_each_event_that_is_more_is_sent_and_is_one_that_volsync_could_not_send() -> None:
    sent = {each.reason for name in RECORDED for each in played(name).events}
    assert set(MORE_EVENTS) <= sent
    assert not set(MORE_EVENTS) & {each["reason"] for each in EVENTS}


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_left_at_the_end_is_what_lasts(name: str) -> None:
    theatre, case = played(name), RECORDED[name]
    labelled = by_name(child for child in case["children"] if "volsync.backube/cleanup" in child["metadata"]["labels"])
    made = by_name(theatre.created)
    there = by_name({"kind": kind, "metadata": {"name": child}} for kind, child in theatre.objects)
    assert {key for key in made if key not in there} == set(labelled)
