"""The names of a kind's fields, for use in messages: so all kinds can share the same messages. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Fields as the user of a kind writes them; `kind` is the kind itself.

    Names of fields: `source`, `storage_class`, `snapshot_class`, `image`, `pull_secrets`, `memory` (the mover's limit), `deadline`,
    `suspend`, `cancel` (of kinds that can be cancelled). `method` is the field that chooses how a copy is made, `without_snapshots` its value that needs none. Phrases: `keeps` is why a
    copy is kept, such as "spec.keep is true"; `verify` is what to set for a comparison. `method_is_kept`: a run goes on with the method that it
    began with, whatever is set later.
    """

    kind: str
    source: str
    storage_class: str
    snapshot_class: str
    method: str
    image: str
    pull_secrets: str
    memory: str
    deadline: str
    suspend: str
    keeps: str
    verify: str
    cancel: str = "spec.cancel"
    without_snapshots: str = "Clone"
    method_is_kept: bool = True

    def choose(self, method: str) -> str:
        """Return what to do to have another method in a run that has begun. It begins with a small letter."""
        if self.method_is_kept:
            return f"create the {self.kind} anew with {self.method}: {method}"
        return f"set {self.method}: {method}"
