"""Talking to a Kubernetes API server. Knows none of our kinds."""
