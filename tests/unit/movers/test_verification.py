"""The Job that compares a point with its manifest."""

from datetime import UTC, datetime
from typing import Any

import pytest

from datamover.agent.verification import entry
from datamover.agent.verification.settings import read_settings
from datamover.api import restore, transfer
from datamover.api.ownership import Owner, labels_of
from datamover.api.pods import EnvVar, Mover, PodSecurityContext
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.movers import verification
from datamover.movers.verification import Verification
from kubekit.words.meta import ObjectMeta

META = ObjectMeta(name="nightly", namespace="apps", uid="uid-of-nightly")
OWNER = Owner(DATA_MOVERS, META, labels_of(META, run_id="v1"))
SECRET = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "BUCKET_HOST": "minio", "BUCKET_NAME": "backups"}


def job(**asked: Any) -> Any:
    given = {"run_id": "v1", "namespace": "apps", "object_name": "nightly", "secret_name": "storage", "point": "run-1"}
    return verification.build_job(
        OWNER, Verification(**given | asked), name="compare-nightly", image="example.com/mover:1", pull_policy="Never"
    )


def pod(made: Any) -> Any:
    return made["spec"]["template"]["spec"]


def container(made: Any) -> Any:
    (found,) = pod(made)["containers"]
    return found


def variables(made: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container(made)["env"]}


def test_nothing_is_mounted_but_an_empty_folder() -> None:
    made = job()
    assert pod(made)["volumes"] == [{"name": "config-dir", "emptyDir": {}}]
    assert container(made)["volumeMounts"] == [{"name": "config-dir", "mountPath": "/config"}]
    assert (container(made)["name"], container(made)["args"]) == ("verify", ["verify"])
    assert (container(made)["image"], container(made)["imagePullPolicy"]) == ("example.com/mover:1", "Never")
    assert container(made)["envFrom"] == [{"secretRef": {"name": "storage"}}]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-of-nightly"


@pytest.mark.parametrize("mover", [None, Mover(security_context=PodSecurityContext(run_as_user=26))])
def test_it_has_no_capability(mover: Mover | None) -> None:
    made = job(mover=mover)
    assert container(made)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod(made)["automountServiceAccountToken"] is False


def test_the_mover_reads_what_it_is_told() -> None:
    made = job(
        source="apps/app-data",
        method=transfer.Verification("sample", 5),
        deadline_seconds=90,
        environment=(EnvVar(name="CUSTOM_PATH_PREFIX", value="team"), EnvVar(name=restore.POINT, value="mine")),
    )
    found = read_settings(SECRET | variables(made), run_id="made-up")
    assert (found.run_id, found.point, found.source) == ("v1", "run-1", "apps/app-data")
    assert (found.method, found.wanted.percent, found.deadline) == ("sample", 5, 90)
    assert found.store.root == "backups/team"
    assert made["spec"]["activeDeadlineSeconds"] == 90
    task = entry.prepare(SECRET | variables(made), now=datetime(2024, 8, 6, tzinfo=UTC), token="x")
    assert (task.config, task.deadline) == ("/config", 90)


def test_every_variable_is_set() -> None:
    """What comes by `envFrom` loses against `env`, also against an empty value: so no key of the Secret takes the place of ours."""
    read = {restore.POINT, restore.SOURCE, transfer.VERIFY_METHOD, transfer.RUN_ID, transfer.ROOT, transfer.RCLONE}
    read |= {transfer.ALLOW_COMMANDS, transfer.GRACE_PERIOD, transfer.OUTAGE_LIMIT, transfer.DEADLINE}
    read |= {transfer.OBJECT, transfer.OWNER_NAMESPACE}
    assert read == {name for name in variables(job()) if name.startswith("DATAMOVER_")}
