"""rsync through TLS and over ssh in a real cluster: from one namespace into another, and what a restricted namespace refuses."""

import base64
from typing import Any

from datamover.api import reasons
from support.cluster import condition, wait_for
from support.cookbook import demand_documented
from support.devices import DISK, read_device, write_device
from support.leftovers import demand_no_children
from support.place import Place
from support.replicas import (
    DESTINATION,
    NEW_VOLUME,
    SOURCE,
    allow_privileged,
    claim_from,
    create,
    create_claim,
    demand_no_temporaries,
    get,
    published,
    remove_all,
    trigger,
    wait_synchronized,
)
from support.trees import IDENTITY, Tree, demand_same, read_tree, write_tree

RSYNC_LEAVES = ("mark",)
"""Extended attributes do not go along."""


def bring_secret(name: str, *, of: Place, to: Place) -> list[str]:
    """Copy a Secret into another namespace, as users do, and return the private keys in it."""
    found = of.kubectl.get("secret", name, "-n", of.namespace)
    to.kubectl.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": found["data"]},
        namespace=to.namespace,
    )
    return [value for key, value in found["data"].items() if not key.endswith(".pub")]


def demand_not_told(private: list[str], *places: Place) -> None:
    """Demand that nothing of a private key (in base64, as the Secret has it) is in an object, event or log (law L8)."""
    parts: set[str] = set()
    for each in (base64.b64decode(value).decode() for value in private):
        parts |= {line[-60:] for line in each.splitlines() if len(line) > 60}
    assert parts
    for place in places:
        objects = place.run("get", "pods,jobs,events,replicationsources,replicationdestinations", "-o", "json")
        told = {"the objects": objects, **place.mover_logs()}
        assert not [name for name, text in told.items() if any(part in text for part in parts)]


def restored(place: Place, claim: str, name: str, *, root: bool) -> Tree:
    """Make a claim of the last image, and return what is in there."""
    claim_from(place, claim, name)
    return read_tree(place, claim, root=root)


def wait_image(place: Place, name: str, *, before: str) -> str:
    """Wait until a destination has another image than `before`, and return its name."""

    def image() -> str:
        return get(place, DESTINATION, name).get("status", {}).get("latestImage", {}).get("name", "")

    wait_for(lambda: image() not in {"", before}, what=place.explain)
    return image()


def move_twice(
    source: Place, destination: Place, method: str, *, key: str, name: str, many: int = 0, **common: Any
) -> None:
    """The destination waits for the source; both take part in two rounds, the second with changes and deletions.

    The first is by a schedule for New Year: whoever has one is synchronised when it is made, too.
    """
    root = method == "rsync" or not common
    create_claim(source, "app-data")
    tree = write_tree(source, "app-data", root=root, many=many)
    receiving = {**NEW_VOLUME, **common, "copyMethod": "Snapshot"}
    create(destination, DESTINATION, name, method, manual="one", **receiving)
    where = published(destination, name, method, "address", key)
    private = bring_secret(where[key], of=destination, to=source)
    option = "sshKeys" if method == "rsync" else "keySecret"
    method_of_copy = "Snapshot" if root else "Clone"
    spec: dict[str, Any] = {"address": where["address"], option: where[key], "copyMethod": method_of_copy, **common}
    create(source, SOURCE, name, method, source="app-data", trigger={"schedule": "0 0 1 1 *"}, **spec)
    wait_for(lambda: "lastSyncTime" in get(source, SOURCE, name).get("status", {}), seconds=150, what=source.explain)
    found = get(source, SOURCE, name)
    assert found["status"]["nextSyncTime"].endswith("-01-01T00:00:00Z")
    assert found["status"]["latestMoverStatus"]["result"] == "Successful"
    assert "sync completed in" in found["status"]["latestMoverStatus"]["logs"]
    assert "sent" in found["status"]["latestMoverStatus"]["logs"]
    wait_synchronized(destination, DESTINATION, name, "one")
    demand_same(tree, restored(destination, "restored-one", name, root=root), but=RSYNC_LEAVES)
    changed = write_tree(source, "app-data", change=True, root=root)
    trigger(destination, DESTINATION, name, "two")
    trigger(source, SOURCE, name, "two")
    wait_synchronized(source, SOURCE, name, "two")
    wait_synchronized(destination, DESTINATION, name, "two")
    demand_same(changed, restored(destination, "restored-two", name, root=root), but=RSYNC_LEAVES)
    for each in (source, destination):
        demand_no_temporaries(each)
    demand_not_told(private, source, destination)


def test_rsync_through_tls_between_namespaces_for_privileged_movers(place: Place) -> None:
    with place.beside("from", restricted=False) as source, place.beside("to", restricted=False) as destination:
        allow_privileged(source)
        allow_privileged(destination)
        move_twice(source, destination, "rsyncTLS", key="keySecret", name="app")
        for each in (source, destination):
            remove_all(each)
            demand_no_children(each)


def test_rsync_through_tls_between_restricted_namespaces_with_many_files_and_long_names(place: Place) -> None:
    with place.beside("to") as destination:
        common = {"key": "keySecret", "name": "long-" + "n" * 195, "moverSecurityContext": IDENTITY}
        move_twice(place, destination, "rsyncTLS", many=21_000, **common)
        remove_all(destination)
        demand_no_children(destination)


def test_rsync_over_ssh_between_namespaces_and_its_refusal_in_a_restricted_one(place: Place) -> None:
    """Its mover is root, whatever the namespace allows: a restricted one does not admit it, and that is said."""
    create(place, DESTINATION, "refused", "rsync", manual="one", **{**NEW_VOLUME, "copyMethod": "Snapshot"})
    with place.beside("from", restricted=False) as source, place.beside("to", restricted=False) as destination:
        allow_privileged(source)
        allow_privileged(destination)
        move_twice(source, destination, "rsync", key="sshKeys", name="s" * 63)
        for each in (source, destination):
            remove_all(each)
            demand_no_children(each)
    wait_for(
        lambda: "restricted" in condition(get(place, DESTINATION, "refused"), "Ready").get("message", ""),
        what=place.explain,
    )
    ready = condition(get(place, DESTINATION, "refused"), "Ready")
    assert ready["reason"] == reasons.MOVER_CANNOT_START
    demand_documented(ready["reason"], ready["message"])
    assert condition(get(place, DESTINATION, "refused"), "Stalled")["status"] == "True"


def test_block_volumes_go_bit_for_bit_through_tls_and_over_ssh_between_namespaces(place: Place) -> None:
    """One device is sent by both at once, by a snapshot and by a clone; then it is changed, and sent again.

    The destinations have no trigger, as most have it: they listen again and again, and each time have another image.
    """
    with place.beside("from", restricted=False) as source, place.beside("to", restricted=False) as destination:
        allow_privileged(source)
        allow_privileged(destination)
        create_claim(source, "disk", size="48Mi", **DISK)
        told = write_device(source, "disk")
        assert told["size"] == 48 << 20
        for method, key, option, copy in (
            ("rsyncTLS", "keySecret", "keySecret", "Snapshot"),
            ("rsync", "sshKeys", "sshKeys", "Clone"),
        ):
            name = method.lower()
            receiving = {**DISK, "capacity": "48Mi", "copyMethod": "Snapshot"}
            create(destination, DESTINATION, name, method, **receiving)
            where = published(destination, name, method, "address", key)
            bring_secret(where[key], of=destination, to=source)
            spec = {"address": where["address"], option: where[key], "copyMethod": copy}
            create(source, SOURCE, name, method, source="disk", manual="one", **spec)
        images: dict[str, str] = {}
        for manual in ("one", "two"):
            for name in ("rsynctls", "rsync"):
                found = wait_synchronized(source, SOURCE, name, manual)
                assert "diskrsync completed in" in found["status"]["latestMoverStatus"]["logs"]
                images[name] = wait_image(destination, name, before=images.get(name, ""))
                claim_from(destination, f"{name}-{manual}", name, size="48Mi", **DISK)
                assert read_device(destination, f"{name}-{manual}") == told
            if manual == "one":
                told = write_device(source, "disk", change=True)
                for name in ("rsynctls", "rsync"):
                    trigger(source, SOURCE, name, "two")
        demand_no_temporaries(source)
        for each in (source, destination):
            remove_all(each)
            demand_no_children(each)
