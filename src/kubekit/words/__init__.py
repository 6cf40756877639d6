"""Kubernetes' own kinds as narrow frozen structs: each has the fields that controllers read. No I/O."""
