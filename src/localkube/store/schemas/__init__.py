"""Schemas: what objects may hold, how lists merge, what is pruned and defaulted."""
