"""Backups and restores of the same trees by datamover, rclone with its defaults, restic, and one raw stream: seconds, processor and memory, in one run.

`cases` is the table of what is measured, `runner` measures it, `report` makes one table of it and `picture` one plot. Each case has a time limit; one
that fails says why, and the rest goes on. Nothing is left behind, however the run ends.
"""
