"""When a certificate of our own making is followed by the next one. Pure but for the making of keys.

A new certificate is trusted only when the clients have heard of its authority. So it is made and kept first, its authority is handed out beside the
one in use, and only later it is served. The former authority is handed out until it ends: another replica may be late to serve the new one.

Guarantees: what is served is trusted at any time, as long as clients hear of an authority within `SETTLES`; a certificate that is lost or ended is
replaced at once, for then nothing is trusted anyway.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from kubekit.runtime.certificates import LIFETIME, Pair, ends_of, make_pair

RENEWS: Final = LIFETIME / 3
"""So long before its end a certificate is followed by the next one."""
SETTLES: Final = timedelta(minutes=10)
"""So long after it was made a certificate is served: clients have heard of its authority by then."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is in use, what follows it, and the authority of what was in use before."""

    current: Pair | None = None
    following: Pair | None = None
    former: bytes | None = None

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """Everything that clients have to trust, what is in use first."""
        pairs = (self.current, self.following)
        found = [*(pair.authority for pair in pairs if pair is not None), *([self.former] if self.former else [])]
        return tuple(dict.fromkeys(found))


def turn(held: Held, *, hosts: Collection[str], now: datetime, trusted: Collection[bytes] | None) -> Held:
    """Return what is to be held from now on, the same where nothing is to be done. `trusted` are the authorities that clients are known to have heard of; None where there is nobody to tell."""
    former_ends = ends_of(held.former) if held.former else None
    if held.former is not None and (former_ends is None or former_ends <= now):
        held = replace(held, former=None)
    if held.following is not None and not held.following.serves(now):
        held = replace(held, following=None)
    current, following = held.current, held.following
    if current is None or not current.serves(now):
        # A former authority that nobody has a certificate of any more helps nobody.
        return Held(following or make_pair(hosts, now=now))
    if following is None:
        return held if now < current.ends - RENEWS else replace(held, following=make_pair(hosts, now=now))
    heard = trusted is None or following.authority in trusted
    if heard and now >= following.made + SETTLES:
        return Held(following, None, current.authority)
    return held


def next_turn(held: Held, *, now: datetime) -> float:
    """Return in how many seconds there may be something to do by time alone."""
    moments = [now + timedelta(days=1)]
    if held.current is not None:
        moments += [held.current.ends, *([held.current.ends - RENEWS] if held.following is None else [])]
    if held.following is not None:
        moments.append(held.following.made + SETTLES)
    if held.former is not None and (ends := ends_of(held.former)) is not None:
        moments.append(ends)
    coming = [each for each in moments if each > now]
    return max(1.0, (min(coming) - now).total_seconds())
