"""Strategies: what the server does by itself with the objects of each built-in kind."""
