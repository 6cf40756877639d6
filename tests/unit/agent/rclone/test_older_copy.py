"""When the store may copy, what, and for how long. The engine's part is in tests/rclone."""

import pytest

from datamover.agent.rclone.older_copy import SIZES, _limit, is_proved

CHECKSUM = {"RCLONE_CHECKSUM": "true", "RCLONE_S3_NO_HEAD": "true"}


@pytest.mark.parametrize(
    ("changes", "proved"),
    [
        ({}, True),
        ({"RCLONE_CHECKSUM": "false"}, False),
        ({"RCLONE_CHECKSUM": ""}, False),
        ({"RCLONE_IGNORE_TIMES": "true"}, False),
        ({"RCLONE_IGNORE_TIMES": "false"}, True),
        ({"RCLONE_NO_CHECK_DEST": "1"}, False),
        ({"RCLONE_SIZE_ONLY": "T"}, False),
        ({"RCLONE_IGNORE_CHECKSUM": "true"}, False),
        ({"RCLONE_NO_TRAVERSE": "true"}, False),
        ({"RCLONE_IMMUTABLE": "true"}, False),
        ({"RCLONE_S3_UPLOAD_CUTOFF": "5M"}, False),
        ({"RCLONE_S3_UPLOAD_CUTOFF": ""}, True),
        ({"RCLONE_CONFIG_S3GENERIC_COPY_CUTOFF": "5M"}, False),
        ({"RCLONE_MULTI_THREAD_CUTOFF": "5M"}, False),
        ({"RCLONE_MAX_DURATION": "1h"}, False),
        ({"RCLONE_MAX_TRANSFER": "1G"}, False),
        ({"RCLONE_TRANSFERS": "4"}, True),
    ],
    ids=str,
)
def test_the_store_copies_where_the_engine_goes_by_the_listings_checksums(
    changes: dict[str, str], proved: bool
) -> None:
    assert is_proved(CHECKSUM | changes) == proved


def test_what_goes_in_parts_and_what_is_small_is_not_copied() -> None:
    assert [size in SIZES for size in ((4 << 20) - 1, 4 << 20, (200 << 20) - 1, 200 << 20)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_store_that_copies_for_too_long_is_left() -> None:
    now = 5.0
    look = _limit(10, monotonic=lambda: now)
    assert look() is None
    now = 15.0
    assert look() is None
    now = 15.1
    failure = look()
    assert failure is not None
    assert "has not copied them within 10 s" in failure.message
