"""The plugin's ConfigMap inside a real Velero: waiting within the item, missing, unreadable, with numbers that are none, and changed while a backup runs.

The ConfigMap is read when a control plane's turn comes, and one serves all backups: so these follow one another, but for those that have read theirs already.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.hosted_planes import MEMBER, Hosted, host
from support.hosting import make_claims, make_namespace
from support.kubernetes import wait_for
from support.plugin_rights import VELERO, objects
from support.velero_actor import MERGE
from support.velero_stage import ACTION, PLUGIN_USER, VeleroStage

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero"), pytest.mark.timeout(300)]

CONFIG_MAP = "hypershift-oadp-plugin-config"
MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
WAITING = "WaitingForPluginOperations"


@pytest.fixture(scope="module")
def stage(velero_with_plugin: VeleroStage) -> Iterator[VeleroStage]:
    yield velero_with_plugin
    configure(velero_with_plugin)


@pytest.fixture(autouse=True)
def unconfigured(stage: VeleroStage) -> Iterator[None]:
    yield
    configure(stage)


def configure(stage: VeleroStage, **data: str) -> None:
    """Make the plugin's ConfigMap say this and nothing else; without anything there is none."""
    path = f"/api/v1/namespaces/{stage.velero.namespace}/configmaps"
    stage.plane.call("DELETE", f"{path}/{CONFIG_MAP}")
    if data:
        meta = {"name": CONFIG_MAP, "namespace": stage.velero.namespace}
        stage.plane.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def blocked(stage: VeleroStage, *namespaces: str, since: int) -> str:
    """Wait until the plugin looks again at a control plane in one of these namespaces, and return it: within an item it asks for the claims at each look."""

    def looked() -> str | None:
        asked = [
            each.namespace
            for each in stage.plane.audit(user=PLUGIN_USER, since=since)
            if each.resource == "persistentvolumeclaims" and each.namespace in namespaces
        ]
        return asked[-1] if len(asked) > 1 and asked[-1] == asked[-2] else None

    return wait_for(looked, seconds=90, what="a second look")


def lines(stage: VeleroStage) -> int:
    return max((each.number for each in stage.plane.audit(user=PLUGIN_USER)), default=-1) + 1


@dataclass(frozen=True, slots=True)
class Bounded:
    """Backups whose uploads do not get on, begun with a limit of a minute; when each was begun, of the monotonic clock."""

    planes: dict[str, Hosted]
    begun: float


@pytest.fixture(scope="module")
def bounded(stage: VeleroStage) -> Bounded:
    """Two backups of which each waits within its control plane's item for a minute: the ConfigMap is another one's when both do."""
    configure(stage, blocking="true", dataUploadTimeout="1", dataUploadCheckPace="5")
    planes = {f"bounded-{each.lower()}": host(stage, each) for each in ("AWS", "Azure")}
    since, begun = lines(stage), time.monotonic()
    for name, hosted in planes.items():
        hosted.play(hold="InProgress")
        hosted.back_up(name)
    for hosted in planes.values():
        blocked(stage, hosted.namespace, since=since)
    return Bounded(planes, begun)


def test_velero_waits_within_the_item_until_what_was_begun_is_moved(stage: VeleroStage, bounded: Bounded) -> None:
    """Of three control planes the first one holds the others up. The ConfigMap is made unusable meanwhile: the first is not concerned, the others are."""
    configure(stage, blocking="true", dataUploadCheckPace="1")
    planes = {each.namespace: each for each in (host(stage, claims=MEMBERS, name=name) for name in ("a", "b", "c"))}
    others = make_namespace(stage.plane)
    for hosted in planes.values():
        hosted.play(MEMBERS[2], hold="InProgress")
    since = lines(stage)
    stage.velero.back_up("blocked", *planes, others, snapshotMoveData=True)
    first = planes.pop(blocked(stage, *planes, since=since))

    configure(stage, blocking="true", dataUploadTimeout="soon")
    again = blocked(stage, first.namespace, *planes, since=lines(stage))
    assert (again, stage.velero.phase("blocked")) == (first.namespace, "InProgress"), "the others' turn has not come"
    first.play(MEMBERS[2], hold="")
    stage.velero.wait_for_phase("blocked", WAITING, "InProgress")
    for hosted in planes.values():
        hosted.play(MEMBERS[2], hold="")

    status = stage.velero.wait_for_phase("blocked", "PartiallyFailed")["status"]
    assert status["errors"] == len(planes)
    said = stage.errors_of("blocked")
    assert [each for each in said if 'error parsing dataUploadTimeout: "soon"' not in each] == []
    told = stage.operation("blocked", ACTION)
    assert told["spec"]["resourceIdentifier"]["Namespace"] == first.namespace
    assert (told["status"]["phase"], told["status"]["nCompleted"], told["status"]["nTotal"]) == ("Completed", 3, 3)


BAD = (
    ("dataUploadTimeout", "15m", "minutes from 0 to 525600"),
    ("dataUploadTimeout", "525601", "minutes from 0 to 525600"),
    ("dataUploadCheckPace", "-1", "seconds from 0 to 86400"),
    ("dataUploadCheckPace", "", "seconds from 0 to 86400"),
)


@pytest.fixture(scope="module")
def small(stage: VeleroStage) -> tuple[str, str, str]:
    """Two namespaces with a control plane and no claim, and one with a claim and no control plane."""
    plain = make_namespace(stage.plane)
    make_claims(stage.plane, plain, "data")
    return (host(stage, claims=(), name="one").namespace, host(stage, claims=(), name="two").namespace, plain)


@pytest.fixture(scope="module")
def misconfigured(stage: VeleroStage, bounded: Bounded, small: tuple[str, str, str]) -> None:
    """A backup under each bad number, begun when the one before has read its own; and one without control planes, under all of them."""
    for number, (key, value, _) in enumerate(BAD):
        configure(stage, **{key: value})
        stage.velero.back_up(f"bad-{number}", *small)
        stage.velero.wait_for_phase(f"bad-{number}", "PartiallyFailed", "FinalizingPartiallyFailed")
    configure(stage, dataUploadTimeout="soon", dataUploadCheckPace="", blocking="Yes", unknown="1")
    stage.velero.back_up("plain-misconfigured", small[2])
    undisturbed(stage, "plain-misconfigured")


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_number_that_is_none_is_told_to_control_planes_alone_with_its_key(
    stage: VeleroStage, misconfigured: None, key: str, value: str, words: str
) -> None:
    backup = f"bad-{BAD.index((key, value, words))}"

    status = stage.velero.wait_for_phase(backup, "PartiallyFailed")["status"]

    assert (status["errors"], status.get("warnings", 0)) == (2, 0)
    for name in ("one", "two"):
        (text,) = [each for each in stage.errors_of(backup) if f"name: /{name} " in each]
        assert f'error validating DataMover: error parsing {key}: "{value}" is no whole number of {words}' in text
        assert f"ConfigMap {stage.velero.namespace}/{CONFIG_MAP}" in text


def test_keys_that_nobody_knows_are_warnings_of_control_planes_alone(
    stage: VeleroStage, bounded: Bounded, small: tuple[str, str, str]
) -> None:
    configure(stage, dataUploadTimout="15", migration="Yes", dataUploadTimeout=" 15\n")
    stage.velero.back_up("unknown", small[0], small[2])

    status = stage.velero.wait_for_phase("unknown", "Completed")["status"]
    assert (status.get("errors", 0), status["warnings"]) == (0, 2)
    said = "".join(stage.warnings_of("unknown"))
    assert "key dataUploadTimout is not known and has no effect" in said
    assert 'migration is "Yes", which is off' in said


def test_a_configuration_that_may_not_be_read_is_a_warning_of_control_planes_alone(
    stage: VeleroStage, bounded: Bounded, small: tuple[str, str, str]
) -> None:
    configure(stage, dataUploadTimeout="soon")
    (role,) = objects("Role")
    assert role["metadata"]["namespace"] == VELERO
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{stage.velero.namespace}/roles/{role['metadata']['name']}"
    less = [each for each in role["rules"] if each["resources"] != ["configmaps"]]
    assert len(less) == len(role["rules"]) - 1
    assert stage.plane.call("PATCH", path, {"rules": less}, kind=MERGE)[0] == 200
    try:
        stage.velero.back_up("forbidden", small[0], small[2])
        stage.velero.back_up("plain-forbidden", small[2])
        status = stage.velero.wait_for_phase("forbidden", "Completed")["status"]
        undisturbed(stage, "plain-forbidden")
    finally:
        assert stage.plane.call("PATCH", path, {"rules": role["rules"]}, kind=MERGE)[0] == 200

    assert (status.get("errors", 0), status["warnings"]) == (0, 1)
    (text,) = stage.warnings_of("forbidden")
    assert f"ConfigMap {stage.velero.namespace}/{CONFIG_MAP} cannot be read, so defaults hold: " in text
    assert "forbidden" in text


def test_without_a_configuration_nobody_is_told_anything(
    stage: VeleroStage, bounded: Bounded, small: tuple[str, str, str]
) -> None:
    stage.velero.back_up("unconfigured", *small)

    undisturbed(stage, "unconfigured")
    assert len(stage.operations("unconfigured", ACTION)) == 2


def undisturbed(stage: VeleroStage, name: str) -> None:
    """Wait for the end of a backup of which nothing is to be told."""
    status = stage.velero.wait_for_phase(name, "Completed")["status"]
    assert (status.get("errors", 0), status.get("warnings", 0)) == (0, 0)


@pytest.mark.parametrize(("platform", "strategy"), [("AWS", "standard"), ("Azure", "Azure")])
def test_waiting_within_the_item_ends_with_its_limit_in_the_documents_words(
    stage: VeleroStage, bounded: Bounded, platform: str, strategy: str
) -> None:
    name = f"bounded-{platform.lower()}"
    hosted = bounded.planes[name]
    stage.velero.wait_for_phase(name, WAITING, f"{WAITING}PartiallyFailed")
    assert time.monotonic() - bounded.begun >= 60, "it waits as long as it is told to"
    assert stage.upload_phases(name) == {MEMBER: "InProgress"}, "nothing is cancelled for it"
    hosted.play(hold="")

    status = stage.velero.wait_for_phase(name, "PartiallyFailed")["status"]
    assert status["errors"] == 1
    (text,) = stage.errors_of(name)
    assert "name: /hosted " in text
    said = f"error validating DataMover: error reconciling {strategy} data mover: error reconciling data upload: "
    assert (
        f"{said}giving up, dataUpload was not finished in the expected timeout. Err: context deadline exceeded" in text
    )
    assert stage.operations(name, ACTION) == {}, "nothing is begun for an item that has failed"
