"""The words of cdi.kubevirt.io, spelled as its own objects spell them. A field that is spelled otherwise is never read, and nobody notices."""

import json

import msgspec
import pytest

from datamover.api.cdi.config import CDI, CDIConfig
from datamover.api.cdi.data_import_cron import DataImportCron
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.storage_profile import StorageProfile
from kubekit.words.meta import Model

WRITTEN: list[tuple[type[Model], dict]] = [
    (
        CDIConfig,
        {
            "spec": {
                "dataVolumeTTLSeconds": 0,
                "featureGates": ["HonorWaitForFirstConsumer"],
                "filesystemOverhead": {"global": "0.06"},
                "scratchSpaceStorageClass": "fast",
                "importProxy": {"HTTPProxy": "http://proxy"},
                "podResourceRequirements": {"limits": {"cpu": "1"}},
                "preallocation": True,
                "insecureRegistries": ["registry:5000"],
                "imagePullSecrets": [{"name": "pull"}],
                "uploadProxyURLOverride": "https://upload",
                "logVerbosity": 3,
                "tlsSecurityProfile": {"type": "Old"},
            }
        },
    ),
    (CDI, {"spec": {"config": {"dataVolumeTTLSeconds": -1}}}),
    (
        DataVolume,
        {
            "spec": {
                "source": {"vddk": {"initImageURL": "registry/image", "backingFile": "[a] b"}},
                "storage": {"storageClassName": "fast"},
                "contentType": "kubevirt",
                "finalCheckpoint": True,
            },
            "status": {"claimName": "disk", "restartCount": 2, "progress": "12.34%"},
        },
    ),
    (
        DataImportCron,
        {
            "spec": {"schedule": "0 3 * * *", "managedDataSource": "os", "importsToKeep": 2},
            "status": {
                "currentImports": [{"DataVolumeName": "os-1", "Digest": "sha256:1"}],
                "lastImportedPVC": {"name": "os-1", "namespace": "images"},
            },
        },
    ),
    (StorageProfile, {"spec": {"claimPropertySets": [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}]}}),
]


@pytest.mark.parametrize(("kind", "written"), WRITTEN, ids=[kind.__name__ for kind, _ in WRITTEN])
def test_each_word_is_read_and_none_is_taken_for_unknown(kind: type[Model], written: dict) -> None:
    read = msgspec.json.decode(json.dumps(written), type=kind)
    again = json.loads(msgspec.json.encode(read))
    assert {part: again.get(part) for part in written} == written
