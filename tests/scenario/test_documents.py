"""Each DataMover that the documents print, verbatim, from its creation to the bytes in the bucket."""

import re
from pathlib import Path

import pytest
import yaml

from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from support.documents import DOCUMENTS, data_movers
from support.s3 import S3Server
from support.scenario import TREE, Cluster


@pytest.mark.parametrize("document", data_movers(), ids=lambda path: path.stem)
async def test_the_documents_example_moves_the_volume_byte_for_byte(
    document: Path, cluster: Cluster, s3: S3Server
) -> None:
    spec = yaml.safe_load(document.read_text())["spec"]
    s3.bucket()
    await cluster.create_secret(spec["secretName"], s3.secret())
    await cluster.create_volume(spec["sourcePvc"])
    created = await cluster.apply_document(document)

    done = await cluster.wait_phase(document.stem, "Completed", "Failed")

    status = done.status or DataMoverStatus()
    assert status.phase == "Completed", status.message
    assert status.run is not None
    stamp = re.sub(r"\D", "", created.metadata.creation_timestamp or "")
    clone = f"restored-{spec['sourcePvc']}-{stamp}"
    assert status.restored_pvc_name == clone
    assert moved(s3, spec, status) == TREE
    children = await cluster.children()
    if spec.get("deletePvcAfterBackup"):
        assert children == {}
    else:
        assert children["PersistentVolumeClaim"] == [clone]
        assert children["Job"] == [status.run.job_name]
        assert (status.run.job_name or "").startswith("verify-restored-")
    assert said(done, "Complete") == "True"
    assert said(done, "Failed") == "False"
    verified = {"name": "VERIFY_BACKUP", "value": "true"} in spec.get("additionalEnv", [])
    assert said(done, "Verified") == ("True" if verified else "False")
    assert said(done, "CleanedUp") == ("True" if spec.get("deletePvcAfterBackup") else "False")


def moved(s3: S3Server, spec: dict[str, object], status: DataMoverStatus) -> dict[str, bytes]:
    """Return what the example must have written, by its own rules for where."""
    variables = {entry["name"]: entry.get("value") for entry in spec.get("additionalEnv", [])}  # type: ignore[attr-defined]
    prefix = str(variables.get("CUSTOM_PATH_PREFIX") or "")
    if spec.get("addTimestampPrefix"):
        assert status.run is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", status.run.timestamp)
        prefix = "/".join(part for part in (prefix, status.run.timestamp) if part)
    everything = s3.objects()
    inside = {key[len(prefix) :].lstrip("/"): value for key, value in everything.items() if key.startswith(prefix)}
    assert len(inside) == len(everything), "nothing was written anywhere else"
    return inside


def said(mover: DataMover, type_: str) -> str:
    condition = mover.status.condition(type_) if mover.status else None
    return condition.status if condition else "absent"


def test_every_example_of_the_documents_is_here() -> None:
    assert len(data_movers()) >= 12
    assert all(path.parent == DOCUMENTS for path in data_movers())
