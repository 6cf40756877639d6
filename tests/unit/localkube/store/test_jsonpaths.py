import pytest

from localkube.store.jsonpaths import find_all

TREE = {
    "spec": {"a": 1, "x.y": "dotted", "list": [{"type": "A", "v": 1}, {"type": "B", "v": 2, "on": True}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Failed", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        ("spec.a", [1]),
        ("{.spec.a}", [1]),
        ("$.spec.a", [1]),
        (".spec.nope", []),
        (".spec.a.deeper", []),
        (".spec.list[0].v", [1]),
        (".spec.list[-1].v", [2]),
        (".spec.list[9].v", []),
        (".spec.list[*].v", [1, 2]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Failed')].status", ["False"]),
        ('.status.conditions[?(@.type=="Nope")].status', []),
        (".spec.list[?(@.on==true)].v", [2]),
        (".spec.list[?(@.v==1)].type", ["A"]),
        (r".spec.x\.y", ["dotted"]),
        (".spec['x.y']", ["dotted"]),
    ],
)
def test_paths_of_printer_columns(path, found):
    assert find_all(TREE, path) == found
