"""The configuration: what a CDI object says goes into the CDIConfig named `config`, and both say what clients wait for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from datamover.plans.known import Known, Refusal
from datamover.plans.steps import REST, Create, Emit, Patch, Plan, WriteStatus
from datamover.reconcilers.cdi_config import config, existence, installation
from datamover.reconcilers.cdi_config.objects import Stored, active_of, merge_patch
from kubekit.words.apiextensions import CustomResourceDefinition
from kubekit.words.meta import ObjectMeta
from kubekit.words.storage import StorageClass

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}
CLASSES = (
    StorageClass(metadata=ObjectMeta(name="slow")),
    StorageClass(metadata=ObjectMeta(name="fast", annotations=DEFAULT)),
)


def cdi(spec: Any = None, *, name: str = "cdi", created: str = "2026-11-01T00:00:00Z", **fields: Any) -> Stored:
    meta = {"name": name, "uid": f"uid-{name}", "creationTimestamp": created, **fields.pop("metadata", {})}
    return msgspec.json.decode(msgspec.json.encode({"metadata": meta, "spec": spec, **fields}), type=Stored)


def the_config(spec: Any = None, *, name: str = "config", **fields: Any) -> Stored:
    return cdi(spec, name=name, **fields)


def handed_on(before: Any, configured: Any) -> Any:
    facts = config.Facts(the_config(before), (cdi({"config": configured}),))
    (step,) = config.decide(facts).steps
    return step.patch.get("spec") if isinstance(step, Patch) else None


@pytest.mark.parametrize(
    ("before", "configured", "patch"),
    [
        (None, {"dataVolumeTTLSeconds": 0}, {"dataVolumeTTLSeconds": 0}),
        ({"dataVolumeTTLSeconds": 5}, {}, {"dataVolumeTTLSeconds": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({}, {"fromTheFuture": {"x": [{"y": 1}]}}, {"fromTheFuture": {"x": [{"y": 1}]}}),
        ({"same": True}, {"same": True}, None),
    ],
)
def test_the_spec_becomes_that_of_the_cdi_object_whatever_is_in_it(before: Any, configured: Any, patch: Any) -> None:
    assert handed_on(before, configured) == patch


@pytest.mark.parametrize("spec", [None, {}, {"config": None}, {"config": "nonsense"}, {"infra": {}}])
def test_a_cdi_object_without_configuration_leaves_cdiconfig_to_whoever_edits_it(spec: Any) -> None:
    facts = config.Facts(the_config({"dataVolumeTTLSeconds": 7}), (cdi(spec),))
    assert not any(isinstance(step, Patch) for step in config.decide(facts).steps)


def test_the_oldest_cdi_object_counts() -> None:
    old, new = cdi(name="b", created="2026-01-01T00:00:00Z"), cdi(name="a")
    going = cdi(name="c", created="2025-01-01T00:00:00Z", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert active_of((new, old, going)) is old
    assert active_of(()) is None


def test_a_patch_makes_one_tree_of_another() -> None:
    assert merge_patch({"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "d": None}) == {"a": None, "d": None}
    assert merge_patch({"a": {"b": 1}}, {"a": {"b": 1}}) == {}


def test_the_status_has_what_counts_where_nobody_says_anything() -> None:
    said = config.describe(config.Facts(the_config(), classes=CLASSES))
    assert said == {
        "filesystemOverhead": {"global": "0.06", "storageClass": {"fast": "0.06", "slow": "0.06"}},
        "preallocation": False,
        "scratchSpaceStorageClass": "fast",
    }


def test_the_status_has_what_is_said_as_far_as_it_can_be() -> None:
    spec = {
        "filesystemOverhead": {"global": "0.1", "storageClass": {"slow": "0.2", "fast": "-3", "gone": "0.5"}},
        "preallocation": True,
        "scratchSpaceStorageClass": "slow",
        "imagePullSecrets": [{"name": "x"}],
    }
    said = config.describe(config.Facts(the_config(spec, status={"theirs": 1}), classes=CLASSES))
    assert said["filesystemOverhead"] == {"global": "0.1", "storageClass": {"fast": "0.1", "slow": "0.2"}}
    assert (said["preallocation"], said["scratchSpaceStorageClass"]) == (True, "slow")
    assert said["imagePullSecrets"] == [{"name": "x"}]
    assert said["theirs"] == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        {"filesystemOverhead": "x"},
        {"filesystemOverhead": {"global": 1, "storageClass": []}},
        {"scratchSpaceStorageClass": "gone"},
    ],
)
def test_nonsense_counts_as_nothing_said(nonsense: Any) -> None:
    assert config.describe(config.Facts(the_config(nonsense), classes=CLASSES)) == config.describe(
        config.Facts(the_config(), classes=CLASSES)
    )


def test_the_status_is_written_when_it_changes_and_then_no_more() -> None:
    facts = config.Facts(the_config(), classes=CLASSES)
    (step,) = config.decide(facts).steps
    assert isinstance(step, WriteStatus)
    assert config.decide(config.Facts(the_config(status=step.status), classes=CLASSES)) == REST


def test_a_cdiconfig_of_another_name_is_nobodys() -> None:
    assert config.decide(config.Facts(the_config(name="other"), (cdi({"config": {"a": 1}}),))) == REST


def test_a_refused_change_is_told_once() -> None:
    refusal = Refusal("Forbidden", "no", retry_after=4)
    facts = config.Facts(the_config(), (cdi({"config": {"a": 1}}),), known=Known(refusal=refusal))
    (event,) = config.decide(facts).steps
    assert isinstance(event, Emit)
    again = config.Facts(the_config(), known=Known(refusal=refusal, told=event))
    assert config.decide(again) == Plan(wake_after=4)


# The CDI object.


def conditions_of(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_a_cdi_object_is_deployed_and_available_so_that_clients_go_on() -> None:
    found = cdi()
    (step,) = installation.decide(installation.Facts(NOW, found, (found,))).steps
    assert isinstance(step, WriteStatus)
    assert step.status["phase"] == "Deployed"
    assert conditions_of(step.status) == {"Available": "True", "Progressing": "False", "Degraded": "False"}
    written = cdi(status=step.status)
    later = installation.Facts(NOW + timedelta(days=1), written, (written,))
    assert installation.decide(later) == REST, "nothing is written without a change"


def test_a_second_cdi_object_says_that_it_does_not_count() -> None:
    first, second = cdi(), cdi(name="a", created="2026-11-02T00:00:00Z")
    (step,) = installation.decide(installation.Facts(NOW, second, (first, second))).steps
    assert isinstance(step, WriteStatus)
    assert step.status["phase"] == "Error"
    assert conditions_of(step.status) == {"Available": "False", "Progressing": "False", "Degraded": "True"}


@pytest.mark.parametrize("said", ["nonsense", [1], [{"type": 3}], {"a": 1}])
def test_conditions_that_cannot_be_read_are_written_anew(said: Any) -> None:
    found = cdi(status={"conditions": said, "theirs": 2})
    (step,) = installation.decide(installation.Facts(NOW, found, (found,))).steps
    assert isinstance(step, WriteStatus)
    assert len(step.status["conditions"]) == 3
    assert step.status["theirs"] == 2


# Whether there is one.


def definition(**status: Any) -> CustomResourceDefinition:
    meta = {"name": "cdiconfigs.cdi.kubevirt.io", "uid": "d"}
    return msgspec.convert({"metadata": meta, "status": status}, CustomResourceDefinition)


ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}]}


def test_the_configuration_is_made_where_it_is_missing_and_its_kind_is_served() -> None:
    (step,) = existence.decide(existence.Facts(definition(**ESTABLISHED), exists=False)).steps
    assert isinstance(step, Create)
    assert (step.manifest["kind"], step.manifest["metadata"]["name"]) == ("CDIConfig", "config")
    assert existence.decide(existence.Facts(definition(**ESTABLISHED), exists=True)) == REST
    assert existence.decide(existence.Facts(definition(conditions=[]), exists=False)) == REST
