"""What the versions of CDI and KubeVirt mean for a collection."""

import pytest

from datamover.api.cdi.config import CDI, CDIConfig, CDIConfigSpec
from datamover.api.kubevirt import KubeVirt, KubeVirtStatus
from datamover.reconcilers.collection.neighbours import find_collector, find_kubevirt, is_tolerant
from datamover.runs.facts import Unread


def config(ttl: int | None) -> CDIConfig:
    return CDIConfig(spec=CDIConfigSpec(data_volume_ttl_seconds=ttl))


@pytest.mark.parametrize(
    ("version", "settings", "collects"),
    [
        ("v1.58.0", config(0), True),
        ("v1.58.0", config(-1), False),
        ("v1.58.0", config(None), False),
        ("v1.55.2", config(None), True),
        ("1.61.1", config(60), True),
        ("v1.62.0", config(0), False),
        ("v1.49.0", config(0), False),
        ("v1.58.0", Unread.FORBIDDEN, True),
        ("v1.58.0", Unread.MISSING, False),
        ("latest", config(0), False),
        (None, config(0), False),
        (7, config(0), False),
    ],
)
def test_an_old_cdi_collects_by_itself_where_its_setting_says_so(
    version: object, settings: CDIConfig | Unread, collects: bool
) -> None:
    assert bool(find_collector([CDI(status={"observedVersion": version})], settings)) is collects


def kubevirt(observed: str | None, target: str | None = None) -> KubeVirt:
    return KubeVirt(status=KubeVirtStatus(observed_kube_virt_version=observed, target_kube_virt_version=target))


def test_n18_in_doubt_the_kubevirt_counts_that_makes_volumes_again() -> None:
    assert find_kubevirt([]) is Unread.MISSING
    assert find_kubevirt([KubeVirt()]) == ""
    assert find_kubevirt([kubevirt("v1.4.0")]) == "v1.4.0"
    assert find_kubevirt([kubevirt("v1.4.0", "v1.5.0")]) == "v1.5.0", "it is being updated"
    assert find_kubevirt([kubevirt("v1.4.0"), kubevirt("v1.6.0")]) == "v1.6.0"
    assert not is_tolerant(Unread.MISSING)
