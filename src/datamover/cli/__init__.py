"""The command line: the one place where rooms are put together."""
