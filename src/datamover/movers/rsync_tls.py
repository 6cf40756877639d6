"""The mover `rsync-tls`: rsync through a TLS tunnel. Its Job, its Service, and the Secret with the key of both sides. Pure.

Names, the key of the Secret and its form, ports, capabilities and volumes are an interface (documents).
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.api.volsync import names as words
from datamover.movers import replication
from datamover.movers.replication import Engine, Movement
from datamover.movers.service import build_service as build_any_service
from datamover.movers.service import selector_of
from kubekit.words.meta import Manifest

COMPONENT: Final = "rsync-tls-mover"
PRIVILEGES: Final = (*replication.PRIVILEGES, "SETGID")
"""rsync's daemon takes on all groups of root."""
KEY_BYTES: Final = 64
"""Random bytes of a key that is generated."""
_IDENTITY: Final = "volsync"


def build_job(movement: Movement, *, keys: str, address: str | None = None, port: int | None = None) -> Manifest:
    """Return the Job. `keys` is the Secret with the key; `address` and `port` are those of a source's destination."""
    direction = transfer.SOURCE_DIRECTION if movement.is_source else transfer.DESTINATION_DIRECTION
    peer = [
        {"name": transfer.DESTINATION_ADDRESS, "value": address or ""},
        {"name": transfer.DESTINATION_PORT, "value": str(port or transfer.TLS_PORT)},
    ]
    return replication.build(
        _identified(movement),
        Engine(
            name=words.Method.RSYNC_TLS,
            environment=(*(peer if movement.is_source else ()), {"name": transfer.DIRECTION, "value": direction}),
            mounts=(replication.secret_mount("keys", transfer.KEYS_PATH, keys),),
            privileges=PRIVILEGES,
            service_labels=selector_of(movement.role, movement.owner.metadata.name, component=COMPONENT),
        ),
    )


def _identified(movement: Movement) -> Movement:
    """Return the movement with a user that can serve.

    rsync's daemon does not run as root without capabilities: it wants to set its groups. Where nobody chose a user it is nobody, with a group that the
    volume is made accessible to, as in a restricted namespace. Who chose root is told by the mover.
    """
    unchosen = replication.complete_identity(None, restricted=False)
    if movement.is_source or movement.block or movement.privileged or movement.identity != unchosen:
        return movement
    return dataclasses.replace(movement, identity=replication.complete_identity(None, restricted=True))


def build_service(
    owner: Owner, *, port: int | None = None, kind: str | None = None, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Return the Service before a destination. `kind` is its type."""
    name = owner.metadata.name
    return build_any_service(
        owner,
        name=words.job_name(words.Method.RSYNC_TLS, words.DESTINATION, name),
        port_name="rsync-tls",
        port=port or transfer.TLS_PORT,
        target_port=transfer.TLS_PORT,
        selector=selector_of(words.DESTINATION, name, component=COMPONENT),
        kind=kind,
        annotations=annotations,
    )


def build_secret(owner: Owner) -> Manifest:
    """Return the Secret without the key, which no plan has (law L8)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.child(words.tls_secret(owner.metadata.name), component=names.COMPONENT_MOVER),
        "type": "Opaque",
    }


def secret_of(random: bytes) -> dict[str, bytes]:
    """Return what the Secret holds, made of `KEY_BYTES` random bytes. Raises ValueError when there are fewer."""
    if len(random) < KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} random bytes")
    return {transfer.TLS_KEY: f"{_IDENTITY}:{random.hex()}".encode()}


def find_missing(data: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys that a Secret for this mover lacks, or that are empty in it."""
    return () if data.get(transfer.TLS_KEY) else (transfer.TLS_KEY,)
