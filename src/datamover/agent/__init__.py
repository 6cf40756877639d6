"""The process inside a mover container. Holds no API credentials."""
