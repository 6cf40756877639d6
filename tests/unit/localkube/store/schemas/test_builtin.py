import pytest

from localkube.store.builtin_kinds import builtin_kinds
from localkube.store.schemas.builtin import definition, kind_of, names


def test_every_definition_of_the_table_reads():
    assert all(definition(name).definition == name for name in names())


def test_every_builtin_kind_has_its_definition():
    for kind in builtin_kinds():
        assert kind.node is not None
        assert kind_of(kind.node.definition) == (kind.group, kind.version, kind.kind)


def test_lists_know_how_they_merge():
    spec = definition("api.core.v1.PodSpec").fields
    container = spec["containers"].items.fields

    assert spec["containers"].list_keys == ("name",)
    assert container["env"].list_keys == ("name",)
    assert container["ports"].list_keys == ("containerPort", "protocol")
    assert container["ports"].items.fields["protocol"].default == "TCP"
    assert container["volumeMounts"].list_keys == ("mountPath",)
    assert spec["tolerations"].list_type == "atomic"
    assert spec["imagePullSecrets"].list_keys == ("name",)
    meta = definition("apimachinery.pkg.apis.meta.v1.ObjectMeta").fields
    assert meta["ownerReferences"].list_keys == ("uid",)
    assert meta["finalizers"].list_type == "set"


def test_a_definition_that_refers_to_itself_ends():
    schema = definition("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")

    assert schema.fields["properties"].values.fields is schema.fields
    assert schema.fields["not"].fields["not"].fields is schema.fields


@pytest.mark.parametrize("name", ["api.core.v1.Nope", ""])
def test_an_unknown_definition_is_a_key_error(name):
    with pytest.raises(KeyError):
        definition(name)
