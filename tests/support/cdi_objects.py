"""Objects of cdi.kubevirt.io as a real CDI of 2026 holds them, with fields that this project has no use for."""

from typing import Any

from datamover.api.cdi.config import CDI_CONFIGS, CDIS
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from kubekit.words.meta import Resource

_RESOURCES = (DATA_VOLUMES, DATA_SOURCES, DATA_IMPORT_CRONS, STORAGE_PROFILES, CDI_CONFIGS, CDIS)
RESOURCES: dict[str, Resource[Any]] = {each.kind: each for each in _RESOURCES}
_TIME = "2026-03-01T03:00:12Z"


def _condition(type_: str, status: str, **more: str) -> dict[str, Any]:
    return {"type": type_, "status": status, "lastHeartbeatTime": _TIME, "lastTransitionTime": _TIME, **more}


def _object(kind: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": kind, "metadata": {"annotations": {"a": "b"}}, **parts}


_STORAGE = {
    "accessModes": ["ReadWriteMany"],
    "volumeMode": "Block",
    "resources": {"requests": {"storage": "30Gi"}, "limits": {"storage": "40Gi"}},
    "storageClassName": "ocs-storagecluster-ceph-rbd-virtualization",
    "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
    "volumeName": "",
    "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"},
    "dataSourceRef": {"apiGroup": "x.example", "kind": "Y", "name": "s", "namespace": "other"},
}
_VOLUME_SPEC = {
    "source": {
        "http": {
            "url": "https://images.example/fedora.qcow2",
            "secretRef": "login",
            "certConfigMap": "ca",
            "extraHeaders": ["X-A: b"],
            "secretExtraHeaders": ["headers"],
            "checksum": f"sha256:{'0' * 64}",
        }
    },
    "storage": _STORAGE,
    "contentType": "kubevirt",
    "preallocation": False,
    "priorityClassName": "high",
    "checkpoints": [{"previous": "", "current": "snapshot-1"}],
    "finalCheckpoint": False,
}
_SETS = [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}, {"accessModes": ["ReadWriteOnce"]}]

ALL: list[dict[str, Any]] = [
    _object(
        "DataVolume",
        spec=_VOLUME_SPEC,
        status={
            "phase": "ImportInProgress",
            "progress": "12.34%",
            "restartCount": 2,
            "claimName": "fedora",
            "conditions": [
                _condition("Bound", "True", reason="Bound", message="PVC fedora Bound"),
                _condition("Ready", "False", reason="TransferRunning"),
                _condition("Running", "True", reason="Pod is running"),
            ],
        },
    ),
    _object(
        "DataSource",
        spec={"source": {"pvc": {"name": "fedora-1", "namespace": "images"}}},
        status={
            "source": {"pvc": {"name": "fedora-1", "namespace": "images"}},
            "conditions": [_condition("Ready", "True", reason="Ready", message="DataSource is ready to be consumed")],
        },
    ),
    _object(
        "DataImportCron",
        spec={
            "garbageCollect": "Outdated",
            "importsToKeep": 3,
            "managedDataSource": "fedora",
            "retentionPolicy": "None",
            "schedule": "43 */12 * * *",
            "serviceAccountName": "puller",
            "createdBy": '{"username":"system:serviceaccount:a:b","groups":["x"]}',
            "template": {
                "metadata": {"annotations": {"x": "y"}, "creationTimestamp": None, "labels": {"a": "b"}},
                "spec": {
                    "source": {
                        "registry": {
                            "url": "docker://quay.example/containerdisks/fedora:latest",
                            "imageStream": "fedora",
                            "pullMethod": "node",
                            "secretRef": "pull",
                            "certConfigMap": "ca",
                            "platform": {"architecture": "arm64"},
                        }
                    },
                    "storage": _STORAGE,
                },
                "status": {},
            },
        },
        status={
            "conditions": [
                _condition("Progressing", "False", reason="NoImport", message="No current import"),
                _condition("UpToDate", "True", reason="UpToDate", message="Latest import is up to date"),
            ],
            "currentImports": [{"DataVolumeName": "fedora-0123", "Digest": f"sha256:{'0' * 64}"}],
            "lastExecutionTimestamp": _TIME,
            "lastImportTimestamp": _TIME,
            "lastImportedPVC": {"name": "fedora-0123", "namespace": "images"},
            "sourceFormat": "snapshot",
        },
    ),
    _object(
        "StorageProfile",
        spec={
            "claimPropertySets": _SETS,
            "cloneStrategy": "csi-clone",
            "dataImportCronSourceFormat": "snapshot",
            "snapshotClass": "rbd",
        },
        status={
            "claimPropertySets": _SETS,
            "cloneStrategy": "snapshot",
            "dataImportCronSourceFormat": "pvc",
            "provisioner": "rbd.csi.ceph.com",
            "storageClass": "ocs",
            "snapshotClass": "rbd",
            "conditions": [_condition("Recognized", "True")],
        },
    ),
    _object(
        "CDIConfig",
        spec={
            "dataVolumeTTLSeconds": -1,
            "featureGates": ["HonorWaitForFirstConsumer", "DataVolumeClaimAdoption"],
            "filesystemOverhead": {"global": "0.06", "storageClass": {"ocs": "0.1"}},
            "imagePullSecrets": [{"name": "pull"}],
            "importProxy": {
                "HTTPProxy": "http://proxy",
                "HTTPSProxy": "http://proxy",
                "noProxy": "x",
                "trustedCAProxy": "ca",
            },
            "insecureRegistries": ["registry:5000"],
            "logVerbosity": 3,
            "podResourceRequirements": {"limits": {"cpu": "750m"}, "requests": {"memory": "60M"}},
            "preallocation": True,
            "scratchSpaceStorageClass": "fast",
            "tlsSecurityProfile": {"type": "Intermediate", "intermediate": {}},
            "uploadProxyURLOverride": "https://upload",
        },
        status={
            "defaultPodResourceRequirements": {"limits": {"cpu": "750m", "memory": "600M"}},
            "filesystemOverhead": {"global": "0.06", "storageClass": {"ocs": "0.06"}},
            "imagePullSecrets": [{"name": "pull"}],
            "importProxy": {"HTTPProxy": ""},
            "preallocation": False,
            "scratchSpaceStorageClass": "ocs",
            "uploadProxyCA": "-----BEGIN CERTIFICATE-----",
            "uploadProxyURL": "upload.example",
        },
    ),
    _object(
        "CDI",
        spec={
            "certConfig": {
                "ca": {"duration": "48h0m0s", "renewBefore": "24h0m0s"},
                "client": {"duration": "24h0m0s"},
                "server": {"duration": "24h0m0s"},
            },
            "cloneStrategyOverride": "copy",
            "config": {"dataVolumeTTLSeconds": 5, "featureGates": ["HonorWaitForFirstConsumer"]},
            "customizeComponents": {
                "flags": {"api": {"v": "5"}},
                "patches": [{"patch": "{}", "resourceName": "r", "resourceType": "t", "type": "json"}],
            },
            "imagePullPolicy": "IfNotPresent",
            "infra": {
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "tolerations": [{"key": "CriticalAddonsOnly"}],
                "deploymentReplicas": 2,
            },
            "priorityClass": "kubevirt-cluster-critical",
            "uninstallStrategy": "BlockUninstallIfWorkloadsExist",
            "workload": {"nodeSelector": {"kubernetes.io/os": "linux"}, "affinity": {}},
        },
        status={
            "phase": "Deployed",
            "observedVersion": "v1.66.0",
            "operatorVersion": "v1.66.0",
            "targetVersion": "v1.66.0",
            "conditions": [_condition("Available", "True", reason="DeployCompleted", message="Deployment Completed")],
        },
    ),
]
