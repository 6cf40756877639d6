"""What comes from outside: it is within its limits, or it is `Unusable`."""

import gzip
import json
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import outside
from datamover.api.outside import Count, Decoder, Unusable, clean, integer, known, lines, number, unpack


class Thing(msgspec.Struct):
    """What is decoded here."""

    size: Count = 0
    name: str = ""
    share: float = 0.0


decode = Decoder(Thing)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


# --- JSON ----------------------------------------------------------------------------------------------------------


@given(st.binary() | JSON.map(lambda value: json.dumps({"size": value, "name": "x"}).encode()))
def test_whatever_comes_is_a_thing_or_unusable(raw: bytes) -> None:
    try:
        found = decode(raw)
    except Unusable:
        return
    assert 0 <= found.size <= outside.INT64


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"x":' + b"[" * 100_000, "longer than"),
        (b'{"x":' + b"[" * 30_000, "brackets"),
        (b'{"x":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_001, "brackets"),
        (b"[" * 30_000, "brackets"),
        (b'{"size":1e26}', "does not fit"),
        (b'{"size":' + b"9" * 26 + b"}", "does not fit"),
        (b'{"size":9223372036854775808}', "does not fit"),
        (b'{"size":' + b"9" * 5_000 + b"}", "it "),
        (b'{"size":-1}', "does not fit"),
        (b'{"size":"1"}', "does not fit"),
        (b'{"share":1e999}', "does not fit"),
        (b'{"share":NaN}', "no JSON"),
        (b'{"name":"\xff"}', "UTF-8"),
        (b'{"name":"\\ud800"}', "no JSON"),
        (b'{"name":"a"} more', "no JSON"),
        (b'{"name":"a', "no JSON"),
        (b"", "no JSON"),
        (b"null", "does not fit"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n <HTML><body>It works!</body></HTML>", "web page"),
    ],
)  # fmt: skip
def test_hostile_json_is_told_as_what_it_is(raw: bytes, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        decode(raw)


@given(st.text(alphabet='[]{}\\"a'))
def test_brackets_in_strings_are_no_depth(name: str) -> None:
    assert decode(json.dumps({"name": name + "[" * 200}).encode()).name == name + "[" * 200


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert decode(b'{"size":1,"later":[{"a":[1,2]}]}') == Thing(size=1)


# --- text ----------------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(), max_size=3000), st.integers(2, 2000))
def test_clean_text_is_bounded_and_holds_nothing_that_moves_a_cursor_or_turns_the_line(text: str, limit: int) -> None:
    found = clean(text, limit=limit)
    assert len(found) <= limit
    found.encode()  # no halves of surrogate pairs
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in found)
    assert not set(found) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200b\ufeff")
    assert clean(found, limit=limit) == found


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=500))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\x1b[2J\x1b]0;mine\x07", "\\x1b[2J\\x1b]0;mine\\x07"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("one\ntwo\r\nthree\tfour", "one two three four"),
        ("\U000e0041", "\\U000e0041"),
        ("می\u200cخواهم 👨\u200d👩", "می\u200cخواهم 👨\u200d👩"),
    ],
)
def test_what_has_no_shape_is_shown_as_its_escape(text: str, found: str) -> None:
    assert clean(text) == found


# --- numbers and words ---------------------------------------------------------------------------------------------


@given(st.text(max_size=60) | st.integers().map(str) | st.text(alphabet="0123456789+-²٣ _.e", max_size=60))
def test_a_number_in_text_is_within_its_bounds_or_unusable(text: str) -> None:
    for read in (integer, number):
        try:
            found = read(text, low=-5, high=1000)
        except Unusable:
            continue
        assert -5 <= found <= 1000
        assert text.isascii()
        assert float(text) == found


@pytest.mark.parametrize(
    "text", ["²", "٣", "1_000", " 1", "1 ", "", "-", "0x10", "1.0", "nan", "9" * 5000, str(1 << 63)]
)
def test_only_ascii_digits_are_a_whole_number(text: str) -> None:
    with pytest.raises(Unusable):
        integer(text)
    with pytest.raises(Unusable):
        integer(text.encode())


def test_a_whole_number_is_read() -> None:
    assert integer("007") == 7
    assert integer(b"42") == 42
    assert integer("-3", low=-10) == -3


def test_a_word_that_is_not_known_is_not_repeated() -> None:
    assert known("syncing", ("syncing",), otherwise="?") == "syncing"
    assert known("\x1b[2J", ("syncing",), otherwise="?") == "?"


# --- streams -------------------------------------------------------------------------------------------------------


def chunks(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=3), st.integers(1, 100_000))
def test_gzip_members_are_unpacked_as_gzip_does(members: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    pieces = list(unpack(chunks(packed, max(size, len(packed) // 200))))
    assert b"".join(pieces) == b"".join(members)
    assert all(0 < len(piece) <= outside.PIECE for piece in pieces)


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_what_is_cut_off_or_damaged_is_unusable_or_as_it_was(raw: bytes, data: st.DataObject) -> None:
    packed = bytearray(gzip.compress(raw))
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(Unusable):
        list(unpack([bytes(packed[:cut])]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = b"".join(unpack([bytes(packed)]))
    except Unusable:
        return
    assert found == raw  # a letter of the header, such as the time


def test_a_bomb_is_refused_and_memory_stays_flat() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(512)) + squeeze.flush()
    assert len(packed) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(Unusable, match="times its size"):
            for _ in lines(unpack(chunks(packed, 1 << 14)), limit=1 << 30):
                pass
        with pytest.raises(Unusable, match="line longer"):
            for _ in lines(unpack(chunks(packed, 1 << 14)), limit=1 << 16):
                pass
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300), st.integers(1, 40))
def test_lines_are_those_of_the_whole(raw: bytes, size: int) -> None:
    raw = raw.replace(b"\x00", b"\n")
    whole = raw.split(b"\n")
    assert list(lines(chunks(raw, size))) == (whole[:-1] if not whole[-1] else whole)


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(1, 20))
def test_no_line_is_longer_than_the_limit(raw: bytes, size: int, limit: int) -> None:
    raw = raw.replace(b"\x00", b"\n")
    fits = all(len(line) <= limit for line in raw.split(b"\n"))
    try:
        found = list(lines(chunks(raw, size), limit=limit))
    except Unusable:
        assert not fits
    else:
        assert fits
        assert all(len(line) <= limit for line in found)
