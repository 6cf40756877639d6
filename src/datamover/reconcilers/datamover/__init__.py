"""The DataMover reconciler: clone, sync, verify, clean up."""
