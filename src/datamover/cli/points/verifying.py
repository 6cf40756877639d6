"""What `datamover verify` does and prints."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import click
import msgspec

from datamover.agent.files import names
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.printing import printable, readable
from datamover.agent.verification.attempt import SAMPLE, Attempt, Facts
from datamover.agent.verification.objects import Flaw, Found
from datamover.agent.verification.wording import WORDS, describe, notes, summary
from datamover.cli.points.listing import encode_line, point_to_json
from datamover.cli.points.meter import Meter
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform
from datamover.cli.terminal import open_console, say, warn

_SHOWN: Final = 1000
"""Lines for people; a document has all."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line; `percent` is that of a sample."""

    place: Place
    point: str
    method: str
    percent: float
    disturbed: bool
    machine: bool


def verify_point(request: Request) -> Exit:
    """Compare, print, and return the exit code."""

    def work(bucket: Bucket) -> Exit:
        point = bucket.choose(request.point, source=request.place.source, disturbed=request.disturbed)
        meter = Meter(open_console(stderr=True), quiet=request.machine)
        attempt = Attempt(
            bucket,
            point,
            method=request.method,
            percent=request.percent,
            seed=secrets.token_hex(8),
            tell=meter.tell,
            scratch=bucket.scratch,
        )
        try:
            with meter:
                attempt.run()
            code = exit_code(attempt.facts)
            if request.machine:
                _print_json(attempt, point, code)
            else:
                for line in lines(attempt.flawed(), amiss=attempt.facts.amiss):
                    click.echo(line)
                for note in notes(attempt.facts):
                    warn(f"note: {printable(note)}")
                say(open_console(), summary(attempt.facts, point))
        finally:
            attempt.close()
        return code

    return perform("verify", request.place, work, machine=request.machine)


def exit_code(facts: Facts) -> Exit:
    """Return the exit code: what cannot be read back is not known to differ, and what should have been read back and was not is not proved."""
    if set(facts.flaws) - {Flaw.UNREADABLE}:
        return Exit.DIFFERENT
    return Exit.UNPROVED if facts.amiss or facts.unproved else Exit.DONE


def lines(found: Iterable[Found], *, amiss: int) -> Iterator[str]:
    """Yield a line an object, of so many as people read; and then how many more of the `amiss` there are."""
    yield from map(describe, islice(found, _SHOWN))
    if amiss > _SHOWN:
        yield f"and {amiss - _SHOWN} more; -o json names them all"


def _print_json(attempt: Attempt, point: Point, code: Exit) -> None:
    """Print one document, object by object: there may be millions."""
    facts = attempt.facts
    document: dict[str, Any] = {
        "exitCode": int(code),
        "message": printable(summary(facts, point)),
        "point": point_to_json(point),
        "method": facts.method,
        "samplePercent": facts.percent if facts.method == SAMPLE else None,
        "seed": facts.seed if facts.method == SAMPLE else "",
        "objects": facts.files,
        "bytes": facts.bytes,
        "comparedByChecksum": facts.summed,
        "readBack": facts.read,
        "readBytes": facts.read_bytes,
        "comparedBySizeAlone": facts.present - max(facts.summed, facts.read),
        "withoutChecksum": facts.unknown,
        "notCompared": facts.staying,
        "counts": {WORDS[flaw]: count for flaw, count in facts.flaws.items()},
        "notes": [printable(note) for note in notes(facts)],
    }
    head = msgspec.json.encode(document)
    click.echo(head[:-1] + b',"findings":[', nl=False)
    between = b"\n"
    for found in attempt.flawed():
        line = {
            "path": readable(names.raw_of(found.key)),
            "finding": WORDS[found.flaw],
            "expectedBytes": found.size,
            "bytes": found.after,
        }
        click.echo(between + encode_line(line), nl=False)
        between = b",\n"
    click.echo(b"\n]}")
