"""Benchmarks: ratios in one run, as JSON and a short table. See bench/README.md."""
