"""What rsync prints, as it was seen."""

import time

import pytest

from datamover.agent.rsync import output
from datamover.agent.rsync.output import Advance, Splitter, Statistics
from datamover.agent.rsync.process import listed_name

STATISTICS = """
Number of files: 5 (reg: 2, dir: 2, link: 1)
Number of created files: 5 (reg: 2, dir: 2, link: 1)
Number of deleted files: 3 (reg: 3)
Number of regular files transferred: 2
Total file size: 5000007 bytes
Total transferred file size: 5000003 bytes
Literal data: 5000003 bytes
Total bytes sent: 5003082
Total bytes received: 68

sent 5003082 bytes  received 68 bytes  10006300.00 bytes/sec
total size is 5000007  speedup is 1.00
"""


@pytest.mark.parametrize(
    ("line", "advance"),
    [
        (
            b"        5000003  99%   35.58MB/s    0:00:00 (xfr#2, to-chk=2/5)",
            Advance(5000003, 99, 35.58 * (1 << 20), 2, 5),
        ),
        (b"              3   0%    0.00kB/s    0:00:00  ", Advance(3, 0, 0.0)),
        (b"  7 100%    1.00GB/s 0:00:00 (xfr#1, ir-chk=1000/1001)", Advance(7, 100, float(1 << 30), 1000, 1001)),
        (b"  7 300%    1.00B/s 0:00:00", Advance(7, 100, 1.0)),
        (b"sent 5 bytes  received 7 bytes", None),
        (b"  7 100%    ....kB/s 0:00:00", None),
        (b"99999999999999999999 1% 1.00kB/s 0:00:00", None),
        (b"", None),
    ],
)
def test_progress_is_told_from_other_lines(line: bytes, advance: Advance | None) -> None:
    assert output.read_advance(line) == advance


def test_statistics_are_read_and_what_is_missing_is_zero() -> None:
    assert output.read_statistics(STATISTICS.splitlines()) == Statistics(
        files=2,
        links=1,
        folders=2,
        size=5000007,
        transferred=2,
        transferred_size=5000003,
        deleted=3,
        sent=5003082,
        received=68,
    )
    assert output.read_statistics(["Total file size: 99999999999999999999 bytes", "Number of files: 1"]) == Statistics()


def test_two_passes_are_told_as_one() -> None:
    one = Statistics(files=2, size=10, transferred=2, transferred_size=10, sent=12, received=1)
    assert output.add(one, Statistics(files=2, size=10, deleted=4, sent=3, received=2)) == Statistics(
        files=2, size=10, transferred=2, transferred_size=10, deleted=4, sent=15, received=3
    )


def test_lines_end_where_rsync_ends_them_and_are_bounded() -> None:
    splitter = Splitter()
    assert splitter.feed(b"one\rtwo\n\n  \nthr") == [b"one", b"two"]
    assert splitter.feed(b"ee\n") == [b"three"]
    assert sum(map(len, splitter.feed(b"x" * (output.LINE + 1)))) == output.LINE
    assert splitter.feed(b"half of a secret") == []
    assert splitter.feed(b"the rest of it\ntail") == []
    assert splitter.end() == [b"tail"]
    assert splitter.end() == []


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("drwxr-xr-x          4,096 2026/11/29 18:59:36 .", "."),
        ("-rw-r--r--              3 2026/11/29 18:59:36 a name with  blanks", "a name with  blanks"),
        ("lrwxrwxrwx             19 2026/11/29 18:59:36 l -> /abs", "l -> /abs"),
        ("@ERROR: Unknown module 'nomod'", ""),
        ("", ""),
    ],
)
def test_a_name_is_found_in_a_listing(line: str, name: str) -> None:
    assert listed_name(line) == name


@pytest.mark.parametrize(
    ("line", "success", "failure"),
    [
        ("sent 5003082 bytes  received 68 bytes  10006300.00 bytes/sec", True, False),
        ("rsync completed in 3s", True, True),
        ("Rsync completed in 3s", True, True),
        ("rsync error: some files could not be transferred (code 23)", False, True),
        ("total size is 5000007  speedup is 1.00", False, False),
    ],
)
def test_lines_for_the_status_are_those_that_users_search_for(line: str, success: bool, failure: bool) -> None:
    assert bool(output.SUMMARY.search(line)) == success
    assert bool(output.TROUBLE.search(line)) == failure


def test_a_line_that_a_peer_has_made_long_takes_no_long_time_to_be_looked_at() -> None:
    began = time.process_time()
    assert output.SUMMARY.search("sent bytes " * 1500) is None
    assert time.process_time() - began < 5  # it was minutes
    assert output.SUMMARY.search("sent 12 bytes  received 34 bytes  5.00 bytes/sec")
