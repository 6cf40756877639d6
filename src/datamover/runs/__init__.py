"""One run of a mover over a point-in-time copy, whichever kind asks for it. Pure.

A kind asks by an `Order`: whose it is, what is copied, what moves it, how far it is recorded to be. What is known is in `RunFacts`, the time
and how long is waited included. A verb answers with a `Verdict` (this is the case; do this; record and tell that), or with `Rest` (do this,
there is nothing to tell). The kind turns a verdict into its own status, in one place.

The flow of one run (`advance` finds the place in it from what is there):

 1. The kind finds nothing in the way (`preflight`) and records the run, with the names of all that it will make.
 2. The source is looked at again: it is bound, and the driver of its class copies volumes              `copy.take_copy`, `preflight`
 3. A copy trigger, when the order has one, says that the time has come; it is told when the copy is there `order.Gate`, `trigger`
 4. With snapshots: the VolumeSnapshot is made, and waited for                                          `copy.take_snapshot`
 5. The copy is made. It is waited for, but not where it binds on first use: the mover is what binds it `copy.take_copy`, `wait`
 6. The Job is recorded, then made, when no Pod of an earlier one is left                               `copy.start_mover`
 7. While it runs: what keeps it from starting, how far it is, that it stands still, a lost node        `job.follow`, `progress`, `removal`
 8. It ends: what its last words say, and that what it read was a copy of the source                    `ending`, `attempts`
 9. Failed: everything is kept. The same run again reads the same copy                                  `failure`, `again`
10. Moved: Job, copy and snapshot are deleted, and waited for until their volume is gone                `cleanup`, `retention`
11. Done, once the server says that nothing is left that the caches do not show                         `proof`
    Cancelled, anywhere before 10: the mover is stopped, all that was made goes, and the run is over    `cancel`
12. What comes late is collected                                                                        `cleanup.collect`

Guarantees. Nothing is created before it is recorded (law L6). Nothing is deleted but by owner UID and label (L2). Two movers of one run never
write at once: no Job is made while a Pod of another one may live (L7). A copy is never replaced by one of another moment once a mover may
have read it. "Done" means gone, not asked to go (L4). Deciding twice on the same facts asks for nothing twice, and the answer to facts
that are told already has no news (L9).

Assumptions. Steps are carried out in order, and the first that fails stops the rest. A status is refused when it was decided on an older one.
Caches may lag, but they never show what has not been. Timestamps of one object come from one clock.
"""
