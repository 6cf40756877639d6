"""Settings by the shape of the data."""

import pytest

from datamover.agent.rclone.profile import BIG, MIXED, SMALL, Shape, defaults, kind_of

MIB = 1 << 20
NEVER = {
    "RCLONE_SIZE_ONLY",
    "RCLONE_UPDATE",
    "RCLONE_USE_SERVER_MODTIME",
    "RCLONE_S3_DISABLE_CHECKSUM",
    "RCLONE_IGNORE_CHECKSUM",
}


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (Shape(objects=0, bytes=0, large=0), SMALL),
        (Shape(objects=5000, bytes=43 * MIB, large=0), SMALL),
        (Shape(objects=400, bytes=532 * MIB, large=0), MIXED),
        (Shape(objects=100_000, bytes=2000 * MIB, large=5), MIXED),
        (Shape(objects=2, bytes=2048 * MIB, large=2), BIG),
    ],
)
def test_the_kind_is_told_by_mean_size_and_large_files(shape: Shape, kind: str) -> None:
    assert kind_of(shape) == kind


@pytest.mark.parametrize("objects", [0, 10, 10_000])
@pytest.mark.parametrize("size", [0, MIB, 100_000 * MIB])
def test_no_profile_ever_weakens_the_comparison(objects: int, size: int) -> None:
    chosen = defaults(Shape(objects=objects, bytes=size, large=0), user={})
    assert not NEVER & set(chosen)
    assert chosen["RCLONE_CHECKSUM"] == "true"
    assert chosen["RCLONE_LINKS"] == "true"


def test_a_memory_bound_holds_for_large_files() -> None:
    big = defaults(Shape(objects=2, bytes=2048 * MIB, large=2), user={})
    chunks_in_memory = int(big["RCLONE_TRANSFERS"]) * 4 * 5  # upload concurrency and MiB of a chunk by default
    assert chunks_in_memory <= 200


def test_a_default_stands_back_where_the_user_decides_the_same_otherwise() -> None:
    shape = Shape(objects=1, bytes=1, large=0)
    assert "RCLONE_LINKS" not in defaults(shape, user={"RCLONE_COPY_LINKS": "true"})
    assert "RCLONE_CHECKSUM" not in defaults(shape, user={"RCLONE_SIZE_ONLY": "true"})
