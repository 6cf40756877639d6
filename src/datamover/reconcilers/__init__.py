"""One room per kind: gather, decide, act, report."""
