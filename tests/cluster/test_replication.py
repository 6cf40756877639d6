"""ReplicationSource and ReplicationDestination in a real cluster: from a volume to a store or another namespace, and back into a volume.

Few scenarios with many checks each: most of the time is waiting for Pods and volumes.
"""

from collections.abc import Collection
from typing import Any

from datamover.api import reasons
from datamover.api.volsync.names import DO_NOT_DELETE_LABEL
from support.cookbook import demand_documented
from support.leftovers import demand_no_children
from support.place import Place
from support.replicas import (
    DESTINATION,
    NEW_VOLUME,
    SOURCE,
    allow_privileged,
    claim_from,
    create,
    create_authority,
    create_claim,
    create_secret,
    demand_no_temporaries,
    get,
    published,
    rclone_secret,
    remove_all,
    restic_secret,
    trigger,
    wait_condition,
    wait_synchronized,
)
from support.trees import IDENTITY, Tree, demand_same, read_tree, write_tree

RESTIC_LEAVES = ("acl", "default", "sparse")
"""What the contract of restic's mover leaves: ACLs."""
RCLONE_LEAVES = ("together", "sparse", "mark")
"""What a store of objects does not keep: that files are one, holes, attributes."""


def fetch(place: Place, name: str, manual: str, *, root: bool = False, new: bool = True) -> Tree:
    """Let a destination take the next image, make a claim of it, and return what is in there."""
    if not new:
        trigger(place, DESTINATION, name, manual)
    found = wait_synchronized(place, DESTINATION, name, manual)
    image = found["status"]["latestImage"]
    assert image["kind"] == "VolumeSnapshot"
    claim = f"restored-{manual}-{name[:20]}"
    claim_from(place, claim, name)
    return read_tree(place, claim, root=root)


def two_rounds(
    place: Place,
    method: str,
    *,
    source: dict[str, Any],
    destination: dict[str, Any],
    but: Collection[str],
    root: bool = False,
    name: str = "app",
    patterns: tuple[str, ...] = (),
) -> tuple[Tree, str]:
    """A volume is copied and restored, then changed, copied and restored again, into the same destination.

    Return what it was at first, and when that was copied. What root has restored first is kept by a label, which users take off.
    """
    create_claim(place, "app-data")
    tree = write_tree(place, "app-data", root=root)
    create(place, SOURCE, name, method, source="app-data", manual="one", **source)
    found = wait_synchronized(place, SOURCE, name, "one")
    logs = found["status"]["latestMoverStatus"]["logs"]
    assert all(pattern in logs for pattern in patterns), logs
    create(place, DESTINATION, name, method, manual="one", **destination)
    demand_same(tree, fetch(place, name, "one", root=root), but=but)
    image = get(place, DESTINATION, name)["status"]["latestImage"]["name"]
    if root:
        place.run("label", "volumesnapshot", image, f"{DO_NOT_DELETE_LABEL}=")
    changed = write_tree(place, "app-data", change=True, root=root)
    trigger(place, SOURCE, name, "two")
    wait_synchronized(place, SOURCE, name, "two")
    demand_same(changed, fetch(place, name, "two", root=root, new=False), but=but)
    demand_no_temporaries(place)
    kept = place.kubectl.get("volumesnapshot", image, "-n", place.namespace)
    assert bool(kept) == root
    if kept:
        assert not kept["metadata"].get("ownerReferences")
        place.run("delete", "volumesnapshot", image, "--wait=true")
    return tree, found["status"]["lastSyncTime"]


def test_restic_with_a_store_behind_tls_in_a_namespace_for_privileged_movers(place: Place) -> None:
    """The authority of the store is in a ConfigMap; the copy is a snapshot; root's and others' files keep their owners.

    Older snapshots are restored by their number and by a moment, and from a bucket that is not there yet nothing is.
    """
    with place.beside("root", restricted=False) as other:
        allow_privileged(other)
        create_secret(other, "repository", restic_secret(place, "restic"))
        create_secret(other, "nowhere", restic_secret(place, "restic", bucket=place.bucket_of("new")))
        common = {"repository": "repository", "customCA": create_authority(other)}
        tree, moment = two_rounds(
            other,
            "restic",
            source={**common, "copyMethod": "Snapshot", "retain": {"last": "5"}},
            destination={**common, **NEW_VOLUME, "copyMethod": "Snapshot", "enableFileDeletion": True},
            but=RESTIC_LEAVES,
            root=True,
            patterns=("created restic repository", "Restic completed in"),
        )
        choices = {"previous": {"previous": 1}, "moment": {"restoreAsOf": moment}, "nothing": {"repository": "nowhere"}}
        for name, choice in choices.items():
            spec = {**common, **NEW_VOLUME, "copyMethod": "Snapshot", **choice}
            create(other, DESTINATION, name, "restic", manual="one", **spec)
        for name in ("previous", "moment"):
            demand_same(tree, fetch(other, name, "one", root=True), but=RESTIC_LEAVES)
        found = wait_synchronized(other, DESTINATION, "nothing", "one")
        assert "No data will be restored" in found["status"]["latestMoverStatus"]["logs"]
        assert place.store.rclone("lsf", f"s3:{place.bucket_of('new')}/restic/config"), "the repository was not made"
        remove_all(other)
        demand_no_children(other)


def test_restic_with_a_repository_on_a_claim_and_long_names_in_a_restricted_namespace(place: Place) -> None:
    """No store at all: the repository is on a further volume of the movers. Names are of 200 and of 63 characters."""
    create_claim(place, "backups")
    create_secret(place, "repository", {"RESTIC_REPOSITORY": "/mnt/backups/repository", "RESTIC_PASSWORD": "of-no-use"})
    volumes = [{"mountPath": "backups", "volumeSource": {"persistentVolumeClaim": {"claimName": "backups"}}}]
    common = {"repository": "repository", "moverVolumes": volumes, "moverSecurityContext": IDENTITY}
    two_rounds(
        place,
        "restic",
        source={**common, "copyMethod": "Clone"},
        destination={**common, **NEW_VOLUME, "copyMethod": "Snapshot", "enableFileDeletion": True},
        but=RESTIC_LEAVES,
        name="long-" + "n" * 195,
    )
    create(place, SOURCE, "s" * 63, "restic", source="app-data", manual="one", **common, copyMethod="Clone")
    wait_synchronized(place, SOURCE, "s" * 63, "one")


def rclone_rounds(place: Place, **common: Any) -> None:
    """Two rounds with rclone; the links go along, as the Secret asks for."""
    create_secret(place, "rclone", rclone_secret(place))
    common |= {
        "rcloneConfig": "rclone",
        "rcloneConfigSection": "store",
        "rcloneDestPath": f"{place.bucket}/mirror",
        "customCA": create_authority(place),
    }
    root = "moverSecurityContext" not in common
    two_rounds(
        place,
        "rclone",
        source={**common, "copyMethod": "Snapshot" if root else "Clone"},
        destination={**common, **NEW_VOLUME, "copyMethod": "Snapshot"},
        but=RCLONE_LEAVES,
        root=root,
        patterns=("Transferred:", "Rclone completed in"),
    )


def test_rclone_with_a_store_behind_tls_in_a_namespace_for_privileged_movers(place: Place) -> None:
    with place.beside("root", restricted=False) as other:
        allow_privileged(other)
        rclone_rounds(other)
        remove_all(other)
        demand_no_children(other)


def test_rclone_with_a_store_behind_tls_in_a_restricted_namespace(place: Place) -> None:
    rclone_rounds(place, moverSecurityContext=IDENTITY)


def test_movers_for_which_nobody_chooses_anything_are_root_without_capabilities(place: Place) -> None:
    """In a namespace without a Pod Security profile and without privileged movers: root's files go, and keep their owner and modes.

    The exception is whoever receives through TLS: rsync's daemon cannot serve as such a root, so it is nobody. The authority of the store is
    in a Secret. A share that the node cannot mount is told.
    """
    with place.beside("plain", restricted=False) as plain:
        create_secret(plain, "rclone", rclone_secret(place))
        create_secret(plain, "repository", restic_secret(place, "restic"))
        authority = create_authority(plain, secret=True)
        specs: dict[str, dict[str, Any]] = {
            "restic": {"repository": "repository", "customCA": authority},
            "rclone": {
                "rcloneConfig": "rclone",
                "rcloneConfigSection": "store",
                "rcloneDestPath": f"{place.bucket}/mirror",
                "customCA": authority,
            },
        }
        create_claim(plain, "app-data")
        tree = write_tree(plain, "app-data", root=True, owners=False)
        for method, spec in specs.items():
            create(plain, SOURCE, method, method, source="app-data", manual="one", copyMethod="Clone", **spec)
        receiving: dict[str, Any] = {**NEW_VOLUME, "copyMethod": "Snapshot"}
        create(plain, DESTINATION, "tls", "rsyncTLS", manual="one", **receiving)
        where = published(plain, "tls", "rsyncTLS", "address", "keySecret")
        sending: dict[str, Any] = {**where, "copyMethod": "Clone"}
        create(plain, SOURCE, "tls", "rsyncTLS", source="app-data", manual="one", **sending)
        for method, spec in specs.items():
            wait_synchronized(plain, SOURCE, method, "one")
            create(plain, DESTINATION, method, method, manual="one", **spec, **receiving)
        # Nobody serves it at this address: nodes without NFS in their kernel, and those with it, say so in their own words.
        share = {"nfs": {"server": "127.0.0.1", "path": "/exports/share", "readOnly": True}}
        spec = {**specs["restic"], "moverVolumes": [{"mountPath": "share", "volumeSource": share}]}
        create(plain, SOURCE, "share", "restic", source="app-data", manual="one", copyMethod="Clone", **spec)
        leaves = {"restic": RESTIC_LEAVES, "rclone": RCLONE_LEAVES, "tls": ("mark", "owner")}
        for name, but in leaves.items():
            demand_same(tree, fetch(plain, name, "one", root=True), but=but)
        told = wait_condition(plain, SOURCE, "share", "Ready", reasons.MOVER_CANNOT_START)
        assert "FailedMount" in told
        assert "u-share" in told
        demand_documented(reasons.MOVER_CANNOT_START, told)
        remove_all(plain)
        demand_no_children(plain)
