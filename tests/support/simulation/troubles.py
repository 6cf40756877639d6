"""What befalls an operator in a history, whatever its kind: kills, more replicas, and people who interfere."""
