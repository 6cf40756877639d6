"""The watcher of hosted control planes' backups: for each Backup of Velero the verdict over what the cluster has now.

Velero's objects are read and never written. What is known goes into one ConfigMap beside each Backup, which goes with it, and is what tells a restarted
operator what was told already; ends, failures and stalls are events of the Backup.

- `gather` what is read of the caches; `facts` what a decision may know.
- `record` what the ConfigMap says; `standing` what it ought to say now, stalls included.
- `decide` when it is written; `announcements` what is told beside it; `kind` when a Backup is looked at, and the metrics.
"""
