"""`datamover.a-cup-of.coffee/v1alpha1`: our own kinds."""
