"""Listings that are watched while they grow."""

import itertools
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.children import Stop
from datamover.agent.errors import Failure
from datamover.agent.rclone import listing
from datamover.agent.rclone.listing import Circle, Listing
from datamover.agent.rclone.process import Engine
from datamover.api import transfer


@given(st.lists(st.binary(max_size=8), unique=True, max_size=3000))
def test_a_listing_of_different_objects_goes_round_in_no_circle(words: list[bytes]) -> None:
    circle = Circle()
    assert not any(circle.take(word) for word in words)


@given(st.integers(0, 500), st.integers(1, 500))
def test_every_circle_is_found_before_long(before: int, length: int) -> None:
    words = itertools.chain(
        (b"before %d" % at for at in range(before)), itertools.cycle([b"in %d" % at for at in range(length)])
    )
    circle = Circle()
    assert any(circle.take(word) for word in itertools.islice(words, 100 * (before + length) + 100))


def test_an_object_that_is_listed_twice_is_no_circle() -> None:
    circle = Circle()
    assert not any(circle.take(word) for word in [b"a", b"a", b"b", b"b", b"c", b"a"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_LOOK_SECONDS", 0.02)


@pytest.fixture
def engine() -> Engine:
    return Engine(sys.executable, stop=Stop(grace=1))


def begin(engine: Engine, script: str, path: Path, *, sums: bool = False) -> Listing:
    child = engine.start(["-c", script], environment={}, on_line=lambda _: None, output=str(path))
    return Listing(child, str(path), place="s3generic:backups/", sums=sums)


FOREVER = {
    "the same page": "while True: print('5;a\\n6;b\\n7;c')",
    "a page that comes again": "print('1;first')\nwhile True: print('5;a\\n6;b')",
    "a name": "import sys\nwhile True: sys.stdout.write('x' * 65536)",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("case", FOREVER)
def test_a_listing_without_an_end_is_ended_and_told(engine: Engine, tmp_path: Path, case: str) -> None:
    found = begin(engine, FOREVER[case], tmp_path / "listing")
    assert found.wait(patience=60) != 0
    assert found.endless


@pytest.mark.usefixtures("quick")
def test_a_listing_that_shows_nothing_new_is_given_up(engine: Engine, tmp_path: Path) -> None:
    script = "import time\nprint('1;a', flush=True)\ntime.sleep(60)"
    found = begin(engine, script, tmp_path / "listing")
    assert found.wait(patience=0.1) != 0
    assert found.child.timed_out
    assert not found.endless


def test_a_listing_is_read_as_it_is(engine: Engine, tmp_path: Path) -> None:
    found = begin(engine, "print('5;a\\n0;b;c\\n-1;d', end='')", tmp_path / "listing")
    assert found.wait(patience=60) == 0
    assert list(found.lines()) == [(b"a", 5), (b"b;c", 0), (b"d", -1)]


MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def test_a_listing_with_checksums_has_them_where_the_store_does(engine: Engine, tmp_path: Path) -> None:
    lines = f"5;{MD5};a;b\\n0;;c\\n7;{MD5.upper()};d\\n7;ERROR;e"
    found = begin(engine, f"print('{lines}', end='')", tmp_path / "listing", sums=True)
    assert found.wait(patience=60) == 0
    assert list(found.rows()) == [
        (b"a;b", 5, bytes.fromhex(MD5)),
        (b"c", 0, b""),
        (b"d", 7, b""),
        (b"e", 7, b""),
    ]
    assert list(found.lines()) == [(b"a;b", 5), (b"c", 0), (b"d", 7), (b"e", 7)]


def test_a_listing_that_lacks_the_checksums_that_were_asked_for_is_the_servers_failure(
    engine: Engine, tmp_path: Path
) -> None:
    found = begin(engine, "print('5;a', end='')", tmp_path / "listing", sums=True)
    assert found.wait(patience=60) == 0
    with pytest.raises(Failure, match="it has a line without a key"):
        list(found.rows())


@pytest.mark.parametrize("line", ["²;a", "1e3;a", ";a", "a", "9223372036854775808;a", "<html>"])
def test_a_listing_that_cannot_be_read_is_the_servers_failure(engine: Engine, tmp_path: Path, line: str) -> None:
    found = begin(engine, f"import sys\nsys.stdout.buffer.write({line.encode()!r})", tmp_path / "listing")
    assert found.wait(patience=60) == 0
    with pytest.raises(Failure) as failed:
        list(found.lines())
    assert failed.value.reason == transfer.REASON_SERVER_ERROR
    assert "s3generic:backups/" in failed.value.message
