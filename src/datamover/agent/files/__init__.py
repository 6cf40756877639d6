"""What a volume holds, as a manifest tells it, and bringing it back: knows no engine that runs."""
