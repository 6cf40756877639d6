"""The embedded world: an API store, its HTTP face, the controllers of a cluster, and a node."""
