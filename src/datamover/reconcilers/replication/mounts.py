"""Further volumes of a mover's Pod (`moverVolumes`): what is wrong with them, what they need, and how they are mounted. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from datamover.api.validation import quote
from datamover.api.volsync import names
from datamover.api.volsync.common import MoverConfig, MoverVolume
from datamover.movers.pod import Mount
from datamover.movers.replication import MORE_VOLUMES
from datamover.reconcilers.replication.ask import FIELDS, Ask


def more_volumes(ask: Ask) -> tuple[MoverVolume, ...]:
    """Return the further volumes that the spec asks for."""
    return (ask.options.mover_volumes or ()) if isinstance(ask.options, MoverConfig) else ()


def named_claims(ask: Ask) -> tuple[str, ...]:
    """Return the names of the claims among them."""
    claims = (volume.volume_source.persistent_volume_claim for volume in more_volumes(ask))
    return tuple(dict.fromkeys(claim.claim_name for claim in claims if claim is not None))


def find_mount_flaws(ask: Ask) -> Iterator[str]:
    """Say what can never be mounted so: the API server would refuse the mover's Job for it, in words that name none of these fields."""
    field, volumes = f"spec.{FIELDS[ask.method]}.moverVolumes", more_volumes(ask)
    for path, times in Counter(volume.mount_path for volume in volumes).items():
        if times > 1:
            yield f"{field} has the mountPath {quote(path)} {times} times: give each volume a name of its own"
    for volume in volumes:
        source = volume.volume_source
        given = [each for each in (source.secret, source.persistent_volume_claim, source.nfs) if each is not None]
        if len(given) != 1:
            many = "nothing" if not given else "more than one thing"
            yield (
                f"{field} mounts {many} at {quote(volume.mount_path)}: give one of secret, persistentVolumeClaim and nfs "
                "in its volumeSource"
            )


def mount(volume: MoverVolume) -> Mount:
    """Return a further volume as the mover's Pod has it. Its name there is a label: a path of the greatest length is shortened in it."""
    source: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(volume.volume_source))
    secret = source.get("secret")
    if secret is not None:
        secret.setdefault("defaultMode", 0o600)
    path = volume.mount_path
    return Mount(names.shorten("u-", path), f"{MORE_VOLUMES}/{path}", source)
