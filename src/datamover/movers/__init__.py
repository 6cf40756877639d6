"""Job builders for the engines, and the reading of their outcomes. Pure."""
