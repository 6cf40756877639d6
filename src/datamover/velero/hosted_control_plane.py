"""The backup of a hosted control plane: Execute begins an operation, Progress answers whether its data is moved, Cancel ends its unfinished uploads.

Velero asks for progress when all items are processed, each time of a new process: the operation's id has all that such a process needs. A gRPC error of
Progress would end the operation as failed, and the backup with it. So only an id that is none of ours is one; whatever cannot be read is told in the
description, and looked at again.
"""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from datamover.api.hypershift import CONFIG_MAP, HostedControlPlane
from datamover.api.outside import Unusable
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import FINALIZING
from datamover.survey.control_plane import Look
from datamover.velero import blocking
from datamover.velero.actions import ActionError, Call, Executed, Progress
from datamover.velero.cluster import Cluster, Target, UnreadableError
from datamover.velero.deferred import NAME
from datamover.velero.items import Item, fits, read, reader
from datamover.velero.logs import Log
from datamover.verdicts import platform
from datamover.verdicts.configuration import Configuration, ConfigurationError
from datamover.verdicts.limits import later, operation_timeout
from datamover.verdicts.operation import Operation, decode
from datamover.verdicts.selection import select, to_cancel
from datamover.verdicts.validate import NO_NAMESPACE, validate_data_mover
from datamover.verdicts.verdict import ClusterSnapshot, Kind, State, Unread, Verdict
from kubekit.words.text import clean

_KIND = "HostedControlPlane"
_VALIDATING = "error validating DataMover: "
_LATER = "It is looked at again"
_TRACE = 900

_read_item = reader(Item)
_read_control_plane = reader(HostedControlPlane)
_read_backup = reader(Backup)


def _now() -> datetime:
    return datetime.now(UTC)


class BackUpHostedControlPlane:
    """What `Deferred` loads."""

    def __init__(self, cluster: Cluster, log: Log, *, namespace: str, now: Callable[[], datetime] = _now) -> None:
        """`namespace` is Velero's own, where a backup does not say it."""
        self._cluster = cluster
        self._log = log
        self._namespace = namespace
        self._now = now

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        """Return the item unchanged, and the id of an operation. None is begun where Velero would refuse it, or the item is no control plane.

        Raises ActionError for a platform without a rule and for a configuration that cannot be used (document).
        """
        kind = fits(_read_item, item, "item")
        if kind is None or kind.kind != _KIND:
            return Executed(item=item)
        hcp = read(_read_control_plane, item, "HostedControlPlane")
        found = read(_read_backup, backup, "backup")
        if found.phase in FINALIZING:
            return Executed(item=item)
        namespace = hcp.metadata.namespace
        if not namespace:
            raise ActionError(_VALIDATING + NO_NAMESPACE)
        if platform.rule_of(hcp.platform) is None and not found.copies_from_pods:
            raise ActionError(_VALIDATING + platform.unsupported(hcp.platform))
        configuration = self._configuration(self._velero(found), **_named(found, hcp))
        if configuration.blocking:
            self._wait(hcp, found, configuration, call)
        operation = Operation(
            backup_uid=found.metadata.uid,
            namespace=namespace,
            name=hcp.metadata.name,
            started=self._now(),
            configuration=configuration,
        )
        try:
            identity = operation.encode()
        except ValueError as error:
            raise ActionError(
                f"{_VALIDATING}the backup or the HostedControlPlane has no usable name: {error}"
            ) from None
        self._log.info(
            "The data of a hosted control plane is looked after", platform=hcp.platform, **_named(found, hcp)
        )
        return Executed(item=item, operation=identity)

    def progress(self, operation: str, backup: bytes, _call: Call, /) -> Progress:
        """Return the verdict of now. Raises ActionError for an id that is none of ours, or of another backup."""
        begun, found = self._operation(operation, backup)
        try:
            return self._progress(begun, found)
        except Exception as error:  # noqa: BLE001 - an error would end the operation as failed, and say of good data that they are not moved
            self._log.warning(f"fault in {NAME}: {error!r}", trace=traceback.format_exc()[-_TRACE:])
            # the error's text stays in the log: nobody knows what is in it (law L8)
            sentence = f"this plugin has failed by a fault of its own: {type(error).__name__}"
            return self._unknown(begun, found, sentence, passing=True)

    def _progress(self, begun: Operation, found: Backup) -> Progress:
        try:
            hcp = self._cluster.control_plane(begun.namespace, begun.name)
            if hcp is None:
                return self._gone(begun)
            looked = self._cluster.look(found, velero=self._velero(found), namespace=begun.namespace)
        except UnreadableError as error:
            return self._unknown(begun, found, f"the cluster cannot be read: {error}", passing=error.passing)
        verdict = self._verdict(hcp, found, looked.seen, begun.configuration)
        # each look is a process of its own that knows nothing of the last: told aloud when it is over
        for warning in verdict.warnings:
            self._log.write("warn" if verdict.over else "debug", warning, **_named(found, hcp))
        # a platform that has changed since the beginning is no failure of the data that is moved
        if verdict.state in (State.UNKNOWN, State.UNSUPPORTED):
            return self._unknown(begun, found, verdict.description, passing=looked.passing)
        self._tell(verdict, **_named(found, hcp))
        return Progress(
            completed=verdict.over,
            error=verdict.item_error if verdict.over else "",
            done=verdict.completed,
            total=verdict.total,
            units=verdict.units,
            description=verdict.description,
            started=verdict.started or begun.started,
            updated=verdict.updated or begun.started,
        )

    def cancel(self, operation: str, backup: bytes, _call: Call, /) -> None:
        """Set `spec.cancel` on the unfinished uploads of this backup and control plane. Raises ActionError where that fails."""
        begun, found = self._operation(operation, backup)
        try:
            looked = self._cluster.look(found, velero=self._velero(found), namespace=begun.namespace)
            targets = self._unfinished(found, looked, begun.namespace)
            failures = self._cluster.cancel(targets)
        except UnreadableError as error:
            raise ActionError(f"the uploads of {begun.namespace} cannot be cancelled: {error}") from None
        self._log.info(
            "Uploads of a hosted control plane are cancelled",
            backup=found.metadata.name,
            namespace=begun.namespace,
            uploads=", ".join(target.name for target in targets) or "none is unfinished",
        )
        # what could not be read may hold an upload that goes on
        failures = (*failures, *(f"{each.kind} cannot be read: {each.reason}" for each in _decisive(looked.seen)))
        if failures:
            raise ActionError(f"{len(failures)} of the uploads of {begun.namespace} go on: {'; '.join(failures)}")

    def _unfinished(self, backup: Backup, looked: Look, namespace: str) -> tuple[Target, ...]:
        mine = select(backup, namespace=namespace, seen=looked.seen)
        return tuple(
            Target(
                each.resource, each.metadata.namespace or self._velero(backup), each.metadata.name, each.metadata.uid
            )
            for each in to_cancel(mine)
        )

    def _operation(self, text: str, backup: bytes) -> tuple[Operation, Backup]:
        try:
            begun = decode(text)
        except Unusable as error:
            raise ActionError(f"the operation “{clean(text, limit=100)}” cannot be read: {error}") from None
        found = read(_read_backup, backup, "backup")
        if begun.backup_uid != found.metadata.uid:
            raise ActionError(f"the operation is of another backup than {clean(found.metadata.name, limit=253)}")
        return begun, found

    def _configuration(self, velero: str, /, **fields: object) -> Configuration:
        """Return what the ConfigMap in the namespace `velero` says. Raises ActionError for a value that cannot be used, which the user has to know."""
        try:
            configuration = Configuration.read(self._cluster.configuration(velero))
        except ConfigurationError as error:
            raise ActionError(f"{_VALIDATING}{error} (ConfigMap {velero}/{CONFIG_MAP})") from None
        except UnreadableError as error:
            self._log.warning(f"ConfigMap {velero}/{CONFIG_MAP} cannot be read, so defaults hold: {error}", **fields)
            return Configuration()
        for warning in configuration.warnings:
            self._log.warning(f"ConfigMap {velero}/{CONFIG_MAP}: {warning}", **fields)
        return configuration

    def _wait(self, hcp: HostedControlPlane, backup: Backup, configuration: Configuration, call: Call) -> None:
        """Wait until what has been begun is moved. Raises ActionError when that fails, or was not in time (document)."""
        collected = blocking.as_collected(backup)
        namespace = hcp.metadata.namespace or ""

        def look() -> Verdict:
            try:
                looked = self._cluster.look(backup, velero=self._velero(backup), namespace=namespace)
            except UnreadableError as error:
                self._log.warning(f"the cluster cannot be read: {error}", **_named(backup, hcp))
                return Verdict(state=State.WAITING if error.passing else State.UNKNOWN, platform=hcp.platform)
            return self._verdict(hcp, collected, looked.seen, configuration)

        verdict = blocking.wait(look, configuration=configuration, call=call, now=self._now)
        self._tell(verdict, **_named(backup, hcp))
        if verdict.item_error:
            raise ActionError(verdict.item_error)

    def _verdict(
        self, hcp: HostedControlPlane, backup: Backup, seen: ClusterSnapshot, configuration: Configuration
    ) -> Verdict:
        return validate_data_mover(hcp=hcp, backup=backup, seen=seen, configuration=configuration, now=self._now())

    def _gone(self, begun: Operation) -> Progress:
        """Nobody can say any more what its platform asks for; Velero itself follows each upload."""
        sentence = (
            f"HostedControlPlane {begun.namespace}/{begun.name} is gone, so its backup is not looked after any longer"
        )
        self._log.warning(sentence)
        return Progress(completed=True, description=sentence, started=begun.started, updated=begun.started)

    def _unknown(self, begun: Operation, backup: Backup, sentence: str, *, passing: bool) -> Progress:
        """What cannot be read fails no backup: it is looked at again for half of the time that Velero gives an operation, then it is left to Velero.

        At the end of that time Velero itself would call the operation failed, and the backup with it.
        """
        end = later(begun.started, operation_timeout(backup) / 2)
        waiting = passing and (end is None or self._now() < end)
        said = sentence if not waiting else f"{sentence}. {_LATER}"
        self._log.warning(f"It is not known whether the data is moved: {sentence}", namespace=begun.namespace)
        return Progress(completed=not waiting, description=said, started=begun.started, updated=begun.started)

    def _tell(self, verdict: Verdict, **fields: object) -> None:
        """Log the document's lines, and none as an error: Velero counts those in a backup's log as errors of the backup, and logs the one that there is itself."""
        level = "debug" if verdict.state is State.WAITING else "info"
        for line in verdict.log:
            self._log.write(level, line, platform=verdict.platform, **fields)

    def _velero(self, backup: Backup) -> str:
        return backup.metadata.namespace or self._namespace


def _decisive(seen: ClusterSnapshot) -> list[Unread]:
    return [each for each in seen.unread if each.kind in (Kind.UPLOAD, Kind.POD_VOLUME_BACKUP)]


def _named(backup: Backup, hcp: HostedControlPlane) -> dict[str, object]:
    return {
        "backup": backup.metadata.name,
        "namespace": hcp.metadata.namespace or "",
        "hostedControlPlane": hcp.metadata.name,
    }
