"""Admission: what is added to a DataVolume while it is created. Nothing of the operator needs it, and the API server goes on without it."""
