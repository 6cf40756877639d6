"""The Job that restores a point into a claim."""

from typing import Any

import msgspec
import pytest

from datamover.api import restore as words
from datamover.api import transfer
from datamover.api.ownership import Owner, labels_of
from datamover.api.pods import EnvVar, Image, Mover, PodSecurityContext, ResourceRequirements
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.movers import restore
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.movers.outcomes import KNOWN_REASONS, read_restored
from datamover.movers.restore import Restore
from kubekit.words.meta import ObjectMeta
from support.builders import pod as mover_pod

META = ObjectMeta(name="back", namespace="apps", uid="uid-of-back")
OWNER = Owner(REPLICATION_SOURCES, META, labels_of(META, run_id="r1"))


def job(
    *,
    image: str | None = None,
    pull_policy: str | None = None,
    defaults: MoverDefaults = NONE,
    safety: str | None = None,
    **asked: Any,
) -> Any:
    given = {"run_id": "r1", "namespace": "apps", "object_name": "back", "secret_name": "storage-credentials"} | asked
    return restore.build_job(
        OWNER,
        Restore(**given),
        name="restore-back",
        claim="target",
        safety=safety,
        image=image,
        pull_policy=pull_policy,
        defaults=defaults,
    )


def pod(made: Any) -> Any:
    return made["spec"]["template"]["spec"]


def container(made: Any) -> Any:
    (found,) = pod(made)["containers"]
    return found


def variables(made: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container(made)["env"]}


def test_claim_and_room() -> None:
    """The claim is mounted for writing, and nothing else is but an empty folder."""
    made = job()
    assert {each["name"]: each for each in pod(made)["volumes"]} == {
        "restored-data": {"name": "restored-data", "persistentVolumeClaim": {"claimName": "target"}},
        "config-dir": {"name": "config-dir", "emptyDir": {}},
    }
    assert container(made)["volumeMounts"] == [
        {"name": "restored-data", "mountPath": "/data/"},
        {"name": "config-dir", "mountPath": "/config"},
    ]


def test_restricted() -> None:
    made = job()
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }
    context = pod(made)["securityContext"]
    assert (context["runAsUser"], context["fsGroup"], context["runAsNonRoot"]) == (65534, 65534, True)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(made)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("by_default", [False, True], ids=["own", "default"])
def test_root(by_default: bool) -> None:
    """Root may give files away, and has no more than what it is asked for needs, all of which a baseline namespace admits."""
    chosen = PodSecurityContext(run_as_user=0)
    given = (
        {"defaults": MoverDefaults(security_context=chosen)}
        if by_default
        else {"mover": Mover(security_context=chosen)}
    )
    plain = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]
    assert container(job(**given))["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": plain}
    more = job(**given, privileges=True, special=True)
    assert container(more)["securityContext"]["capabilities"]["add"] == [*plain, "SETFCAP", "MKNOD"]
    assert "fsGroup" not in pod(more)["securityContext"]


def test_another_user_has_no_capability() -> None:
    made = job(
        mover=Mover(security_context=PodSecurityContext(run_as_user=26, fs_group=26)), privileges=True, special=True
    )
    assert container(made)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod(made)["securityContext"]["runAsUser"] == 26


def test_groups_are_given_once() -> None:
    """Whatever was chosen: another Pod must find files and mark as the one before has left them."""
    made = job(
        mover=Mover(security_context=PodSecurityContext(run_as_user=26, fs_group=26, fs_group_change_policy="Always"))
    )
    context = pod(made)["securityContext"]
    assert (context["fsGroup"], context["fsGroupChangePolicy"]) == (26, "OnRootMismatch")


def test_environment() -> None:
    made = job(
        point="as-of:2h",
        source="production/app-data",
        path="sub/folder",
        overwrite=True,
        on_missing=words.EMPTY,
        disturbed=True,
        deadline_seconds=90,
        environment=(EnvVar(name=transfer.CUSTOM_PATH_PREFIX, value="nightly"), EnvVar(name=words.POINT, value="mine")),
    )
    told = variables(made)
    assert {name: told[name] for name in told if "POINT" in name or name in {words.TARGET, words.OVERWRITE}} == {
        words.POINT: "as-of:2h",
        words.SOURCE: "production/app-data",
        words.PATH: "sub/folder",
        words.TARGET: "/data",
        words.OVERWRITE: "true",
    }
    assert (told[words.ON_MISSING], told[words.DISTURBED]) == ("Empty", "true")
    assert (told[words.PRIVILEGES], told[words.SPECIAL]) == ("false", "false")
    assert told[transfer.CUSTOM_PATH_PREFIX] == "nightly"
    assert (told[transfer.RUN_ID], told[transfer.DEADLINE]) == ("r1", "90")
    assert made["spec"]["activeDeadlineSeconds"] == 90
    assert container(made)["args"] == ["restore"]
    assert container(made)["envFrom"] == [{"secretRef": {"name": "storage-credentials"}}]


def test_every_variable_is_set() -> None:
    """What comes by `envFrom` loses against `env`, also against an empty value: so no key of the Secret takes the place of ours."""
    named = {value for value in vars(words).values() if isinstance(value, str) and value.startswith("DATAMOVER_")}
    named |= {transfer.RUN_ID, transfer.ROOT, transfer.RCLONE, transfer.ALLOW_COMMANDS, transfer.GRACE_PERIOD}
    named |= {transfer.OUTAGE_LIMIT, transfer.DEADLINE, transfer.OBJECT, transfer.OWNER_NAMESPACE}
    assert len(named) == 19
    assert named == {name for name in variables(job()) if name.startswith("DATAMOVER_")}


def test_in_place_the_copy_is_mounted_for_reading_and_root_may_bring_everything_back() -> None:
    made = job(safety="copy-of-data", mover=Mover(security_context=PodSecurityContext(run_as_user=0)))
    (mount,) = [each for each in container(made)["volumeMounts"] if each["name"] == "safety-copy"]
    assert mount == {"name": "safety-copy", "mountPath": "/safety/", "readOnly": True}
    assert {"name": "safety-copy", "persistentVolumeClaim": {"claimName": "copy-of-data"}} in pod(made)["volumes"]
    assert variables(made)[words.ROLL_BACK_FROM] == "/safety"
    assert set(container(made)["securityContext"]["capabilities"]["add"]) >= {"SETFCAP", "MKNOD", "CHOWN"}
    assert variables(job())[words.ROLL_BACK_FROM] == ""
    assert not [each for each in pod(job())["volumes"] if each["name"] == "safety-copy"]


def test_references_in_a_path() -> None:
    """A path that looks like a reference to a key of the Secret does not become its value (law L8)."""
    assert variables(job(path="$(AWS_SECRET_ACCESS_KEY)"))[words.PATH] == "$$(AWS_SECRET_ACCESS_KEY)"


def test_programs_that_the_users_own_variables_run() -> None:
    mine = (EnvVar(name="AWS_CONFIG_FILE", value="/etc/aws"), EnvVar(name="A", value="1"))
    assert variables(job(environment=mine))[transfer.ALLOW_COMMANDS] == "AWS_CONFIG_FILE"


def test_job() -> None:
    made = job(
        image="example.com/mover:1",
        pull_policy="Never",
        mover=Mover(resources=ResourceRequirements(limits={"memory": "1Gi"}), priority_class_name="low"),
    )
    assert (container(made)["image"], container(made)["imagePullPolicy"]) == ("example.com/mover:1", "Never")
    assert container(made)["name"] == "restore"
    assert container(made)["resources"] == {"limits": {"memory": "1Gi"}}
    assert pod(made)["priorityClassName"] == "low"
    assert made["spec"]["backoffLimit"] == 2
    rule = made["spec"]["podFailurePolicy"]["rules"][1]
    assert rule["onExitCodes"] == {"containerName": "restore", "operator": "In", "values": list(range(20, 40))}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-of-back"
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]
    assert "activeDeadlineSeconds" not in made["spec"]


def test_image_of_the_users_own() -> None:
    made = restore.build_job(
        OWNER,
        Restore(
            run_id="r1",
            namespace="apps",
            object_name="back",
            secret_name="s",
            image=Image(repository="registry.example.com/mine", tag="v1", pull_policy="IfNotPresent"),
        ),
        name="restore-back",
        claim="target",
        image="example.com/mover:1",
        pull_policy="Never",
    )
    assert (container(made)["image"], container(made)["imagePullPolicy"]) == (
        "registry.example.com/mine:v1",
        "IfNotPresent",
    )


def test_secrets_are_references_only() -> None:
    text = msgspec.json.encode(job()).decode()
    for key in (transfer.ACCESS_KEY, transfer.SECRET_KEY, transfer.SESSION_TOKEN):
        assert key not in text


def test_outcome() -> None:
    """What it says of the restore is read from its Pod; of any other Pod there is nothing."""
    told = words.Restored(point="run-1", target=words.WHOLE)
    ended = mover_pod(
        phase="Succeeded", container=words.CONTAINER, outcome=transfer.Outcome(succeeded=True, restored=told)
    )
    assert read_restored(ended, words.CONTAINER) == told
    assert read_restored(mover_pod(container=words.CONTAINER), words.CONTAINER) is None
    other = mover_pod(phase="Succeeded", container=words.CONTAINER, outcome=transfer.Outcome(succeeded=True))
    assert read_restored(other, words.CONTAINER) is None


def test_reasons_are_known() -> None:
    assert {
        transfer.REASON_POINT_NOT_FOUND,
        transfer.REASON_TARGET_NOT_EMPTY,
        transfer.REASON_RESTORED_OTHERWISE,
    } <= KNOWN_REASONS
