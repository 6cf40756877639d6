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
from datamover.agent.verification.attempt import CHECKSUM, DOWNLOAD, SAMPLE, Attempt, Facts
from datamover.agent.verification.objects import Flaw, Found
from datamover.api import amounts
from datamover.cli.points.listing import encode_line, point_to_json
from datamover.cli.points.meter import Meter
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform
from datamover.cli.terminal import open_console, say, warn

_SHOWN: Final = 1000
"""Lines for people; a document has all."""
_SIGNS: Final = {Flaw.MISSING: "-", Flaw.EXTRA: "+", Flaw.UNREADABLE: "?"}
_WORDS: Final = {
    Flaw.MISSING: "missing",
    Flaw.SIZE: "size",
    Flaw.CHECKSUM: "checksum",
    Flaw.CONTENTS: "contents",
    Flaw.UNREADABLE: "unreadable",
    Flaw.UNLISTED: "unlisted",
    Flaw.EXTRA: "extra",
}


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


def describe(found: Found) -> str:
    """Return a line about one object."""
    why = {
        Flaw.MISSING: "missing",
        Flaw.SIZE: f"size: {found.after} bytes, and {found.size} in the manifest",
        Flaw.CHECKSUM: "checksum: the store has recorded another one than the manifest has",
        Flaw.CONTENTS: "contents: what was read back has another checksum than the manifest has",
        Flaw.UNREADABLE: "it cannot be read back",
        Flaw.UNLISTED: "it is there when it is asked for by name, and the listing does not show it",
        Flaw.EXTRA: "it is not in the manifest",
    }[found.flaw]
    return f"{_SIGNS.get(found.flaw, '~')} {readable(names.raw_of(found.key))}  ({why})"


def summary(facts: Facts, point: Point) -> str:
    """Return what was compared with what, how many by which method, and what came of it; no more than was done (law L4)."""
    of = f" of {point.volume}" if point.volume else ""
    head = f"{point.name}{of}: {amounts.count(facts.files, 'object')} ({amounts.size(facts.bytes)}) in the manifest"
    if facts.flaws:
        head += f", {facts.amiss} not as it says ({', '.join(f'{count} {_WORDS[flaw]}' for flaw, count in facts.flaws.items())})"
    else:
        head += (
            ", all there, and nothing that it does not name"
            if facts.files
            else ", and nothing that it does not name is there"
        )
    return f"{head}. Compared with it: {compared(facts)}."


def compared(facts: Facts) -> str:
    """Return how many objects were compared by which method."""
    if not facts.present:
        return "the listing alone, for there was no object to compare"
    if facts.method in {DOWNLOAD, SAMPLE}:
        rest = facts.present - facts.read
        read = f"{facts.read} read back ({amounts.size(facts.read_bytes)}) and by checksum"
        if facts.method == SAMPLE:
            read += f" (a sample of {facts.percent:g} %)"
        return read + (f", {rest} by size alone" if rest else "")
    rest = facts.present - facts.summed
    if facts.method == CHECKSUM:
        told = f"{facts.summed} by the checksum that the store has recorded" if facts.summed else "none by checksum"
        return f"{told}{f', {rest} by size alone' if rest else ''}; nothing was read back, so rot at rest does not show"
    return f"{rest} by size alone; what is in them was not looked at"


def notes(facts: Facts) -> list[str]:
    """Return what people should know besides."""
    told: list[str] = []
    if facts.rival:
        told.append(
            f"the run {facts.rival} has begun to mirror there since: what it has replaced or deleted differs rightly. Verify `latest` when it has ended."
        )
    if facts.amiss and facts.live:
        told.append(
            "the source was live (copyMethod Direct): of a file that changed while it was read, the manifest may have the size of before"
        )
    if facts.method == CHECKSUM and not facts.plain:
        way_out = "" if facts.unknown == facts.files else "; --method download reads back"
        told.append(f"the store's ETags are no checksums (as where it encrypts with KMS){way_out}")
    if facts.method != "size" and facts.unknown:
        told.append(
            f"the manifest has no checksum of {amounts.count(facts.unknown, 'object')}: what is in them cannot be compared by any method"
        )
    if facts.staying:
        told.append(
            f"{amounts.count(facts.staying, 'object')} more stay by the manifest's own word (filtered, or of unknown origin) and were not compared"
        )
    if facts.said:
        told.append(f"the engine said: {facts.said}")
    return told


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
        "counts": {_WORDS[flaw]: count for flaw, count in facts.flaws.items()},
        "notes": [printable(note) for note in notes(facts)],
    }
    head = msgspec.json.encode(document)
    click.echo(head[:-1] + b',"findings":[', nl=False)
    between = b"\n"
    for found in attempt.flawed():
        line = {
            "path": readable(names.raw_of(found.key)),
            "finding": _WORDS[found.flaw],
            "expectedBytes": found.size,
            "bytes": found.after,
        }
        click.echo(between + encode_line(line), nl=False)
        between = b",\n"
    click.echo(b"\n]}")
