"""The document's stages, each a reading of its objects: VolumeSnapshotContents, VolumeSnapshots, DataUploads, PodVolumeBackups. Pure.

A stage has *started* when something of it is there, and is *finished* when all of it is done and there is enough of it. How much is enough is known once
Velero has processed all items: then it is what is there. Before that it is at least one claim for each member of etcd.

An upload, where there is one, is the authority over the snapshot that it moves: Velero removes that one from the namespace once the upload is accepted.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from datamover.api.hypershift import HostedControlPlane
from datamover.api.velero.backup import Backup
from datamover.verdicts.claims import Claims, is_image, minimum_of
from datamover.verdicts.filters import is_left_out
from datamover.verdicts.limits import Limits
from datamover.verdicts.platform import Rule
from datamover.verdicts.pods import Movers
from datamover.verdicts.readings import (
    Reading,
    read_content,
    read_missing_upload,
    read_pod_volume_backup,
    read_snapshot,
    read_upload,
)
from datamover.verdicts.selection import Selection, snapshot_of
from datamover.verdicts.verdict import ClusterSnapshot, Kind, Wait
from kubekit.words.snapshot import VolumeSnapshot


@dataclass(frozen=True, kw_only=True)
class Look:
    """All that a stage looks at: one backup of one control plane, and what of the cluster belongs to it."""

    hcp: HostedControlPlane
    backup: Backup
    rule: Rule | None
    selection: Selection
    seen: ClusterSnapshot
    limits: Limits

    @cached_property
    def claims(self) -> Claims:
        """The claims of the control plane's namespace."""
        return Claims(self.seen.claims, self.hcp.metadata.namespace or "")

    @cached_property
    def unread(self) -> frozenset[str]:
        """The kinds that could not be read."""
        return frozenset(each.kind for each in self.seen.unread)

    @cached_property
    def asked(self) -> bool:
        """Whether the backup asks that snapshots be moved, whatever its platform requires."""
        return self.backup.spec is not None and self.backup.spec.snapshot_move_data is True

    @cached_property
    def blind(self) -> bool:
        """Whether uploads are asked for and cannot be read: then a snapshot may have one, which has the last word on it."""
        return self.asked and Kind.UPLOAD in self.unread

    @cached_property
    def minimum(self) -> int:
        """How many claims there have to be at least, as long as more may come."""
        return minimum_of(self.hcp)

    @cached_property
    def movers(self) -> Movers:
        """The movers' Pods."""
        return Movers(self.seen.pods)

    @cached_property
    def images(self) -> frozenset[str]:
        """The claims that hold images of operating systems, by their own label or by that of their snapshot, to which Velero copies it.

        Nobody restores them. Velero may take and move them all the same, for it does so before it asks whether the claim is backed up.
        """
        labelled = {
            each.metadata.name: self.claims.of_snapshot(each)
            for each in self.selection.snapshots
            if is_image(each.metadata)
        }
        # whoever may make a snapshot can give it any label: a claim that is seen says itself what it is, and one that is not seen is an image if nothing
        # that is left of it says otherwise
        others = {self.claims.of_snapshot(each) for each in self.selection.snapshots if not is_image(each.metadata)}
        others |= {self.claims.of_upload(each) for each in self.selection.uploads if snapshot_of(each) not in labelled}
        return self.claims.images | (set(labelled.values()) - others - self.claims.all.keys())

    @cached_property
    def uploads(self) -> tuple[Reading, ...]:
        """The uploads, read; but those of images."""
        keys = ((each, self.claims.of_upload(each)) for each in self.selection.uploads)
        return tuple(
            read_upload(each, key=key, backup=self.backup.metadata.name, limits=self.limits, movers=self.movers)
            for each, key in keys
            if key not in self.images
        )

    @cached_property
    def pod_volume_backups(self) -> tuple[Reading, ...]:
        """The pod volume backups, read; but those of images."""
        keys = ((each, self.claims.of_pod_volume_backup(each)) for each in self.selection.pod_volume_backups)
        return tuple(
            read_pod_volume_backup(
                each, key=key, backup=self.backup.metadata.name, limits=self.limits, movers=self.movers
            )
            for each, key in keys
            if key not in self.images
        )

    @cached_property
    def moved_images(self) -> frozenset[str]:
        """The images that are moved all the same."""
        keys = (
            *map(self.claims.of_upload, self.selection.uploads),
            *map(self.claims.of_pod_volume_backup, self.selection.pod_volume_backups),
        )
        return self.images.intersection(keys)

    @cached_property
    def loose(self) -> tuple[VolumeSnapshot, ...]:
        """The snapshots that no upload moves; but those of images."""
        taken = set(map(snapshot_of, self.selection.uploads))
        done = {each.key for each in self.uploads} | self.images | self.strangers
        return tuple(
            each
            for each in self.selection.snapshots
            if each.metadata.name not in taken and self.claims.of_snapshot(each) not in done
        )

    @cached_property
    def strangers(self) -> frozenset[str]:
        """Claims of which somebody else has made a snapshot with the label of this backup: those that it does not take in, or that there are not.

        Velero makes the upload of a snapshot in the same step, or has an error. A namespace of which no claim is seen says nothing.
        """
        collected = self.limits.collected and not self.backup.had_errors
        if not (collected and self.asked and self.claims.all) or Kind.UPLOAD in self.unread:
            return frozenset()
        claims = {self.claims.of_snapshot(each) for each in self.selection.snapshots}
        claims -= set(map(self.claims.of_upload, self.selection.uploads)) | self.images
        return frozenset(
            each for each in claims if each not in self.claims.all or is_left_out(self.backup, self.claims.all[each])
        )

    @cached_property
    def contents(self) -> tuple[Reading, ...]:
        """The driver's side of the snapshots that no upload moves, read. Where it cannot be read the snapshots alone tell."""
        if Kind.CONTENT in self.unread:
            return ()
        return tuple(
            read_content(
                self.selection.contents.get(each.metadata.name),
                of=each,
                key=self.claims.of_snapshot(each),
                backup=self.backup.metadata.name,
                limits=self.limits,
            )
            for each in self.loose
        )

    @cached_property
    def snapshots(self) -> tuple[Reading, ...]:
        """The snapshots that no upload moves, read."""
        return tuple(
            read_snapshot(each, key=self.claims.of_snapshot(each), backup=self.backup.metadata.name, limits=self.limits)
            for each in self.loose
        )

    @cached_property
    def missing(self) -> tuple[Reading, ...]:
        """The snapshots that were to be moved and have no upload, once none is made any more."""
        required = self.rule is not None and self.rule.du_required
        if not (required and self.asked and self.limits.collected) or Kind.UPLOAD in self.unread:
            return ()
        return tuple(
            read_missing_upload(
                each, key=self.claims.of_snapshot(each), backup=self.backup.metadata.name, limits=self.limits
            )
            for each in self.loose
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """How far a stage is, and the first thing in it that failed."""

    started: bool = False
    finished: bool = False
    error: str = ""
    timed_out: bool = False
    waits: tuple[Wait, ...] = ()


def reconcile_volume_snapshot_content(look: Look) -> Stage:
    """Return how far the VolumeSnapshotContents are."""
    if Kind.CONTENT in look.unread:
        snapshots = reconcile_volume_snapshots(look)
        return Stage(started=snapshots.started, finished=snapshots.finished)
    return _stage(look, look.contents, moved=look.uploads)


def reconcile_volume_snapshots(look: Look) -> Stage:
    """Return how far the VolumeSnapshots are."""
    return _stage(look, look.snapshots, moved=look.uploads)


def reconcile_data_upload(look: Look) -> Stage:
    """Return how far the DataUploads are. Where none is asked for there is nothing to wait for."""
    if look.uploads or look.missing:
        return replace(_stage(look, (*look.uploads, *look.missing)), started=bool(look.uploads))
    if not look.asked:
        return Stage(finished=True)
    required = look.rule is not None and look.rule.du_required
    return Stage(finished=look.limits.collected and not required and not look.selection.empty)


def check_pod_volume_backups(look: Look) -> Stage:
    """Return how far the PodVolumeBackups are: of whichever volume, for each is a part of the backup."""
    return _stage(look, look.pod_volume_backups)


def _stage(look: Look, readings: Iterable[Reading], *, moved: Iterable[Reading] = ()) -> Stage:
    """Return how far a stage is; the claims of `moved` have it behind them."""
    found = tuple(readings)
    keys = {each.key for each in found} | {each.key for each in moved}
    if look.blind:
        found = tuple(replace(each, error="", timed_out=False) if each.is_snapshot else each for each in found)
    failed = next((each for each in found if each.error), None)
    enough = look.limits.collected or len(keys) >= look.minimum
    return Stage(
        started=bool(keys),
        finished=bool(keys) and enough and all(each.done for each in found),
        error=failed.error if failed is not None else "",
        timed_out=failed.timed_out if failed is not None else False,
        waits=tuple(each.wait for each in sorted(found, key=lambda each: not each.error) if not each.done),
    )
