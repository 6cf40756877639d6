"""The kernel's list of mounts, read as it is written."""

from pathlib import Path

import pytest

from cluster import mounts


def table(*points: str) -> str:
    return "".join(f"36 35 0:40 / {point} rw,relatime shared:1 - tmpfs tmpfs rw\n" for point in points)


@pytest.mark.parametrize(
    ("directory", "points", "found"),
    [
        ("/c", ["/c/a"], ["/c/a"]),
        ("/c", ["/c"], []),  # somebody else's disk for us
        ("/c", ["/c-of-another/a", "/x/c/a", "/"], []),
        ("/c", ["/c/a", "/c/a/b", "/c/d"], ["/c/a/b", "/c/a", "/c/d"]),
        ("/c", ["/c/a", "/c/a"], ["/c/a", "/c/a"]),  # one upon the other
        ("/c", [r"/c/with\040space", r"/c/back\134slash"], ["/c/with space", r"/c/back\slash"]),
        ("/with space", [r"/with\040space/a"], ["/with space/a"]),
        ("/c", ["/c/größe"], ["/c/größe"]),
    ],
)
def test_what_is_below_is_found_the_deepest_first(directory: str, points: list[str], found: list[str]) -> None:
    assert mounts.mount_points(Path(directory), table(*points)) == [Path(each) for each in found]


def test_this_machine_has_something_mounted() -> None:
    assert Path("/proc") in mounts.mount_points(Path("/"))
