"""Where the remotes of an rclone.conf lead to."""

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.configuration import Configuration

SECTIONS = Configuration(
    {
        "s3": {"type": "s3"},
        "dir": {"type": "local"},
        "tmp": {"type": "alias", "remote": "/tmp/x"},
        "volume": {"type": "alias", "remote": "/mnt/x"},
        "crypt": {"type": "crypt", "remote": "tmp:y"},
        "good": {"type": "crypt", "remote": "s3:y"},
        "union": {"type": "union", "upstreams": "s3:b dir:/data/x:ro"},
        "combined": {"type": "combine", "upstreams": "one=s3:b two=/dev/shm"},
        "circle": {"type": "alias", "remote": "circle:x"},
    }
)


@pytest.mark.parametrize(
    "remote",
    ["dir:/tmp/x", "dir:x", "/tmp/x", ":local:/tmp/x", ":memory:b", "tmp:", "crypt:z", "volume:../../data", "union:", "combined:one", "dir,nounc:/tmp",
     ':crypt,remote=":local:/data":x', "env:/srv/x", "dir:/mnt/../data"],
)  # fmt: skip
def test_a_place_that_is_gone_with_the_pod_is_found_behind_whatever_stands_before_it(remote: str) -> None:
    with pytest.raises(Misconfigured, match="moverVolumes"):
        SECTIONS.demand_lasting(remote, {"RCLONE_CONFIG_ENV_TYPE": "local"})


@pytest.mark.parametrize(
    "remote",
    ["s3:b/x", "dir:/mnt/x", "/mnt/x", "volume:x", "good:x", "circle:x", "unknown:x", ':s3,endpoint="http://h:1",no_check_bucket:b/x', ":local:/mnt/x"],
)  # fmt: skip
def test_a_place_that_stays_is_one(remote: str) -> None:
    SECTIONS.demand_lasting(remote, {})
