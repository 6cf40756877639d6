"""What YAML text becomes: the values that kubectl would send, or a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.cli import documents
from datamover.cli.documents import Document, DocumentError, read_documents


def read_values(text: str) -> list[Any]:
    return [document.value for document in read_documents(text)]


def test_each_document_knows_its_first_line() -> None:
    text = "# about\n---\na: 1\n---\n---\n\nb: 2\n"
    assert read_documents(text) == [Document({"a": 1}, 3), Document(None, 5), Document({"b": 2}, 7)]


PLAIN: dict[str, tuple[str, Any]] = {
    "nothing": ("", []),
    "an empty document": ("---\n---\n", [None, None]),
    "words that are booleans": ("[y, No, on, OFF, tRUE]", [[True, False, True, False, "tRUE"]]),
    "numbers as Go writes them": (
        "[010, 0o17, 0x1F, 0b11, 1_000, -7, 08, .5, 1e3, 60.0, 1e300]",
        [[8, 15, 31, 3, 1000, -7, 8, 0.5, 1000, 60, 1e300]],
    ),
    "words that are numbers to others": (
        "[12:30, 190:20:30.15, =, 1.2.3, 0x, 0b12]",
        [["12:30", "190:20:30.15", "=", "1.2.3", "0x", "0b12"]],
    ),
    "scalars": (
        "{a: 1, b: 1.5, c: true, d: null, e: text, f: '1'}",
        [{"a": 1, "b": 1.5, "c": True, "d": None, "e": "text", "f": "1"}],
    ),
    "dates stay text": ("{a: 2024-08-06, b: 2024-08-06T14:30:52Z}", [{"a": "2024-08-06", "b": "2024-08-06T14:30:52Z"}]),
    "keys that are numbers or booleans": ("{2: a, true: b}", [{"2": "a", "true": "b"}]),
    "an alias is what its anchor is": ("{a: &x [1], b: *x}", [{"a": [1], "b": [1]}]),
    "a merge": ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", [{"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}]),
    "a merge of a merge": (
        "a: &x {k: 1}\nb: &y {<<: *x, k: 2}\nc: {<<: *y, k: 3}",
        [{"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 3}}],
    ),
    "a merged key that is overridden in another spelling": ("a: {<<: {1: x}, '1': z}", [{"a": {"1": "z"}}]),
    "the first of two merges": ("a: {<<: [{1: x}, {'1': z}]}", [{"a": {"1": "x"}}]),
    "the largest number": (f"a: {2**63 - 1}", [{"a": 2**63 - 1}]),
}

WRONG = {
    "no YAML": ("a: [", "is not YAML: while parsing", "at line 1"),
    "a key that is there twice": (
        "a: 1\nb: 2\na: 3",
        "the key 'a' is there twice, at line 1 and at line 3: remove one",
        "",
    ),
    "a key that is there twice, deep down": ("x: {z: [{a: 1, a: 1}]}", "the key 'a' is there twice", ""),
    "a number and a text that are one key": ("x: {2: a, '2': b}", "the key '2' is there twice, at line 1: remove", ""),
    "one number in two spellings": ("16: a\n0x10: b", "the key '16' is there twice", "line 2 (0x10 is read as 16)"),
    "a boolean and a text that are one key": ("true: a\n'true': b", "the key 'true' is there twice", "line 2"),
    "one boolean in two spellings": ("yes: a\nTrue: b", "the key 'true' is there twice", "(True is read as true)"),
    "a boolean that is none": ("a: !!bool maybe", "cannot be read as bool, at line 1, column 4", "quote it"),
    "a number that is nothing": ("a: !!int ''", "cannot be read as int", "quote it"),
    "a key of a number that is none": ("!!int x: 1", "cannot be read as int", ""),
    "a key that is nothing": ("x: {z: {~: 1}}", "a key in x.z that is no text", ""),
    "a key that is a number with a point": ("1.5: a", "has a key that is no text: '1.5'", ""),
    "a program": ("!!python/name:os.system", "is not YAML: could not determine a constructor", ""),
    "bytes": ("a: {b: !!binary aGk=}", "a.b is of the YAML type bytes", "write it as text"),
    "a set": ("a: !!set {x}", "a is of the YAML type set", ""),
    "an endless number": ("a: [.inf]", "a[0] is inf", "quote it"),
    "a number beyond 64 bits": (f"a: {2**63}", "a is a number of more than 64 bits", "quote it"),
    "a number of five thousand digits": (f"a: {'9' * 5000}", "cannot be read", ""),
    "a surrogate": ('a: "\\udfff"', "a holds half of a character", ""),
    "a surrogate in a key": ('"\\udfff": a', "half of a character", ""),
    "more than a hundred levels": ("[" * 102 + "]" * 102, "more than 100 levels", ""),
    "an anchor in itself": ("&x {a: *x}", "more than 100 levels", ""),
    "a moment that there is not": ("a: !!timestamp 2024-99-99", "cannot be read", ""),
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain_values(case: str) -> None:
    text, expected = PLAIN[case]
    assert read_values(text) == expected


def test_a_hundred_levels_are_no_offence() -> None:
    assert read_values("[" * 100 + "]" * 100)


@pytest.mark.parametrize("case", WRONG)
def test_what_no_manifest_can_hold(case: str) -> None:
    text, *words = WRONG[case]
    with pytest.raises(DocumentError) as refused:
        read_values(text)
    assert [word for word in words if word not in str(refused.value)] == [], str(refused.value)


def test_documents_share_nothing_so_that_one_can_be_changed() -> None:
    (first,) = read_values("a: &x {k: 1}\nb: *x")
    first["a"]["k"] = 2
    assert first["b"] == {"k": 1}


@pytest.mark.parametrize(
    "text", ["a: 1\n---\nb: 1\nb: 2", "a: 1\n---\n- [", "a: 1\n---\na: .nan", "---\n---\n" + "[" * 999]
)
def test_the_document_is_told_that_is_wrong(text: str) -> None:
    with pytest.raises(DocumentError) as refused:
        read_values(text)
    assert refused.value.document == 2


def test_a_bomb_is_counted_and_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 1000)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    with pytest.raises(DocumentError, match="stands for more than"):
        read_values("\n".join(lines))


@given(st.text(max_size=200))
def test_any_text_is_values_or_one_line_that_says_why_not(text: str) -> None:
    try:
        found, said = read_values(text), ""
    except DocumentError as error:
        found, said = [], str(error)
    assert not (found and said)
    assert "\n" not in said


def chain(length: int, *, width: int = 10) -> str:
    """Return a text in which each mapping merges several times the one before it."""
    lines = ["m0: &m0 {k: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * width)}]}}" for n in range(1, length)]
    return "\n".join(lines)


def test_merges_that_merge_merges_stop_before_they_cost_anything() -> None:
    with pytest.raises(DocumentError, match="merges more than 10000 keys; that is not a manifest"):
        read_documents(chain(40))


def test_ordinary_merges_are_kept() -> None:
    (found,) = read_values(
        "base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}\n" + chain(3, width=2).replace("m0: ", "m0: ", 1)
    )
    assert found["mine"] == {"a": 1, "b": 3}
    assert found["m2"] == {"k": 1}


def test_each_document_may_merge_as_much() -> None:
    one = "base: &base {" + ", ".join(f"k{n}: 1" for n in range(900)) + "}\n"
    text = "---\n".join(one + "".join(f"m{n}: {{<<: *base}}\n" for n in range(8)) for _ in range(3))
    assert len(read_values(text)) == 3


def test_a_mapping_that_merges_itself_is_refused() -> None:
    with pytest.raises(DocumentError):
        read_values("a: &a\n  <<: *a\n  b: 1\n")
