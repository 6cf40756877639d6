"""The words of an affinity: those of Kubernetes pass, at every depth, and no others."""

import pytest

from datamover.api.affinity import find_unknown
from datamover.api.pods import Mover
from datamover.api.v1alpha1.datamover import DataMoverSpec
from datamover.api.v1alpha1.validation import check_spec

WHOLE = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
            ]
        },
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}
        ],
    },
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {"anything": "at all"}},
                "namespaceSelector": {"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]},
                "namespaces": ["a"],
                "topologyKey": "kubernetes.io/hostname",
                "matchLabelKeys": ["x"],
                "mismatchLabelKeys": ["y"],
            }
        ]
    },
}


def test_an_affinity_with_all_that_there_is_passes() -> None:
    assert find_unknown(WHOLE) is None


@pytest.mark.parametrize(
    ("affinity", "path"),
    [
        ({"nodeAfinity": {}}, "nodeAfinity"),
        ({"podAffinity": {"required": []}}, "podAffinity.required"),
        (
            {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "labelSelector": {}}]}},
            "podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].labelSelector",
        ),
        (
            {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpresions": []}]}}},
            "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpresions",
        ),
    ],
)  # fmt: skip
def test_a_misspelt_word_is_found_where_it_stands(affinity: dict[str, object], path: str) -> None:
    found = find_unknown(affinity)
    assert found is not None
    assert found[0] == path


def test_a_data_mover_with_one_says_which_words_there_are() -> None:
    spec = DataMoverSpec(source_pvc="a", secret_name="b", mover=Mover(affinity={"nodeAfinity": {}}))
    finding = check_spec(spec)
    assert finding is not None
    assert "spec.mover.affinity has 'nodeAfinity'" in finding.message
    assert "nodeAffinity or podAffinity or podAntiAffinity" in finding.message


def test_lists_within_each_other_are_for_the_api_server_to_refuse() -> None:
    """Anything passes the schema; looking a thousand lists deep would end as a defect of ours."""
    deep: list[object] = [{"made": "up"}]
    for _ in range(5_000):
        deep = [deep]
    assert find_unknown({"nodeAffinity": deep}) is None
    assert find_unknown({"nodeAffinity": [{"made": deep}]}) is not None
