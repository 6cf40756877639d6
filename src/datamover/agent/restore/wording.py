"""Sentences that name the options of a command, with the fields of a DataMoverRestore in their place. Pure.

What goes wrong is told by the same functions for both. Whole phrases are replaced and never an option alone, because names of files are quoted as well.
"""

_PHRASES = (
    ("the same command", "the same restore"),
    ("The same command", "The same restore"),
    ("or say --overwrite", "or set overwrite: true"),
    ("Say which with --source NAMESPACE/PVC", "Say which in source.bucket.source (NAMESPACE/PVC)"),
    ("by its id, or with --disturbed:", "by its id, or set disturbed: true:"),
    ("the prefix of one backup (--prefix)", "the prefix of one backup (source.bucket.prefix)"),
    ("Look at the bucket's name and at --prefix", "Look at the bucket's name and its prefix"),
    ("restore a part (--path)", "restore a part (path)"),
    ("(--privileges sets them)", "(privileges: true sets them)"),
    ("(--special makes them)", "(special: true makes them)"),
)


def name_fields(sentence: str) -> str:
    """Return what a command would say as a DataMoverRestore's mover says it."""
    for command, field in _PHRASES:
        sentence = sentence.replace(command, field)
    return sentence
