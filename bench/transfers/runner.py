"""Measures cases, one after the other: each tool in turn does all of its steps, so that no more than one tree, one copy and one restore are on the disk.

Tools change their order from round to round. Before each step everything that was written before is put on the disk.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bench.transfers.cases import BACKUP, CHANGED, GIB, Case, Step
from bench.transfers.measuring import StepError, measure
from bench.transfers.report import Sample
from bench.transfers.tools import Place, Tool, kept_holes
from bench.transfers.trees import change_tree, make_tree
from support.programs import Undertaker
from support.proxy import Proxy
from support.s3 import S3Server, find_versitygw, run_server

_PREPARING = 120.0
"""Seconds."""

Result = tuple[Step, Mapping[str, float] | str]
"""What a step took, or why it failed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run has at hand."""

    tools: Mapping[str, Tool]
    rounds: int
    tell: Callable[[Sample], None]
    """Hears of each sample at once."""


def run_cases(cases: Sequence[Case], bench: Bench) -> list[Sample]:
    """Measure all; neighbours with the same tree share it. Failures are samples too. Leaves nothing behind, also when it is killed."""
    found: list[Sample] = []

    def tell(sample: Sample) -> None:
        found.append(sample)
        bench.tell(sample)

    for _, group in groupby(cases, key=lambda case: case.tree):
        together = list(group)
        with scratch() as (place, undertaker):
            why_not = _why_no_tree(place, together)
            for case in together:
                for round_, name in _turns(case, bench.rounds):
                    steps = [step for step in case.steps if step in bench.tools[name].steps]
                    if why_not:
                        results: Iterable[Result] = ((step, why_not) for step in steps)
                    else:
                        results = _run_tool(case, steps, bench.tools[name], name, place, undertaker)
                    for step, result in results:
                        tell(_sample(case, name, step, round_, result))
    return found


@contextlib.contextmanager
def scratch() -> Iterator[tuple[Path, Undertaker]]:
    """Yield a directory that goes in the end, and who removes it, and ends programs, when we are killed."""
    place = Path(tempfile.mkdtemp(prefix="datamover-bench-"))
    undertaker = Undertaker(place)
    try:
        yield place, undertaker
    finally:
        shutil.rmtree(place, ignore_errors=True)
        undertaker.close()


@contextlib.contextmanager
def serve(place: Path) -> Iterator[S3Server]:
    """Yield an S3 server with an empty bucket."""
    with contextlib.closing(run_server("versitygw" if find_versitygw() else "rclone", place)) as servers:
        server = next(servers)
        server.bucket()
        yield server


@contextlib.contextmanager
def reach(server: S3Server, round_trip: float) -> Iterator[int]:
    """Yield the port on which the server is reached, `round_trip` milliseconds away. Without any there is no proxy."""
    if not round_trip:
        yield server.port
        return
    with Proxy(server.port, delay=round_trip / 2000) as proxy:
        yield proxy.port


def _why_no_tree(place: Path, cases: Sequence[Case]) -> str:
    """Make the tree; return why there is none, if so."""
    room, free = max(case.room for case in cases), shutil.disk_usage(place).free
    if free < room * 1.1:
        return f"wants {room / GIB:.0f} GiB in {place.parent}, where {free / GIB:.0f} are free (TMPDIR says where)"
    try:
        make_tree(place / "container" / "data", cases[0].tree)
    except OSError as error:
        return f"the tree could not be made: {error}"
    return ""


def _turns(case: Case, rounds: int) -> Iterator[tuple[int, str]]:
    """Yield round and tool, in order. Who is measured alone is measured once."""
    for round_ in range(rounds if len(case.tools) > 1 else 1):
        for name in sorted(case.tools, key=case.tools.index, reverse=bool(round_ % 2)):
            yield round_, name


def _run_tool(
    case: Case, steps: Sequence[Step], tool: Tool, name: str, place: Path, undertaker: Undertaker
) -> Iterator[Result]:
    """Yield each step with what it took, or why it failed; after a failure nothing more is tried."""
    own, left, why = place / "own", list(steps), ""
    own.mkdir()
    try:
        with serve(own) as server, reach(server, case.round_trip) as port:
            here = Place(server, port, f"of-{name.replace(' ', '-')}", place / "container", own)
            while left and not why:
                try:
                    result = _take(left[0], case, tool, here, undertaker)
                except StepError as failure:
                    why = f"not tried: the {left[0].action} ({left[0].state}) failed"
                    yield left.pop(0), str(failure)
                else:
                    yield left.pop(0), result
    except (OSError, RuntimeError) as error:  # of the server, the disk, or a check
        why = f"{type(error).__name__}: {error}"[:300]
    finally:
        shutil.rmtree(own, ignore_errors=True)
    for step in left:
        yield step, why


def _take(step: Step, case: Case, tool: Tool, place: Place, undertaker: Undertaker) -> dict[str, float]:
    if step == case.steps[0] and tool.prepare is not None:
        measure(tool.prepare(place), limit=_PREPARING, undertaker=undertaker)
    if step == Step(BACKUP, CHANGED):
        change_tree(place.data, case.tree)
    os.sync()
    command = (tool.backup if step.action == BACKUP else tool.restore)(place, step.state)
    spent = measure(command, limit=case.limit, undertaker=undertaker)
    if step.action != BACKUP:
        if wrong := tool.check(place):
            raise StepError(f"what came back is not what went in: {wrong}")
        if any(group.sparse for group in case.tree.groups) and not kept_holes(place):
            raise StepError("holes did not come back")
    return {"seconds": spent.seconds, "cpu": spent.cpu, "mebibytes": spent.mebibytes}


def _sample(case: Case, tool: str, step: Step, round_: int, result: Mapping[str, float] | str) -> Sample:
    figures = {} if isinstance(result, str) else dict(result)
    failure = result if isinstance(result, str) else ""
    return Sample(case.tree.name, case.round_trip, step.action, step.state, tool, round_, failure=failure, **figures)
