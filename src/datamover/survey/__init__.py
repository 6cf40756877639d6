"""Reading once what a verdict needs of a cluster, with the rights of whoever asks. Nothing is written; what cannot be read is named, and never taken for none.

Its users are the plugin inside Velero and `datamover hcp explain`. Who watches reads its caches instead.
"""
