"""The DataMoverRestore reconciler: prepare the claim, restore into it, clean up the Job."""
