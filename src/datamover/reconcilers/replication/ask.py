"""What an object of either kind asks for, whichever method it has chosen; or why it cannot be done, as a sentence. Pure."""

from dataclasses import dataclass
from typing import Final

from datamover.api.names import CopyMethod
from datamover.api.volsync import names
from datamover.api.volsync.common import DestinationMoverConfig, MoverConfig, SmallDestinationMover, SmallMover, Trigger
from datamover.api.volsync.names import Method
from datamover.api.volsync.replication_destination import (
    REPLICATION_DESTINATIONS,
    RcloneDestination,
    ReplicationDestination,
    ReplicationDestinationSpec,
    ResticDestination,
    RsyncDestination,
    RsyncTLSDestination,
)
from datamover.api.volsync.replication_source import (
    REPLICATION_SOURCES,
    RcloneSource,
    ReplicationSource,
    ReplicationSourceSpec,
    ResticSource,
    RsyncSource,
    RsyncTLSSource,
)
from kubekit.words.meta import ObjectMeta, Resource

Replication = ReplicationSource | ReplicationDestination
Options = (
    ResticSource
    | RcloneSource
    | RsyncTLSSource
    | RsyncSource
    | ResticDestination
    | RcloneDestination
    | RsyncTLSDestination
    | RsyncDestination
)

NONE: Final = "None"
"""An older word for Direct."""
CHECKED_FIRST: Final = frozenset({Method.RCLONE})
"""Methods that look for what they need before a copy is taken. The others do so afterwards: users who quiesce know that order (documents)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One object as it is to be carried out. `role` is `names.SOURCE` or `names.DESTINATION`, `copy_method` a `CopyMethod`.

    `claim` is the source, or the destination that was given.
    """

    obj: Replication
    role: str
    method: str
    options: Options
    copy_method: str
    claim: str | None
    trigger: Trigger
    paused: bool

    @property
    def metadata(self) -> ObjectMeta:
        """The object's."""
        return self.obj.metadata

    @property
    def resource(self) -> Resource[ReplicationSource] | Resource[ReplicationDestination]:
        """The object's kind."""
        return REPLICATION_SOURCES if isinstance(self.obj, ReplicationSource) else REPLICATION_DESTINATIONS

    @property
    def is_source(self) -> bool:
        """Whether it is a ReplicationSource."""
        return self.role == names.SOURCE

    @property
    def mover(self) -> MoverConfig | None:
        """What is said of a mover that need not be root; None with rsync over SSH."""
        return self.options if isinstance(self.options, MoverConfig) else None

    @property
    def moves_blocks(self) -> bool:
        """Whether its mover copies Block volumes as well."""
        return self.method in (Method.RSYNC, Method.RSYNC_TLS)

    @property
    def makes_claim(self) -> bool:
        """Whether a destination makes the claim that it writes."""
        return not self.is_source and self.claim is None

    @property
    def destination(self) -> str:
        """The name of the claim that a destination writes, given or made."""
        return self.claim or names.destination_claim(self.method, self.metadata.name)

    @property
    def cleans_claim(self) -> bool:
        """Whether the claim that a destination has made goes at the end; with Direct it is the image itself."""
        options = self.options
        temporary = isinstance(options, SmallDestinationMover | DestinationMoverConfig) and options.cleanup_temp_pvc
        return self.makes_claim and bool(temporary) and self.copy_method != CopyMethod.DIRECT


def is_external(obj: Replication) -> bool:
    """Tell whether an object is another program's to carry out: nothing is done with it, and its status is left alone."""
    return obj.spec is not None and obj.spec.external is not None and not _chosen(obj.spec)


def ask_of(obj: Replication) -> Ask | str:
    """Return what an object asks for, or a sentence that says why it cannot be done and what to write instead."""
    spec = obj.spec
    if spec is None:
        return "the object has no spec: write one"
    chosen = _chosen(spec)
    if isinstance(spec, ReplicationSourceSpec) and spec.syncthing is not None and not chosen:
        return "syncthing is not moved by this operator: use spec.restic, spec.rclone, spec.rsyncTLS or spec.rsync"
    if len(chosen) > 1 or (chosen and spec.external is not None):
        several = [*(f"spec.{FIELDS[method]}" for method in chosen), *(["spec.external"] if spec.external else [])]
        return f"only one replication method can be given, and there are {' and '.join(several)}: remove all but one"
    if not chosen:
        return f"no replication method is given: write one of {', '.join(f'spec.{field}' for field in FIELDS.values())}"
    [(method, options)] = chosen.items()
    wanted = _copy_method(options, source=isinstance(spec, ReplicationSourceSpec))
    if wanted is None:
        allowed = (
            "Direct, None, Clone, or Snapshot"
            if isinstance(spec, ReplicationSourceSpec)
            else "Direct, None, or Snapshot"
        )
        return f"unsupported copyMethod: {options.copy_method or ''} -- must be {allowed}. Set spec.{FIELDS[method]}.copyMethod"
    source = isinstance(spec, ReplicationSourceSpec)
    if isinstance(spec, ReplicationSourceSpec) and not spec.source_pvc:
        return "no volume is given: set spec.sourcePVC to a PersistentVolumeClaim of this namespace"
    claim = spec.source_pvc if isinstance(spec, ReplicationSourceSpec) else _destination_claim(options)
    return Ask(
        obj,
        names.SOURCE if source else names.DESTINATION,
        method,
        options,
        wanted,
        claim or None,
        spec.trigger or Trigger(),
        bool(spec.paused),
    )


FIELDS: Final = {
    Method.RESTIC: "restic",
    Method.RCLONE: "rclone",
    Method.RSYNC_TLS: "rsyncTLS",
    Method.RSYNC: "rsync",
}
"""Where in the spec each method is asked for."""


def _chosen(spec: ReplicationSourceSpec | ReplicationDestinationSpec) -> dict[str, Options]:
    found = {
        Method.RESTIC: spec.restic,
        Method.RCLONE: spec.rclone,
        Method.RSYNC_TLS: spec.rsync_tls,
        Method.RSYNC: spec.rsync,
    }
    return {method: options for method, options in found.items() if options is not None}


def _copy_method(options: SmallMover, *, source: bool) -> str | None:
    wanted = CopyMethod.DIRECT if options.copy_method == NONE else options.copy_method
    allowed = (CopyMethod.DIRECT, CopyMethod.SNAPSHOT, *((CopyMethod.CLONE,) if source else ()))
    return wanted if wanted in allowed else None


def _destination_claim(options: SmallMover) -> str | None:
    return options.destination_pvc if isinstance(options, SmallDestinationMover | DestinationMoverConfig) else None
