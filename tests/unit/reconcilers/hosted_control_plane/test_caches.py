"""What the caches keep is all that verdicts read: a verdict over projected objects is the verdict over the objects themselves."""

from msgspec.structs import replace

from datamover.api.hypershift import RHCOS_LABEL
from datamover.reconcilers.hosted_control_plane.caches import project
from datamover.verdicts.verdict import State
from support.control_planes import backup, content, hcp, judge, snapshot


def test_a_snapshot_of_a_nodes_image_is_known_as_one_after_its_claim_is_gone() -> None:
    whole = snapshot("rhcos", ready=False)
    whole = replace(
        whole, metadata=replace(whole.metadata, labels={**(whole.metadata.labels or {}), RHCOS_LABEL: "true"})
    )
    around = (snapshot(), content())
    kept = judge(project(whole), *around, plane=hcp("KubeVirt"), of=backup(move=False))
    assert kept == judge(whole, *around, plane=hcp("KubeVirt"), of=backup(move=False))
    assert kept.state is State.MOVED, "nobody waits for the image, which is not ready"
