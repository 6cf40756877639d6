"""The words of group velero.io, as far as a verdict on a backup needs them: narrow structs, phases, labels. No I/O."""
