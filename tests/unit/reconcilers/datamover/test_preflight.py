"""What stands against beginning a run, each with its reason and the way out."""

import pytest

from datamover.api import reasons
from datamover.api.pods import EnvVar, EnvVarSource, Image, KeySelector, Mover
from datamover.api.transfer import REQUIRED_VARIABLES
from datamover.reconcilers.datamover.preflight import find_obstacle
from datamover.runs.facts import Unread
from support import builders
from support.builders import (
    data_mover,
    facts,
    persistent_volume,
    persistent_volume_claim,
    secret_keys,
    storage_class,
    volume_snapshot_class,
)

REFERENCE = EnvVarSource(config_map_key_ref=KeySelector(name="bucket", key="BUCKET_HOST"))

OBSTACLES = {
    "nothing": (facts(), None, ()),
    "a Secret that may not be read": (facts(secret=Unread.FORBIDDEN), None, ()),
    "no source": (facts(source=None), reasons.SOURCE_NOT_FOUND, ("app-data", "create it or correct spec.sourcePvc")),
    "a source that goes": (
        facts(source=persistent_volume_claim(deletion_timestamp=builders.CREATED)),
        reasons.SOURCE_TERMINATING,
        ("app-data",),
    ),
    "a source that lost its volume": (facts(source=persistent_volume_claim(phase="Lost")), reasons.SOURCE_LOST, ()),
    "a source that is not bound": (
        facts(source=persistent_volume_claim(phase="Pending")),
        reasons.SOURCE_NOT_BOUND,
        ("phase Pending",),
    ),
    "a Block source": (
        facts(source=persistent_volume_claim(volume_mode="Block")),
        reasons.BLOCK_NOT_SUPPORTED,
        ("use a Filesystem volume",),
    ),
    "Direct, unbound, but it binds on use": (
        facts(
            data_mover(copy_method="Direct"),
            source=persistent_volume_claim(phase="Pending"),
            source_class=storage_class(volume_binding_mode="WaitForFirstConsumer"),
        ),
        None,
        (),
    ),
    "Direct, unbound, and it should be bound by now": (
        facts(data_mover(copy_method="Direct"), source=persistent_volume_claim(phase="Pending")),
        reasons.SOURCE_NOT_BOUND,
        (),
    ),
    "Direct needs no class that can clone": (
        facts(data_mover(copy_method="Direct"), source_class=None, clone_class=None),
        None,
        (),
    ),
    "a source without a class": (
        facts(source=persistent_volume_claim(storage_class_name=None)),
        reasons.CLASS_CANNOT_CLONE,
        ("spec.storageClassName", "copyMethod: Direct"),
    ),
    "a source of the empty class": (
        facts(source=persistent_volume_claim(storage_class_name="")),
        reasons.CLASS_CANNOT_CLONE,
        (),
    ),
    "a class that does not exist": (facts(clone_class=None), reasons.STORAGE_CLASS_NOT_FOUND, ("StorageClass fast",)),
    "a named class that does not exist": (
        facts(data_mover(storage_class_name="slow"), clone_class=None),
        reasons.STORAGE_CLASS_NOT_FOUND,
        ("StorageClass slow",),
    ),
    "a provisioner without clones": (
        facts(clone_class=storage_class(provisioner="rancher.io/local-path")),
        reasons.CLASS_CANNOT_CLONE,
        ("rancher.io/local-path", "copyMethod: Direct"),
    ),
    "an in-tree provisioner": (
        facts(clone_class=storage_class(provisioner="kubernetes.io/aws-ebs")),
        reasons.CLASS_CANNOT_CLONE,
        ("in-tree",),
    ),
    "the NFS provisioner, by the name that its chart gives it": (
        facts(clone_class=storage_class(provisioner="cluster.local/nas-nfs-subdir-external-provisioner")),
        reasons.CLASS_CANNOT_CLONE,
        ("NFS", "copyMethod: Direct"),
    ),
    "a volume of no CSI driver, whose provisioner nobody knows": (
        facts(source_volume=persistent_volume(driver=None)),
        reasons.CLASS_CANNOT_CLONE,
        ("PersistentVolume pv-1 is not of a CSI driver", "set copyMethod: Direct"),
    ),
    "a volume of another driver than the class": (
        facts(
            data_mover(storage_class_name="slow"),
            clone_class=storage_class(name="slow", provisioner="nfs.example.com"),
            source_volume=persistent_volume(),
        ),
        reasons.CLASS_CANNOT_CLONE,
        ("StorageClass slow (nfs.example.com)", "pv-1 is of driver csi.example.com", "copyMethod: Direct"),
    ),
    "a snapshot, to be restored by a provisioner that would not read it": (
        facts(
            data_mover(copy_method="Snapshot", storage_class_name="slow"),
            clone_class=storage_class(name="slow", provisioner="nfs.example.com"),
            source_volume=persistent_volume(),
            snapshot_classes=(volume_snapshot_class(),),
        ),
        reasons.CLASS_CANNOT_CLONE,
        ("a driver copies its own volumes only",),
    ),
    "the snapshots of the volume's own driver, whatever became of its class": (
        facts(
            data_mover(copy_method="Snapshot", storage_class_name="fast"),
            source_class=None,
            source_volume=persistent_volume(),
            snapshot_classes=(volume_snapshot_class(),),
        ),
        None,
        (),
    ),
    "a volume of the class's driver": (facts(source_volume=persistent_volume()), None, ()),
    "a volume of a virtual cluster, which may be anything": (
        facts(source_volume=persistent_volume(driver=None, flex_driver="fake")),
        None,
        (),
    ),
    "a volume of a vendor's flexVolume driver": (
        facts(source_volume=persistent_volume(driver=None, flex_driver="ibm/ibmc-block")),
        reasons.CLASS_CANNOT_CLONE,
        ("PersistentVolume pv-1 is not of a CSI driver",),
    ),
    "a volume without a driver comes before its class, which no other one could help": (
        facts(
            source_volume=persistent_volume(driver=None),
            clone_class=storage_class(provisioner="rancher.io/local-path"),
        ),
        reasons.CLASS_CANNOT_CLONE,
        ("nothing can copy it: set copyMethod: Direct",),
    ),
    "a volume that has not been seen yet": (
        facts(source_volume=Unread.NOT_SYNCED),
        reasons.SOURCE_NOT_BOUND,
        ("app-data is bound to PersistentVolume", "which the operator has not seen yet"),
    ),
    "Direct, of a volume without a driver": (
        facts(data_mover(copy_method="Direct"), source_volume=persistent_volume(driver=None)),
        None,
        (),
    ),
    "Snapshot without the API": (
        facts(data_mover(copy_method="Snapshot"), snapshot_classes=None),
        reasons.SNAPSHOTS_NOT_SUPPORTED,
        ("snapshot.storage.k8s.io/v1", "copyMethod: Clone"),
    ),
    "Snapshot without a class": (
        facts(data_mover(copy_method="Snapshot"), snapshot_classes=()),
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        ("csi.example.com has no VolumeSnapshotClass",),
    ),
    "Snapshot with several classes": (
        facts(
            data_mover(copy_method="Snapshot"),
            snapshot_classes=(volume_snapshot_class(name="a"), volume_snapshot_class(name="b")),
        ),
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        ("(a, b)", "spec.volumeSnapshotClassName"),
    ),
    "no Secret": (
        facts(secret=Unread.MISSING),
        reasons.SECRET_NOT_FOUND,
        ("Secret storage-credentials", "AWS_ACCESS_KEY_ID", "BUCKET_NAME", "spec.secretName"),
    ),
    "a Secret that lacks two keys": (
        facts(secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "BUCKET_NAME"))),
        reasons.SECRET_KEY_MISSING,
        ("lacks AWS_SECRET_ACCESS_KEY, BUCKET_HOST", "spec.additionalEnv"),
    ),
    "no keys, and nobody who brings others": (
        facts(secret=secret_keys(keys=("BUCKET_HOST", "BUCKET_NAME"))),
        reasons.SECRET_KEY_MISSING,
        ("lacks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", "spec.mover.serviceAccountName"),
    ),
    "no keys, but a service account that is named": (
        facts(
            data_mover(mover=Mover(service_account_name="backup")),
            secret=secret_keys(keys=("BUCKET_HOST", "BUCKET_NAME")),
        ),
        None,
        (),
    ),
    "no keys, but the variables of a role": (
        facts(
            data_mover(additional_env=(EnvVar(name="AWS_WEB_IDENTITY_TOKEN_FILE", value="/var/token"),)),
            secret=secret_keys(keys=("BUCKET_HOST", "BUCKET_NAME", "AWS_ROLE_ARN")),
        ),
        None,
        (),
    ),
    "no keys, and half of a role": (
        facts(secret=secret_keys(keys=("BUCKET_HOST", "BUCKET_NAME", "AWS_ROLE_ARN"))),
        reasons.SECRET_KEY_MISSING,
        ("lacks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",),
    ),
    "no keys, but the node's own are asked for": (
        facts(
            data_mover(additional_env=(EnvVar(name="AWS_EC2_METADATA_DISABLED", value="false"),)),
            secret=secret_keys(keys=("BUCKET_HOST", "BUCKET_NAME")),
        ),
        None,
        (),
    ),
    "one key of two beside a service account": (
        facts(
            data_mover(mover=Mover(service_account_name="backup")),
            secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "BUCKET_HOST", "BUCKET_NAME")),
        ),
        reasons.SECRET_KEY_MISSING,
        ("lacks AWS_SECRET_ACCESS_KEY",),
    ),
    "no Secret beside a service account": (
        facts(data_mover(mover=Mover(service_account_name="backup")), secret=Unread.MISSING),
        reasons.SECRET_NOT_FOUND,
        ("create it with BUCKET_HOST, BUCKET_NAME",),
    ),
    "a Secret with an empty key": (
        facts(secret=secret_keys(empty=("BUCKET_HOST",))),
        reasons.SECRET_KEY_MISSING,
        ("has no value for BUCKET_HOST",),
    ),
    "a Secret that says what is run": (
        facts(secret=secret_keys(keys=(*REQUIRED_VARIABLES, "PATH", "RCLONE_PASSWORD_COMMAND"))),
        reasons.SECRET_KEY_REFUSED,
        ("'PATH', 'RCLONE_PASSWORD_COMMAND'", "Remove them", "spec.additionalEnv"),
    ),
    "a program that the DataMover itself names": (
        facts(
            data_mover(additional_env=(EnvVar(name="RCLONE_PASSWORD_COMMAND", value="/bin/true"),)),
            secret=secret_keys(keys=(*REQUIRED_VARIABLES, "RCLONE_PASSWORD_COMMAND")),
        ),
        None,
        (),
    ),
    "a Secret whose key is nearly right": (
        facts(secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "bucket_host ", "BUCKET_NAME"))),
        reasons.SECRET_KEY_MISSING,
        ("lacks BUCKET_HOST", "'bucket_host '", "names are exact"),
    ),
    "a key that additionalEnv gives": (
        facts(
            data_mover(additional_env=(EnvVar(name="BUCKET_HOST", value_from=REFERENCE),)),
            secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BUCKET_NAME")),
        ),
        None,
        (),
    ),
    "a key that additionalEnv gives without a value": (
        facts(
            data_mover(additional_env=(EnvVar(name="BUCKET_HOST"),)),
            secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BUCKET_NAME")),
        ),
        reasons.SECRET_KEY_MISSING,
        ("BUCKET_HOST",),
    ),
    "an invalid spec, whatever else is missing": (
        facts(data_mover(image=Image(repository="https://x/y")), source=None, secret=Unread.MISSING),
        reasons.INVALID_IMAGE,
        ("spec.image.repository",),
    ),
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_obstacle(case: str) -> None:
    known, reason, fragments = OBSTACLES[case]
    found = find_obstacle(known, known.mover.spec)
    assert (found.reason if found else None) == reason
    for fragment in fragments:
        assert fragment in found.message


def test_a_secret_of_an_object_bucket_claim_is_completed_by_config_map_keys() -> None:
    """Real life: the claim's Secret holds the keys, its ConfigMap the bucket."""
    env = tuple(
        EnvVar(name=name, value_from=EnvVarSource(config_map_key_ref=KeySelector(name="obc", key=name)))
        for name in ("BUCKET_HOST", "BUCKET_NAME", "BUCKET_PORT")
    )
    known = facts(
        data_mover(additional_env=(*env, EnvVar(name="TLS_HOST", value="false"))),
        secret=secret_keys(keys=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
    )
    assert find_obstacle(known, known.mover.spec) is None


def test_only_names_of_keys_are_ever_said() -> None:
    known = facts(secret=secret_keys(keys=("BUCKET_NAME",)))
    message = find_obstacle(known, known.mover.spec).message
    assert "hidden" not in message
