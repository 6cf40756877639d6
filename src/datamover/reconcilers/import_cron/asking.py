"""What a DataImportCron asks for, read from its spec and annotations. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DataImportCron, DataImportCronSpec
from datamover.api.cdi.data_volume import Source
from datamover.api.schedule import ScheduleError, parse
from datamover.api.validation import is_object_name, quote
from datamover.volumes.naming import shorten

KEEP: Final = 3
"""So many imports stay where nothing is said."""
_MOST_KEPT: Final = 1000
_LABEL_LIMIT: Final = 63
_DIGITS: Final = 12
"""So much of a digest is in a name."""
DIGEST: Final = re.compile(r"(?:sha256|uid):[0-9a-f][0-9a-f-]{10,126}[0-9a-f]")


class Reason(StrEnum):
    """What is told of a DataImportCron. Stable: programs rely on them."""

    UP_TO_DATE = "UpToDate"
    OUTDATED = "Outdated"
    IMPORTING = "ImportProgressing"
    NO_IMPORT = "NoImport"
    NO_DIGEST = "NoDigest"
    INVALID_DIGEST = "InvalidDigest"
    INVALID_SPEC = "InvalidSpec"
    UNSUPPORTED = "UnsupportedSource"
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"
    POLL_FAILED = "PollFailed"
    POLLED = "Polled"
    PRUNED = "ImportDeleted"
    ABANDONED = "ImportAbandoned"
    INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why it cannot be done as it is asked for."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there is to import: its digest, and the name of its DataVolume and claim."""

    digest: str
    name: str


def label_of(cron: DataImportCron) -> str:
    """Return the label of what it makes: its name, shortened where that is no label."""
    return shorten(cron.metadata.name, _LABEL_LIMIT)


def source_of(spec: DataImportCronSpec) -> Source:
    """Return the source of its template."""
    given = spec.template.spec
    return given.source if given is not None and given.source is not None else Source()


def is_pollable(spec: DataImportCronSpec) -> bool:
    """Tell whether we can find out by ourselves that the source has changed."""
    source = source_of(spec)
    return (source.http is not None) != (source.s3 is not None)


def keeps(spec: DataImportCronSpec) -> int | None:
    """Return how many imports stay, None for all. The newest always does."""
    if spec.garbage_collect == "Never":
        return None
    count = KEEP if spec.imports_to_keep is None else spec.imports_to_keep
    return max(1, min(count, _MOST_KEPT))


def goes_along(spec: DataImportCronSpec) -> bool:
    """Tell whether imports are deleted with it."""
    return spec.retention_policy == "None"


def find_flaw(spec: DataImportCronSpec) -> Flaw | None:
    """Return what is wrong with a spec, whatever its source says."""
    if not is_object_name(spec.managed_data_source) or len(spec.managed_data_source) > 253 - _DIGITS - 1:
        return Flaw(
            Reason.INVALID_SPEC,
            f"spec.managedDataSource {quote(spec.managed_data_source)} is no name for a DataSource, to which a dash and {_DIGITS} digits are added",
        )
    if spec.template.spec is None or spec.template.spec.source is None:
        return Flaw(Reason.INVALID_SPEC, "spec.template.spec.source says nothing: name what is imported")
    for field, given, allowed in (
        ("garbageCollect", spec.garbage_collect, ("Outdated", "Never")),
        ("retentionPolicy", spec.retention_policy, ("All", "None")),
    ):
        if given and given not in allowed:
            return Flaw(Reason.INVALID_SPEC, f"spec.{field} is {quote(given)}: write {' or '.join(allowed)}")
    if not spec.schedule:
        return None
    try:
        parse(spec.schedule)
    except ScheduleError as error:
        return Flaw(Reason.INVALID_SPEC, f"spec.schedule: {error}")
    return None


def find_wanted(cron: DataImportCron, spec: DataImportCronSpec) -> Wanted | Flaw:
    """Return what there is to import by the digest that was found, or given by somebody else."""
    said = cron.metadata.annotation(names.DESIRED_DIGEST)
    if said:
        if DIGEST.fullmatch(said) is None:
            return Flaw(
                Reason.INVALID_DIGEST,
                f"annotation {names.DESIRED_DIGEST} is {quote(said)}: it is sha256: and at least {_DIGITS} hexadecimal digits",
            )
        digits = said.partition(":")[2][:_DIGITS].strip("-")
        return Wanted(said, f"{spec.managed_data_source}-{digits}")
    if is_pollable(spec):
        return Flaw(Reason.NO_DIGEST, "nothing is known of the source yet")
    return Flaw(
        Reason.UNSUPPORTED,
        f"this operator does not look at such a source by itself, at http and s3 only: whoever does says by the annotation "
        f"{names.DESIRED_DIGEST} what there is to import",
    )
