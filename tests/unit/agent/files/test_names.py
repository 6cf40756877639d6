"""Spellings of names. The table is held against the real engine in tests/rclone/test_sources.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent import printing
from datamover.agent.files import names

components = st.binary(min_size=1, max_size=12).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)
unusual = (
    st.text("ab.\n\x7f\u201b\u2400\u240a\u241f\u2421\uff0e\uff0f\u00e9", min_size=1, max_size=6)
    .filter(lambda text: text not in (".", ".."))
    .map(str.encode)
)
paths = st.lists(components | unusual, min_size=1, max_size=3).map(b"/".join)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"plain/path.txt", b"plain/path.txt"),
        ("ünï/cödé".encode(), "ünï/cödé".encode()),
        (b"new\nline", "new\u240aline".encode()),
        (b"\x7f", "\u2421".encode()),
        ("\u240a".encode(), "\u201b\u240a".encode()),
        ("\u201b".encode(), "\u201b\u201b".encode()),
        ("a\uff0fb".encode(), "a\u201b\uff0fb".encode()),
        ("\uff0e".encode(), "\u201b\uff0e".encode()),
        ("dir/\uff0e\uff0e".encode(), "dir/\u201b\uff0e\u201b\uff0e".encode()),
        ("x\uff0e".encode(), "x\uff0e".encode()),
        (b"bad\xff", b"bad\xff"),
    ],
)
def test_keys_are_spelled_as_the_engine_does(raw: bytes, key: bytes) -> None:
    assert names.key_of(raw) == key
    assert names.raw_of(key) == raw


@given(paths)
def test_a_key_leads_back_to_its_path_and_fits_on_a_line(raw: bytes) -> None:
    key = names.key_of(raw)
    assert names.raw_of(key) == raw
    assert b"\n" not in key
    assert b"\r" not in key
    assert key.count(b"/") == raw.count(b"/")


@given(paths, paths)
def test_two_paths_never_share_a_key(one: bytes, other: bytes) -> None:
    assert (names.key_of(one) == names.key_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("raw", "size"),
    [(b"abc/def", 7), ("é".encode(), 2), (b"\xff", 5), ("\u201b".encode(), 6), ("\uff0e".encode(), 6), (b"a\n", 2)],
)
def test_the_size_at_the_server_counts_what_the_store_needs(raw: bytes, size: int) -> None:
    assert names.stored_size(raw) == size


@pytest.mark.parametrize(
    ("raw", "fine"),
    [(b"plain", True), (b"tab\t", True), (b"new\n", True), (b"\x01", False), (b"cr\r", False), (b"\x1f", False)],
)
def test_names_that_xml_cannot_carry_are_found(raw: bytes, fine: bool) -> None:
    assert names.listable(raw) is fine


@given(paths)
def test_what_a_path_becomes_is_canonical(raw: bytes) -> None:
    assert names.is_canonical(names.key_of(raw))
    assert names.is_canonical(names.key_of(raw + names.LINK_SUFFIX))


BY_HAND = [
    "",
    "/",
    "/x",
    "//x",
    "x/",
    "x//",
    "a//b",
    "./x",
    "../x",
    "x/./y",
    "x/../y",
    "x/.",
    "..",
    "a\nb",
    "a\r",
    "\x7f",
]
LOOK_ALIKES = ["a\uff0fb", "\uff0e", "x/\uff0e\uff0e/y", "\u2400", "a\u201bb"]


@pytest.mark.parametrize("key", [*BY_HAND, *LOOK_ALIKES])
def test_keys_that_no_path_becomes_are_told_apart(key: str) -> None:
    assert not names.is_canonical(key.encode())


@pytest.mark.parametrize(
    "key", ["#x", ";x", " x", "x ", "...", ".x", "x.", "a\\b", "*", "{a}", "e\u0301", "\u00e9", "\u240a"]
)
def test_keys_that_only_look_strange_are_ordinary(key: str) -> None:
    assert names.is_canonical(key.encode())


@given(st.binary(max_size=8) | st.text("a./\u201b\u2400\uff0f\uff0e\u2421", max_size=6).map(str.encode))
def test_a_canonical_key_has_one_path_and_no_other_key_has_it(key: bytes) -> None:
    if names.is_canonical(key):
        raw = names.raw_of(key)
        assert names.key_of(raw) == key
        assert b"\0" not in raw
        assert not {b"", b".", b".."} & set(raw.split(b"/"))


@pytest.mark.parametrize(
    ("key", "rule"),
    [(b"a//b", b"/a//b"), (b"/f", b"//f"), (b"x//", b"/x/[/]"), (b"a//*?[x]{y}\\", rb"/a//\*\?\[x\]\{y\}\\")],
)
def test_a_rule_is_for_one_key_alone(key: bytes, rule: bytes) -> None:
    assert names.rule_for(key) == rule


@pytest.mark.parametrize(
    ("key", "quoted"), [(b"a", False), ("é".encode(), False), (b"\xff", True), ("\u201b\u201b".encode(), True)]
)
def test_keys_that_may_be_stored_otherwise(key: bytes, quoted: bool) -> None:
    assert names.is_quoted(key) == quoted


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain \xc3\xa9 \xe6\x97\xa5", "plain \u00e9 \u65e5"),
        (b"\x1b[2J\x07\n\r\t\x00\x7f", r"\x1b[2J\x07\n\r\t\x00\x7f"),
        (b"\xff\xc2\x9b", r"\xff\x9b"),
        ("\u202egpj.exe\u2028\u200b".encode(), r"\u202egpj.exe\u2028\u200b"),
    ],
)
def test_names_for_people_play_no_tricks(raw: bytes, shown: str) -> None:
    assert printing.readable(raw) == shown
    assert printing.printable(raw.decode("utf-8", "surrogateescape")) == shown


@given(st.binary(max_size=40))
def test_any_bytes_become_one_line_that_every_encoding_takes(raw: bytes) -> None:
    shown = printing.readable(raw)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert not [letter for letter in shown if ord(letter) < 32 or 127 <= ord(letter) < 160]


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"a/b", b"/a/b/**"),
        (b"[x]{y}*?\\", rb"/\[x\]\{y\}\*\?\\/**"),
        (b"\xff\n", "/?\u240a/**".encode()),
    ],
)
def test_a_rule_for_everything_below_a_folder_names_it_and_nothing_else(raw: bytes, rule: bytes) -> None:
    assert names.rule_below(raw) == rule
