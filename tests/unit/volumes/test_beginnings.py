"""What a claim says of what it was begun as the copy of."""

from typing import Any

import msgspec
import pytest

from datamover.api.cdi import names
from datamover.volumes.beginnings import Beginning, beginning_of, record
from datamover.volumes.permit import CloneSource
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta

LONGEST = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}"
VOLUME = ObjectMeta(name="disk", namespace="apps", uid="uid-volume")


def claim(said: str | None, **meta: Any) -> PersistentVolumeClaim:
    annotations = {names.CREATED_FOR: "uid-volume", **({} if said is None else {names.COPIES: said})}
    owner = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": "disk", "uid": "uid-volume"}
    given = {"name": "disk", "uid": "u", "annotations": annotations, "ownerReferences": [owner], **meta}
    return msgspec.convert({"metadata": given}, PersistentVolumeClaim)


@pytest.mark.parametrize("by_worker", [True, False])
@pytest.mark.parametrize("kind", ["pvc", "snapshot"])
def test_what_is_written_is_read_again_also_with_the_longest_names(kind: str, *, by_worker: bool) -> None:
    assert len(LONGEST) == 253
    said = Beginning(CloneSource(kind, LONGEST, LONGEST), by_worker)
    assert beginning_of(claim(record(said)), VOLUME) == said


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "pvc",
        "[]",
        "{}",
        '{"kind":"pvc","namespace":"images","name":"golden"}',
        '{"kind":"http","namespace":"images","name":"golden","by":"worker"}',
        '{"kind":"pvc","namespace":"images","name":"../x","by":"worker"}',
        '{"kind":"pvc","namespace":"","name":"golden","by":"worker"}',
        '{"kind":"pvc","namespace":"images","name":"golden","by":"me"}',
        '{"kind":["pvc"],"namespace":"images","name":"golden","by":"worker"}',
        '{"kind":"pvc","namespace":"images","name":"golden","by":"worker","x":"' + "x" * 2000 + '"}',
        "\ud800",
    ],
)
def test_l11_what_is_not_written_as_we_write_it_says_nothing(said: str | None) -> None:
    assert beginning_of(claim(said), VOLUME) is None


@pytest.mark.parametrize("meta", [{"ownerReferences": []}, {"annotations": {}}])
def test_a_claim_that_was_not_made_for_this_datavolume_says_nothing(meta: dict[str, Any]) -> None:
    said = record(Beginning(CloneSource("pvc", "images", "golden"), by_worker=True))
    assert beginning_of(claim(said), VOLUME) is not None
    if "annotations" in meta:
        meta = {"annotations": {names.COPIES: said, names.CREATED_FOR: "uid-of-the-one-before"}}
    assert beginning_of(claim(said, **meta), VOLUME) is None
    assert beginning_of(None, VOLUME) is None
