"""StorageProfiles: what claims of each StorageClass are best made like, where no CDI says it.

- `existence` gives each StorageClass a StorageProfile of its name, which goes with it.
- `decide` says what is known of a class, and what its users say wins; `kind` when it is looked at.
"""
