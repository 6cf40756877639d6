"""Which seeds a test run tries.

`DATAMOVER_SEED=7` tries seed 7 alone: to see a failure again. `DATAMOVER_SEEDS=5000` tries 5000 of each kind, for a long night.
"""

import os

ONE = "DATAMOVER_SEED"
MANY = "DATAMOVER_SEEDS"


def seeds(usual: int) -> list[int]:
    """Return the seeds to try: `usual` many, unless the environment says otherwise."""
    one = os.environ.get(ONE)
    if one is not None:
        return [int(one)]
    return list(range(max(usual, int(os.environ.get(MANY, "0")))))


def thorough() -> bool:
    """Tell whether time does not matter."""
    return MANY in os.environ
