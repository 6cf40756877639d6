"""Claims whose `dataSourceRef` names a ReplicationDestination are filled from its latest image.

The driver fills a temporary claim (`vs-prime-<uid>`, owned by the user's) from the snapshot; its volume is then handed over: the volume's
claimRef is changed to the user's claim, which the cluster binds, and the temporary claim is deleted. Nothing of it is written down anywhere but
in these objects.

- `decide` says what to do for a claim, `gather` what it knows, `kind` when it is looked at.
- `release` takes away the marks of snapshots in use whose claims are gone.
- `registration` says to the cluster that such claims are filled.

Guarantees:
- a volume is handed over when the driver has said that it is whole, once, to the claim with that UID, and never taken back;
- the image that was begun with is finished with: the temporary claim names it;
- the temporary claim goes only when the user's has the volume, or is not to get it any more;
- whoever is killed anywhere, the next one goes on from what is there; two at once do what one does;
- a deleted claim takes all of it along, by its owner reference, and has no finalizer of ours to hold it.
Assumptions: Kubernetes' binder, which binds a claim to the volume that names it; a driver that is a CSI driver.
"""
