"""A restore into a volume in use: who may go on with what is there, and rolling back when it fails (`rolling_back`)."""

import os
from collections.abc import Callable

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files.losses import Loss, Losses
from datamover.agent.restore import candidate, reasons
from datamover.agent.restore.candidate import Seen
from datamover.agent.restore.order import Order
from datamover.agent.restore.rolling_back import RollBack
from datamover.agent.restore.safety import open_copy
from datamover.agent.restore.target import claim
from datamover.api import restore as words
from datamover.api import transfer


def judge_mark(seen: Seen, order: Order) -> Failure | None:
    """Return why this restore must not go on in a target that another one has begun in: the safety copy may be of after that. Pure."""
    mark = seen.marker
    if not order.safety or mark is None or mark.restore == order.restore:
        return None
    return reasons.unfinished(
        order.directory, run=mark.run, place=mark.place, begun=mark.begun or "once", path=mark.path
    )


def recover(
    order: Order, error: Exception, *, tick: Callable[[], None], say: Callable[[str], None]
) -> tuple[Loss, ...] | None:
    """Roll back a restore that has failed with `error`, and say in that what the target is now; return what `roll_back` does, None also when it fails.

    Only a failure that somebody lives to tell comes here: killed or stopped, the next attempt goes on. `tick` may raise what ends it early.
    """
    failure = error if isinstance(error, Failure) else Failure(transfer.INTERNAL, "", "")
    if not order.safety or failure.reason == transfer.REASON_TARGET_BUSY:  # another attempt is at it
        return None
    try:
        lost = roll_back(order, tick=tick)
    except (OSError, ValueError, Failure) as why:
        told = why.message if isinstance(why, Failure) else (isinstance(why, OSError) and why.strerror) or str(why)
        reasons.tell_left(failure, told)
        say(f"The volume cannot be rolled back: {printing.printable(told)}")
        return None
    if lost is not None:
        say("The volume is rolled back from its safety copy.")
        short = tuple(words.Loss(each.kind, each.count) for each in lost)
        reasons.tell_rolled_back(failure, lost=words.tell_losses(short))
    return lost


def roll_back(order: Order, *, tick: Callable[[], None]) -> tuple[Loss, ...] | None:
    """Bring back from the safety copy what this restore has touched; return which attributes did not come back, None where it has touched nothing.

    Raises OSError, ValueError and Failure when it cannot; the target is marked then, as it was. `tick` may raise what ends it early.
    """
    seen = candidate.look(order.directory)
    if seen.flaw:
        raise reasons.damaged_mark(order.directory, seen.flaw)
    if seen.marker is None or seen.marker.restore != order.restore:
        return None
    copy = open_copy(order.safety)
    lost = Losses()
    try:
        place, _ = claim(order, seen.marker)
        try:
            RollBack(place, copy, order, lost=lost, tick=tick).run()
        finally:
            place.close()
    finally:
        os.close(copy)
    return lost.kinds()
