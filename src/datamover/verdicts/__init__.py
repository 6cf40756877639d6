"""Is the data of a hosted control plane's backup moved, and if not, what does it wait for? Pure: frozen facts in, a verdict out.

Its users are the plugin inside Velero, the watcher and `datamover hcp explain`. Nothing is stored: a restart of any of them changes no verdict.
"""
