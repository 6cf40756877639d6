from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localkube.node.path_text import path_from_text, path_to_text


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw))
def test_any_path_goes_into_json_and_comes_back(raw):
    path = Path("/" + raw.decode("utf-8", "surrogateescape"))
    text = msgspec.json.decode(msgspec.json.encode(path_to_text(path)))
    assert path_from_text(text) == str(path)


@pytest.mark.parametrize("text", ["/data", "/d\u00e9p\u00f4t", "/a%20b", "", "relative/of/old"])
def test_what_is_text_stays_as_it_is(text):
    assert path_from_text(text) == text
    if text.startswith("/"):
        assert path_to_text(Path(text)) == text
