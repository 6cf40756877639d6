"""The reconcilers of ReplicationSource and ReplicationDestination: synchronise when it is due, by one of four movers."""
