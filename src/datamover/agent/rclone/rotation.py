"""Files that follow one another under names with a date or a number, as dumps do. Pure.

A file is followed when another one, new, has the same path but for dates, numbers and identifiers, and is not next to nothing beside
it: at least a tenth as large. Each new file follows one old one.
"""

import heapq
import re
from collections.abc import Iterable, Sequence

MOST = 1000
"""So many files may follow one another at once; more are looked at as any."""
_LEAST = 10
"""A follower has at least the size divided by this."""

_MONTHS = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
_DAYS = "mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
# words that stand alone, or beside a number; of letters and digits together only what is long enough for an identifier
_VARYING = re.compile(
    rf"(?<![a-z])(?:{_MONTHS}|{_DAYS})(?![a-z])|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|(?=[a-f]*[0-9])[0-9a-f]{{8,}}|[0-9]+".encode(),
    re.IGNORECASE,
)


def stem_of(key: bytes) -> bytes:
    """Return what of a path stays the same from one file of a row to the next."""
    return _VARYING.sub(b"#", key)


def find_followed(gone: Sequence[tuple[bytes, int]], new: Iterable[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Return which of the `gone` files (key and size in bytes) are followed by one of the `new` ones: as many as can be."""
    rows: dict[bytes, list[tuple[int, bytes]]] = {}
    for key, size in gone:
        if (stem := stem_of(key)) != key:
            rows.setdefault(stem, []).append((size, key))
    followers: dict[bytes, list[int]] = {stem: [] for stem in rows}
    for key, size in new:
        largest = followers.get(stem_of(key))
        if largest is not None:
            # no more than there are to be followed, and the largest serve best
            if len(largest) < len(rows[stem_of(key)]):
                heapq.heappush(largest, size)
            else:
                heapq.heappushpop(largest, size)
    found: list[tuple[bytes, int]] = []
    for stem, olds in rows.items():
        sizes = iter(sorted(followers[stem]))
        size = next(sizes, None)
        for old, key in sorted(olds):
            while size is not None and size * _LEAST < old:
                size = next(sizes, None)
            if size is None:
                break
            found.append((key, old))
            size = next(sizes, None)
    return found
