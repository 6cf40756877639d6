"""DataImportCrons: a disk is imported again when its source has changed, the last few imports stay, and a DataSource follows the newest.

- `asking` reads what a DataImportCron says: its source, digest, schedule, and the names of what it makes.
- `facts` and `gather` hold its imports as they are seen. `decide` says what is next, `polling` when the source is looked at, `pruning` what goes.
- `status` writes what is said, `build` makes DataVolumes and DataSources.

Guarantees:
- an import is known by the digest of what is imported, and its name follows from that: what is there already is never imported again, and its claim
  counts when the DataVolume is gone (collected);
- one import is written at a time: what changes faster than it is imported is imported once in each time of the schedule at most, and comes to its end;
- what is imported is recorded before it is made (law L6);
- deleted is only what bears this DataImportCron's label and its UID. What has the label alone, of a CDI or from before, is marked first, and only
  when nobody else owns it. The newest import, what the DataSource names, and what somebody clones or mounts stay (law L2).
"""
