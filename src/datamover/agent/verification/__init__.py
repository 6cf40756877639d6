"""Comparing any point of a bucket with its own manifest, method by method. Reads, never writes."""
