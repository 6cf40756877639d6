"""The mover `rsync`: rsync over ssh. Its Job, its Service, and the Secrets with its keys. Pure.

Names, keys of the Secrets, ports, capabilities and volumes are an interface (documents). The mover is root with seven capabilities whatever
the namespace allows: sshd separates its privileges, and root owns what it writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.movers import replication
from datamover.movers.pod import Mount
from datamover.movers.replication import Engine, Movement
from datamover.movers.service import build_service as build_any_service
from datamover.movers.service import selector_of
from kubekit.words.meta import Manifest

COMPONENT: Final = "rsync-mover"
CAPABILITIES: Final = ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYS_CHROOT")
SERVICE_PORT: Final = 22
_SSH_FOLDER: Final = Mount("tempsshdir", "/root/.ssh", {"emptyDir": {"medium": "Memory"}})

MAIN: Final = "main"
FOR_SOURCE: Final = "src"
FOR_DESTINATION: Final = "dest"

_KEYS: Final = {
    MAIN: (transfer.SSH_DESTINATION, transfer.SSH_DESTINATION_PUBLIC, transfer.SSH_SOURCE, transfer.SSH_SOURCE_PUBLIC),
    FOR_SOURCE: (transfer.SSH_DESTINATION_PUBLIC, transfer.SSH_SOURCE, transfer.SSH_SOURCE_PUBLIC),
    FOR_DESTINATION: (transfer.SSH_DESTINATION, transfer.SSH_DESTINATION_PUBLIC, transfer.SSH_SOURCE_PUBLIC),
}
"""Which keys each of the three Secrets has. The main one has all: the other two are made from it, and made again when they are lost."""
PARTS: Final = tuple(_KEYS)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A generated key of ssh: `private` as a file has it, `public` as the one line of a `.pub` file."""

    private: bytes
    public: bytes

    def __repr__(self) -> str:
        """Return nothing of the private key (law L8)."""
        return f"KeyPair(public={self.public!r})"


def build_job(movement: Movement, *, keys: str, address: str | None = None, port: int | None = None) -> Manifest:
    """Return the Job. `keys` is the Secret with this side's keys; `address` and `port` are those of a source's destination."""
    direction = transfer.SOURCE_DIRECTION if movement.is_source else transfer.DESTINATION_DIRECTION
    environment = [
        *([{"name": transfer.DESTINATION_ADDRESS, "value": address}] if address else []),
        *([{"name": transfer.DESTINATION_PORT, "value": str(port)}] if port else []),
        {"name": transfer.DIRECTION, "value": direction},
    ]
    return replication.build(
        movement,
        Engine(
            name=words.Method.RSYNC,
            environment=tuple(environment),
            mounts=(replication.secret_mount("keys", transfer.KEYS_PATH, keys), _SSH_FOLDER),
            privileges=CAPABILITIES,
            root=True,
            service_labels=selector_of(movement.role, movement.owner.metadata.name, component=COMPONENT),
        ),
    )


def build_service(
    owner: Owner, *, role: str, kind: str | None = None, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Return the Service before sshd. `kind` is its type."""
    name = owner.metadata.name
    return build_any_service(
        owner,
        name=words.job_name(words.Method.RSYNC, role, name),
        port_name="ssh",
        port=SERVICE_PORT,
        target_port=transfer.SSH_PORT,
        selector=selector_of(role, name, component=COMPONENT),
        kind=kind,
        annotations=annotations,
    )


def published_secret(role: str, name: str) -> str:
    """Return the name of the Secret that goes to the other side, which `status.rsync.sshKeys` tells: a destination's is for sources."""
    return words.ssh_secret(role, FOR_DESTINATION if role == words.SOURCE else FOR_SOURCE, name)


def own_secret(role: str, name: str) -> str:
    """Return the name of the Secret that this side's own mover has in /keys."""
    return words.ssh_secret(role, FOR_SOURCE if role == words.SOURCE else FOR_DESTINATION, name)


def build_secret(owner: Owner, *, role: str, part: str) -> Manifest:
    """Return one of the three Secrets (`MAIN`, `FOR_SOURCE`, `FOR_DESTINATION`) without what it holds, which no plan has (law L8)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.child(words.ssh_secret(role, part, owner.metadata.name), component=names.COMPONENT_MOVER),
        "type": "Opaque",
    }


def secrets_of(*, source: KeyPair, destination: KeyPair) -> dict[str, bytes]:
    """Return what the main Secret holds. It is the first that is made, so that keys are generated once (law L6)."""
    return {
        transfer.SSH_SOURCE: source.private,
        transfer.SSH_SOURCE_PUBLIC: source.public,
        transfer.SSH_DESTINATION: destination.private,
        transfer.SSH_DESTINATION_PUBLIC: destination.public,
    }


def select_secrets(part: str, main: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what one of the Secrets holds, of what the main one holds. Raises ValueError when that lacks a key."""
    if missing := find_missing(part, main):
        raise ValueError(f"the Secret with all keys has no {' and no '.join(missing)}")
    return {key: main[key] for key in _KEYS[part]}


def find_missing(part: str, data: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys that a Secret for this part (`MAIN`, `FOR_SOURCE`, `FOR_DESTINATION`) lacks, or that are empty in it."""
    return tuple(key for key in _KEYS[part] if not data.get(key))
