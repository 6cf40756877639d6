"""ReplicationSource and ReplicationDestination (volsync.backube): what they ask of a run, what is decided, and what their status says."""
