"""The engine's log: read and shown."""

import json

import pytest

from datamover.agent.printing import shorten
from datamover.agent.rclone.logs import read_line, shown, transferred, written

LINE = {
    "time": "2026-11-21T08:07:03.531588869Z",
    "level": "info",
    "msg": "Copied (new)",
    "size": 1,
    "object": "dir/a.txt",
    "objectType": "*local.Object",
    "source": "operations/copy.go:382",
}


def test_a_line_is_shown_in_the_classic_form() -> None:
    line = read_line(json.dumps(LINE).encode())
    assert written(line) == "2026/11/21 08:07:03 INFO  : dir/a.txt: Copied (new)"
    nothing = {name: value for name, value in LINE.items() if name != "object"}
    assert written(read_line(json.dumps(nothing).encode())) == "2026/11/21 08:07:03 INFO  : Copied (new)"


@pytest.mark.parametrize("raw", [b"panic: runtime error\n", b"{not json}\n", b'{"level": 5}\n', b"", b"\xff\xfe\n"])
def test_what_is_no_log_line_is_shown_as_it_is(raw: bytes) -> None:
    line = read_line(raw)
    assert line.level == ""
    assert written(line) == raw.decode("utf-8", "replace").rstrip("\r\n")
    assert shown(line, level="ERROR")


@pytest.mark.parametrize(
    ("level", "seen"),
    [("DEBUG", {"error", "notice", "info", "debug"}), ("INFO", {"error", "notice", "info"}), ("ERROR", {"error"})],
)
def test_people_see_their_level_and_graver(level: str, seen: set[str]) -> None:
    lines = {
        name: read_line(json.dumps(LINE | {"level": name}).encode()) for name in ("error", "notice", "info", "debug")
    }
    assert {name for name, line in lines.items() if shown(line, level=level)} == seen


STATS = {
    "time": "2026-11-21T08:07:03Z",
    "level": "notice",
    "msg": "\nTransferred:   \t    2.861 MiB / 5 MiB, 57%, 1 MiB/s, ETA 3s\nChecks:                 0 / 0, -, Listed 9\n"
    "Transferred:            7 / 9, 77%\nElapsed time:         0.0s\nTransferring:\n *  name: 5% /1Ki, 0/s, -\n\n",
    "stats": {
        "bytes": 3000017,
        "checks": 0,
        "elapsedTime": 0.06,
        "errors": 0,
        "eta": None,
        "fatalError": False,
        "listed": 9,
        "speed": 12.5,
        "totalBytes": 5000000,
        "totalChecks": 0,
        "totalTransfers": 9,
        "transferTime": 0.05,
        "transfers": 7,
        "transferring": [{"name": "x", "size": 5}],
    },
}


def test_statistics_are_read_and_shown_without_the_files_in_flight() -> None:
    line = read_line(json.dumps(STATS).encode())
    assert line.stats is not None
    assert (line.stats.bytes, line.stats.total_transfers, line.stats.eta) == (3000017, 9, None)
    assert transferred(line) == [
        "Transferred:   \t    2.861 MiB / 5 MiB, 57%, 1 MiB/s, ETA 3s",
        "Checks:                 0 / 0, -, Listed 9",
        "Transferred:            7 / 9, 77%",
        "Elapsed time:         0.0s",
    ]


def test_names_for_people_are_short_and_text() -> None:
    assert shorten(["plain", "x" * 300, "bad\udcff"], limit=10) == ("plain", "xxxxxxxxx…", "bad\\udcff")
