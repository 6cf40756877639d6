"""CDI and CDIConfig where no CDI is: the CDI object is configuration and nothing else, and goes into the CDIConfig named `config`.

- `objects` are both as they are stored, with every field that their users write.
- `existence` makes `config` where it is missing.
- `config` says what its spec and status are to be, `installation` what a CDI object says of itself; `kinds` writes them.
"""
