"""Whose children are, and how they are found."""

import pytest

from datamover.api import names
from datamover.api.ownership import Owner, labels_of, select_children
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta, OwnerReference
from localkube.store.selectors import parse_labels
from support.builders import data_mover

METADATA = data_mover().metadata
OWNER = Owner(DATA_MOVERS, METADATA, labels_of(METADATA, run_id="run"))
THEIRS = Owner(DATA_MOVERS, METADATA, {names.CREATED_BY_LABEL: "volsync"})


def test_one_value_is_asked_for_as_the_documents_write_it() -> None:
    assert select_children((names.CREATED_BY_VALUE,)) == "app.kubernetes.io/created-by=datamover-operator"


def test_several_values_make_one_selector_in_a_fixed_order() -> None:
    selector = select_children(("volsync", names.CREATED_BY_VALUE, "volsync"))
    assert selector == "app.kubernetes.io/created-by in (datamover-operator,volsync)"
    (requirement,) = parse_labels(selector)  # as an API server reads it
    assert set(requirement.values) == {"volsync", names.CREATED_BY_VALUE}


def test_no_value_is_no_selector_because_an_empty_one_would_select_everything() -> None:
    with pytest.raises(ValueError, match="no created-by value"):
        select_children(())


def child(owner: Owner, **labels: str) -> PersistentVolumeClaim:
    made = owner.child("x", component=names.COMPONENT_COPY)
    (reference,) = made["ownerReferences"]
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="x",
            labels={**made["labels"], **labels},
            owner_references=(OwnerReference(uid=reference["uid"], name=reference["name"]),),
        )
    )


@pytest.mark.parametrize("owner", [OWNER, THEIRS], ids=["ours", "another project's kind"])
def test_an_owner_owns_what_it_made_and_nothing_without_its_label(owner: Owner) -> None:
    assert owner.owns(child(owner))
    assert not owner.owns(child(owner, **{names.CREATED_BY_LABEL: "somebody"}))
    assert owner.holds(child(owner, **{names.CREATED_BY_LABEL: "somebody"}))
    assert not owner.owns(None)


def test_an_owner_does_not_own_the_child_of_another_object() -> None:
    other = Owner(DATA_MOVERS, ObjectMeta(name="other", uid="another-uid"), OWNER.labels)
    assert not OWNER.owns(child(other))
    assert not OWNER.holds(child(other))
