"""What a verification looks at. The engine's part is in tests/rclone."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.rclone.check import choose_sample

KEYS = st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=60, unique=True)


@given(KEYS, st.floats(min_value=0.001, max_value=100), st.text(max_size=200), st.randoms(use_true_random=False))
def test_a_sample_is_the_same_in_whatever_order_the_files_come(keys, percent, seed, random) -> None:
    chosen = choose_sample(keys, count=len(keys), percent=percent, seed=seed)
    shuffled = list(keys)
    random.shuffle(shuffled)
    assert choose_sample(shuffled, count=len(keys), percent=percent, seed=seed) == chosen
    assert len(set(chosen)) == len(chosen) == max(1, math.ceil(len(keys) * percent / 100))
    assert set(chosen) <= set(keys)


def test_each_file_is_as_likely_as_any_other() -> None:
    keys = [f"file-{number}".encode() for number in range(20)]
    runs = 4000
    seen = Counter(key for run in range(runs) for key in choose_sample(keys, count=20, percent=10, seed=f"run-{run}"))
    expected = runs * 2 / 20
    # a hash decides, so these numbers are always the same; chi-squared with 19 degrees of freedom is above 43.8 once in a thousand
    assert sum((seen[key] - expected) ** 2 / expected for key in keys) < 43.8
