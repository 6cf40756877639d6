"""The words of group volsync.backube: ReplicationSource and ReplicationDestination, as their users have them. No I/O."""
