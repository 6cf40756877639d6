"""Files in, objects out: their order, their namespaces, and where each was read. What is wrong with files is in the scenarios' tables."""

import io
from pathlib import Path

import pytest

from datamover.cli.manifests import ManifestError, read_manifests, runnables
from datamover.cli.namespaces import is_namespace

MOVER = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: NAME}
spec: {sourcePvc: a, secretName: sMORE}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: s}
"""
OTHERS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: other}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
---
apiVersion: v1
kind: Namespace
metadata: {name: ns}
"""


def mover(name: str = "a", more: str = "") -> str:
    return MOVER.replace("NAME", name).replace("MORE", more)


def read(*paths: str, text: str = "", namespace: str = "default"):
    return read_manifests(paths, stdin=io.StringIO(text), namespace=namespace)


def kinds(sources) -> list[str]:
    return [source.manifest["kind"] for source in sources]


def test_what_others_need_comes_first_and_datamovers_last(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(mover("first"))
    (tmp_path / "b.yaml").write_text(OTHERS)
    found = read(str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "-", text=mover("second"))
    assert kinds(found) == ["Namespace", "StorageClass", "Secret", "ConfigMap", "DataMover", "DataMover"]
    assert [source.manifest["metadata"]["name"] for source in runnables(found)] == ["first", "second"]


def test_objects_without_a_namespace_get_the_given_one_and_namespaces_none() -> None:
    found = read("-", text=OTHERS, namespace="here")
    placed = {source.manifest["kind"]: source.manifest["metadata"].get("namespace") for source in found}
    assert placed == {"Namespace": None, "StorageClass": "here", "Secret": "other", "ConfigMap": "here"}


def test_each_object_knows_where_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"---\n{mover('a')}\n---\n---\n{mover('b')}")
    listed = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: s}}]}"
    found = read(str(path), "-", text=listed)
    assert [source.place for source in found] == [
        "standard input, line 1, document 1, item 1",
        f"{path}, line 3, document 1",
        f"{path}, line 11, document 3",
    ]


def test_the_same_name_in_two_namespaces_groups_or_kinds_is_no_second_one() -> None:
    others = [f"\napiVersion: {version}\nkind: Secret\nmetadata: {{name: a}}\n" for version in ("v1", "example.com/v1")]
    assert len(read("-", text="---".join([mover("a"), mover("a, namespace: other"), *others]))) == 4


def test_the_same_object_of_two_versions_is_there_twice() -> None:
    text = "".join(f"---\napiVersion: example.com/{v}\nkind: Thing\nmetadata: {{name: a}}\n" for v in ("v1", "v2"))
    with pytest.raises(ManifestError, match="Thing a is there twice, first in standard input, line 2, document 1"):
        read("-", text=text)


def test_a_file_is_measured_before_it_is_decoded(tmp_path: Path) -> None:
    """The cut must not fall into the middle of a letter and be told as a wrong encoding."""
    path = tmp_path / "large.yaml"
    path.write_text("#" + "ü" * (5 << 20))
    with pytest.raises(ManifestError, match="larger than 8 MiB"):
        read(str(path))


def test_a_list_within_a_list_is_unfolded() -> None:
    inner = "{kind: SecretList, apiVersion: v1, items: [{apiVersion: v1, kind: Secret, metadata: {name: s}}]}"
    assert kinds(read("-", text="{apiVersion: v1, kind: List, items: [" + inner + "]}")) == ["Secret"]


@pytest.mark.parametrize("value", ["true", "1", "1.5", "[a]", "{a: b}"])
def test_variables_and_secrets_are_text(value: str) -> None:
    variables = ", additionalEnv: [{name: A}, {name: B, value: " + value + "}]"
    with pytest.raises(ManifestError, match=r"spec\.additionalEnv\[1\]\.value is .*: quote it"):
        read("-", text=mover(more=variables))
    with pytest.raises(ManifestError, match=r"Secret\.data\.K is .*: quote it"):
        read("-", text="{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {K: " + value + "}}")


@pytest.mark.parametrize("variables", ["5", "[5]", "{}", "[{name: A, value: null}]"])
def test_what_is_wrong_with_variables_otherwise_is_left_to_the_api_server(variables: str) -> None:
    assert len(read("-", text=mover(more=f", additionalEnv: {variables}"))) == 1


WRONG = {
    "bad base64": (
        SECRET + "data: {KEY: 'hunter2!'}",
        "document 1: Secret.data.KEY is illegal base64: encode the value",
    ),
    "base64 without its end": (SECRET + "data: {KEY: YQ}", "Secret.data.KEY is illegal base64: .* under stringData"),
    "a List of nothing": ("apiVersion: v1\nkind: List\nitems:\n", "document 1: is a List without items"),
    "a List of a kind, of nothing": ("apiVersion: v1\nkind: SecretList\nitems:\n", "is a SecretList without items"),
    "a List that holds a mapping": (
        "apiVersion: v1\nkind: List\nitems: {a: b}\n",
        "List.items is a mapping, not a list",
    ),
    "a List with something wrong in it": (
        "kind: List\nitems: [{apiVersion: v1, kind: Secret}]",
        "document 1, item 1: Secret has no metadata.name",
    ),
    "a key twice in the second document": (
        SECRET + "---\n" + SECRET + "kind: Secret\n",
        "standard input, document 2: the key 'kind' is there twice, at line 8 and at line 10: remove one",
    ),
    "no YAML in the second document": (SECRET + "---\n[", "standard input, document 2: is not YAML"),
    "a name that is a boolean to kubectl": ("apiVersion: v1\nkind: Secret\nmetadata: {name: y}", "quote it"),
}


BROKEN = {
    "an open quote": 'KEY: "hunter2',
    "an alias": "KEY: *hunter2",
    "a tag": "KEY: !hunter2 x",
    "two colons": "KEY: hunter2: hunter2",
    "a percent sign": "KEY: %hunter2",
    "an escape": '"hunter2\\q"',
    "a list that does not end": "[hunter2, hunter2",
    "a tab": "KEY:\n\thunter2: x",
    "a control character": "KEY: hunter2\x01",
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_yaml_is_told_without_the_text_itself(case: str) -> None:
    """Law L8: the line that cannot be read may be a Secret's."""
    text = SECRET + "stringData:\n  " + BROKEN[case]
    with pytest.raises(ManifestError) as refused:
        read("-", text=text)
    told = str(refused.value)
    assert "hunter" not in told
    assert "is not YAML: " in told or "!hunter" in BROKEN[case]
    assert refused.value.__cause__ is None or "hunter" not in str(refused.value.__cause__)


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case: str) -> None:
    text, words = WRONG[case]
    with pytest.raises(ManifestError, match=words) as refused:
        read("-", text=text)
    assert "hunter2" not in str(refused.value), "no value of a Secret is shown"


def test_base64_may_be_wrapped_and_empty() -> None:
    assert kinds(read("-", text=SECRET + "data:\n  A: ''\n  B: |\n    aGVs\n    bG8=\n")) == ["Secret"]


def test_standard_input_is_read_once() -> None:
    with pytest.raises(ManifestError, match="standard input can be read only once: give `-f -` once"):
        read("-", "-", text=mover())


NAMESPACES = {"default": True, "a": True, "0-9": True, "a" * 63: True, "a" * 64: False, "": False, "A": False}
NAMESPACES |= dict.fromkeys(["-a", "a-", "a.b", "a/b", "a\n", "ü"], False)


@pytest.mark.parametrize("text", NAMESPACES)
def test_names_of_namespaces(text: str) -> None:
    assert is_namespace(text) is NAMESPACES[text]


def test_a_directory_stands_for_its_manifests_by_their_ending_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(mover("second"))
    (tmp_path / "a.yaml").write_text(mover("first"))
    (tmp_path / "c.json").write_text('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}')
    (tmp_path / "notes.txt").write_text("no manifest: {")
    (tmp_path / "below.yaml").mkdir()
    found = read(str(tmp_path))
    assert [source.place.partition(",")[0] for source in found] == [
        str(tmp_path / name) for name in ("c.json", "a.yaml", "b.yml")
    ]


def test_a_directory_without_manifests_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ManifestError, match=r"holds no manifest: none of its files ends in \.yaml, \.yml, \.json"):
        read(str(tmp_path))


def test_standard_input_is_utf_8_whatever_the_locale_says() -> None:
    stdin = io.TextIOWrapper(io.BytesIO(f"# \u65e5\n{mover()}".encode()), encoding="ascii")
    assert kinds(read_manifests(("-",), stdin=stdin, namespace="default")) == ["DataMover"]
    stdin = io.TextIOWrapper(io.BytesIO(b"# \xff\n"), encoding="utf-8")
    with pytest.raises(ManifestError, match="standard input: is not UTF-8 text"):
        read_manifests(("-",), stdin=stdin, namespace="default")
