"""Kubernetes for operators written in Python: words, a client, a runtime. It knows no kind of anybody in particular."""
