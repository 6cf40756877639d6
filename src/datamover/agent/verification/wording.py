"""What people are told of a comparison: no more than was done (law L4). Pure."""

from typing import Final

from datamover.agent.files import names
from datamover.agent.points.catalogue import Point
from datamover.agent.printing import readable
from datamover.agent.verification.attempt import CHECKSUM, DOWNLOAD, SAMPLE, Facts
from datamover.agent.verification.objects import Flaw, Found
from datamover.api import amounts

_SIGNS: Final = {Flaw.MISSING: "-", Flaw.EXTRA: "+", Flaw.UNREADABLE: "?"}
WORDS: Final = {
    Flaw.MISSING: "missing",
    Flaw.SIZE: "size",
    Flaw.CHECKSUM: "checksum",
    Flaw.CONTENTS: "contents",
    Flaw.UNREADABLE: "unreadable",
    Flaw.UNLISTED: "unlisted",
    Flaw.EXTRA: "extra",
}
"""What each flaw is called where they are counted."""


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
        head += f", {facts.amiss} not as it says ({', '.join(f'{count} {WORDS[flaw]}' for flaw, count in facts.flaws.items())})"
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
