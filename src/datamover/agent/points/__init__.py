"""A bucket as restore points, for whoever reads one: commands, the mover that restores, re-verification. Reads, never writes."""
