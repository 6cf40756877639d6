"""Specs that cannot be: refused by the schema, or blocked with a reason and the fix; and mended without a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from datamover.api import reasons
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import BadRequest, Invalid
from kubekit.client.http import HttpTransport
from support.kubernetes import ControlPlane
from support.stage import SECRET, SOURCE, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad specs")]

GOOD = {"sourcePvc": SOURCE, "secretName": SECRET}
DIGEST = "sha256:" + "0123456789abcdef" * 4
FROM_SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}


@dataclass(frozen=True)
class Row:
    """What the spec says beside (or, where None, instead of) a good one, and what is said of it.

    `caught` is the reason, or None where the schema refuses the object. `rule` is what a real API server's CEL rule says, where there
    is one: the embedded world evaluates none and leaves these to the operator.
    """

    spec: Mapping[str, Any]
    words: tuple[str, ...]
    caught: str | None = None
    rule: str | None = None
    left: tuple[str, ...] = field(default=())


def refused(*words: str, **spec: Any) -> Row:
    return Row(spec, words)


def blocked(reason: str, *words: str, rule: str | None = None, **spec: Any) -> Row:
    return Row(spec, words, caught=reason, rule=rule)


def variable(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "A", **fields}]


REFUSED = {
    "no source": refused("spec.sourcePvc: Required value", sourcePvc=None),
    "no Secret": refused("spec.secretName: Required value", secretName=None),
    "an empty source": refused("spec.sourcePvc", "at least 1", sourcePvc=""),
    "an empty Secret": refused("spec.secretName", "at least 1", secretName=""),
    "a source in capitals": refused("spec.sourcePvc", "should match", sourcePvc="App-Data"),
    "a source that is a path": refused("spec.sourcePvc", "should match", sourcePvc="../../etc"),
    "a source in another namespace": refused("spec.sourcePvc", "should match", sourcePvc="other/app-data"),
    "a source of 254 characters": refused("spec.sourcePvc", "253", sourcePvc="a" * 254),
    "a source that is a number": refused("spec.sourcePvc", 'must be of type string: "integer"', sourcePvc=5),
    "a Secret that is a list": refused("spec.secretName", 'must be of type string: "array"', secretName=["a"]),
    "a boolean that is text": refused(
        "spec.addTimestampPrefix", 'must be of type boolean: "string"', addTimestampPrefix="yes"
    ),
    "a copy method that there is not": refused(
        'spec.copyMethod: Unsupported value: "clone"', '"Clone", "Snapshot", "Direct"', copyMethod="clone"
    ),
    "a deadline of nothing": refused("spec.deadlineSeconds", "greater than or equal to 1", deadlineSeconds=0),
    "a deadline before the beginning": refused(
        "spec.deadlineSeconds", "greater than or equal to 1", deadlineSeconds=-1
    ),
    "a deadline in words": refused("spec.deadlineSeconds", '"string"', deadlineSeconds="1h"),
    "a deadline of half a second": refused("spec.deadlineSeconds", "must be of type", deadlineSeconds=0.5),
    "deletion of 101 percent": refused(
        "maxDeletePercent", "less than or equal to 100", guards={"maxDeletePercent": 101}
    ),
    "deletion of -1 percent": refused(
        "maxDeletePercent", "greater than or equal to 0", guards={"maxDeletePercent": -1}
    ),
    "guards that are a boolean": refused("spec.guards", 'must be of type object: "boolean"', guards=True),
    "variables that are a mapping": refused(
        "spec.additionalEnv", 'must be of type array: "object"', additionalEnv={"A": "b"}
    ),
    "a variable without a name": refused("spec.additionalEnv[0].name: Required value", additionalEnv=[{"value": "x"}]),
    "a variable with an empty name": refused(
        "spec.additionalEnv[0].name", "at least 1", additionalEnv=[{"name": "", "value": "x"}]
    ),
    "a variable that is a number": refused(
        "spec.additionalEnv[0].value", 'must be of type string: "integer"', additionalEnv=variable(value=5)
    ),
    "257 variables": refused("spec.additionalEnv", "256", additionalEnv=[{"name": f"V{n}"} for n in range(257)]),
    "a key without a name": refused(
        "key: Required value", additionalEnv=variable(valueFrom={"secretKeyRef": {"name": "s"}})
    ),
    "a pull policy that there is not": refused(
        "pullPolicy: Unsupported value", '"Always", "Never", "IfNotPresent"', image={"pullPolicy": "Sometimes"}
    ),
    "an empty tag": refused("spec.image.tag", "at least 1", image={"tag": ""}),
    "an image that is text": refused("spec.image", 'must be of type object: "string"', image="rclone:latest"),
    "a user below zero": refused(
        "runAsUser", "greater than or equal to 0", mover={"securityContext": {"runAsUser": -1}}
    ),
    "a user by name": refused("runAsUser", '"string"', mover={"securityContext": {"runAsUser": "root"}}),
    "a toleration of what there is not": refused(
        "tolerations[0].effect: Unsupported value", mover={"tolerations": [{"effect": "Sometimes"}]}
    ),
    "resources that are a list": refused(
        "limits", 'must be of type object: "array"', mover={"resources": {"limits": []}}
    ),
}

BLOCKED = {
    "a snapshot class with Clone": blocked(
        reasons.INVALID_SPEC,
        "set copyMethod: Snapshot or remove it",
        rule="set copyMethod: Snapshot or remove",
        volumeSnapshotClassName="fast",
    ),
    "a storage class with Direct": blocked(
        reasons.INVALID_SPEC,
        "spec.storageClassName has no effect",
        "choose Clone or Snapshot",
        rule="storageClassName has no effect",
        copyMethod="Direct",
        storageClassName="scenario",
    ),
    "clean-up with Direct": blocked(
        reasons.INVALID_SPEC,
        "set spec.deletePvcAfterBackup: false",
        rule="set deletePvcAfterBackup: false",
        copyMethod="Direct",
        deletePvcAfterBackup=True,
    ),
    "value and valueFrom": blocked(
        reasons.INVALID_ENVIRONMENT,
        "both value and valueFrom of 'A'",
        "remove one of them",
        rule="remove one of them",
        additionalEnv=variable(value="x", valueFrom=FROM_SECRET),
    ),
    "valueFrom two sources": blocked(
        reasons.INVALID_ENVIRONMENT,
        "name exactly one of",
        rule="exactly one source",
        additionalEnv=variable(valueFrom={**FROM_SECRET, "configMapKeyRef": {"name": "c", "key": "k"}}),
    ),
    "valueFrom nothing": blocked(
        reasons.INVALID_ENVIRONMENT,
        "name exactly one of",
        rule="exactly one source",
        additionalEnv=variable(valueFrom={}),
    ),
    "valueFrom a file": blocked(
        reasons.INVALID_ENVIRONMENT,
        "has no volume for that",
        "use secretKeyRef or configMapKeyRef",
        rule="put the value into a Secret or ConfigMap",
        additionalEnv=variable(valueFrom={"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}),
    ),
    "a variable with an equals sign": blocked(
        reasons.INVALID_ENVIRONMENT,
        "without '='",
        rule="cannot contain '='",
        additionalEnv=[{"name": "A=B", "value": "x"}],
    ),
    "a variable in another script": blocked(
        reasons.INVALID_ENVIRONMENT, "printable ASCII", additionalEnv=[{"name": "GRÖSSE", "value": "x"}]
    ),
    "a variable of the operator's own": blocked(
        reasons.INVALID_ENVIRONMENT,
        "'DATAMOVER_ADOPT_DESTINATION'",
        "choose another name",
        rule="choose another name",
        additionalEnv=[{"name": "DATAMOVER_ADOPT_DESTINATION", "value": "true"}],
    ),
    "an image with a space": blocked(
        reasons.INVALID_IMAGE, "'a b'", "use one like", rule="without scheme, spaces", image={"repository": "a b"}
    ),
    "an image with a scheme": blocked(
        reasons.INVALID_IMAGE,
        "without scheme",
        rule="without scheme, spaces",
        image={"repository": "https://example.com/mover"},
    ),
    "an image with a digest in its name": blocked(
        reasons.INVALID_IMAGE,
        "tag or digest",
        rule="put a digest into image.tag",
        image={"repository": f"example.com/mover@{DIGEST}"},
    ),
    "an image in capitals": blocked(reasons.INVALID_IMAGE, "capitals", image={"repository": "example.com/Team/Mover"}),
    "an image with its tag in its name": blocked(
        reasons.INVALID_IMAGE, "tag or digest", image={"repository": "example.com/mover:v1"}
    ),
    "a tag with a space": blocked(
        reasons.INVALID_IMAGE, "'v 1'", "use a tag like", rule="image.tag is a tag such as", image={"tag": "v 1"}
    ),
    "lots of memory": blocked(
        reasons.INVALID_SPEC,
        "spec.mover.resources.limits[memory] is 'lots'",
        "like 500m or 2Gi",
        mover={"resources": {"limits": {"memory": "lots"}}},
    ),
    "a digest that is too short": blocked(
        reasons.INVALID_IMAGE, "64 hex digits", rule="64 hex digits", image={"tag": "sha256:abc"}
    ),
}

LATE = {
    "an image that nobody has": Row(
        {"image": {"repository": "registry.invalid/nobody/mover"}},
        ("cannot be pulled", "Check spec.image"),
        caught=reasons.IMAGE_PULL_FAILED,
        left=("Job", "PersistentVolume", "PersistentVolumeClaim", "Pod"),
    ),
    "less than no memory": Row(
        {"mover": {"resources": {"limits": {"memory": "-1Gi"}}}},
        ("refuses to create Job", "greater than or equal to 0"),
        caught=reasons.CHILD_REFUSED,
        left=("PersistentVolume", "PersistentVolumeClaim"),
    ),
    "more requested than the limit": Row(
        {"mover": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}},
        ("refuses to create Job", "must be less than or equal to cpu limit"),
        caught=reasons.CHILD_REFUSED,
        left=("PersistentVolume", "PersistentVolumeClaim"),
    ),
    "a variable from a ConfigMap that is missing": Row(
        {"additionalEnv": variable(valueFrom={"configMapKeyRef": {"name": "nowhere", "key": "k"}})},
        ('configmap "nowhere" not found', "starts by itself when that is mended"),
        caught=reasons.MOVER_CANNOT_START,
        left=("Job", "PersistentVolume", "PersistentVolumeClaim", "Pod"),
    ),
    "a node that is not there": Row(
        {"mover": {"nodeSelector": {"kubernetes.io/hostname": "elsewhere"}}},
        ("no node takes the mover", "didn't match Pod's node affinity/selector"),
        caught=reasons.MOVER_UNSCHEDULABLE,
        left=("Job", "PersistentVolume", "PersistentVolumeClaim", "Pod"),
    ),
}


def complete(row: Row) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **row.spec}.items() if value is not None}


@pytest.mark.parametrize("case", REFUSED)
async def test_the_schema_refuses(case: str, stage: Stage) -> None:
    async with stage.act(case) as act:
        await act.create_secret()
        await act.expect_refused(complete(REFUSED[case]), *REFUSED[case].words)


@pytest.mark.parametrize("case", BLOCKED)
async def test_the_operator_blocks_and_a_corrected_spec_runs(case: str, stage: Stage) -> None:
    row = BLOCKED[case]
    async with stage.act(case) as act:
        await act.create_secret()
        await act.start(**{key: value for key, value in complete(row).items() if key not in GOOD})
        await act.expect_blocked(row.caught or "", *row.words)
        if case in CURED:
            await act.client.patch(
                DATA_MOVERS, "mover", {"spec": CURED[case]}, namespace=act.namespace, field_manager="test"
            )
            await act.expect_completed()


CURED: dict[str, dict[str, Any]] = {
    "a snapshot class with Clone": {"volumeSnapshotClassName": None},
    "value and valueFrom": {"additionalEnv": []},
    "an image with a scheme": {"image": None},
}
"""Blocked specs that are mended in place, one of each reason."""


@pytest.mark.parametrize("case", LATE)
async def test_what_only_the_cluster_can_know_is_told_when_it_says_so(case: str, stage: Stage) -> None:
    row = LATE[case]
    async with stage.act(case) as act:
        await act.create_secret()
        await act.start(**row.spec)
        await act.expect_blocked(row.caught or "", *row.words, left=row.left)


NAMES = {
    "a name in capitals": ("Nightly", "metadata.name"),
    "a name of 254 characters": ("a" * 254, "must be no more than 253"),
    "a name with an underscore": ("nightly_backup", "metadata.name"),
}


@pytest.mark.parametrize("case", NAMES)
async def test_the_api_server_refuses_a_name(case: str, stage: Stage) -> None:
    name, words = NAMES[case]
    async with stage.act(case) as act:
        await act.expect_refused(GOOD, words, name=name)


async def test_a_field_that_there_is_not_is_dropped_as_every_api_server_does(stage: Stage) -> None:
    """Unless the client asks for strictness, as kubectl and `datamover run` do."""
    async with stage.act("an unknown field") as act:
        await act.create_secret()
        created = await act.start(compressionLevel=9)
        path = DATA_MOVERS.path(namespace=act.namespace, name=created.metadata.name)
        assert "compressionLevel" not in (await act.client.request_json("GET", path))["spec"]
        await act.expect_completed()


REAL = {case: row for case, row in {**REFUSED, **BLOCKED}.items() if row.caught is None or row.rule}


@pytest.mark.kubernetes
async def test_the_real_api_server_refuses_the_same_specs(kubernetes: ControlPlane, namespace: str) -> None:
    """What the embedded one leaves to the operator, the real one refuses by a rule that says the fix."""
    transport = HttpTransport(load_config(kubernetes.admin_kubeconfig))
    client = Client(transport, user_agent="bad-specs")
    wrong: dict[str, str] = {}
    try:
        for case, row in REAL.items():
            manifest = {"metadata": {"name": "bad", "namespace": namespace}, "spec": complete(row)}
            words = (row.rule,) if row.rule else row.words
            try:
                await client.create(DATA_MOVERS, manifest)
            except (Invalid, BadRequest) as error:
                if any(word not in error.message for word in words):
                    wrong[case] = error.message
            else:
                wrong[case] = "it was taken"
                await client.delete(DATA_MOVERS, "bad", namespace=namespace)
    finally:
        await transport.close()
    assert wrong == {}
