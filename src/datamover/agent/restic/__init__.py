"""The restic mover: backup, forget, prune, unlock and restore, with one restic command after the other."""
