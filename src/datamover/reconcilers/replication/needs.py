"""What a mover needs besides its data: children that stay between synchronisations, and what the user provides. Pure.

Each thing that is missing is told with what to do.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from datamover.api import reasons
from datamover.api.ownership import Owner
from datamover.api.volsync import names
from datamover.api.volsync.names import EventReason, Method
from datamover.api.volsync.replication_destination import (
    RcloneDestination,
    ResticDestination,
    RsyncDestination,
    RsyncTLSDestination,
)
from datamover.api.volsync.replication_source import RcloneSource, ResticSource, RsyncSource, RsyncTLSSource
from datamover.movers import belongings as builders
from datamover.movers import rsync_ssh, rsync_tls
from datamover.movers.replication import lasting_labels
from datamover.plans.steps import Create, Effect, MakeSecrets
from datamover.reconcilers.replication.ask import FIELDS, Ask
from datamover.reconcilers.replication.facts import Facts
from datamover.reconcilers.replication.mounts import more_volumes, named_claims
from datamover.reconcilers.replication.references import custom_ca_of
from datamover.runs.facts import Unread
from datamover.runs.wait import LITTLE, age_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SECRET_METAS, SERVICE_ACCOUNTS, SERVICES, SecretKeys, Service
from kubekit.words.meta import HasMeta, Manifest, Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES

_ADDRESS: Final = 15.0
"""Seconds that a Service may take to get its address before that is told."""
PSK_KEY: Final = "psk.txt"
_ALL_KEYS: Final = ("source", "source.pub", "destination", "destination.pub")
RCLONE_KEY: Final = "rclone.conf"
REPOSITORY_KEYS: Final = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD")
SSH_KEYS: Final = {
    names.SOURCE: ("source", "source.pub", "destination.pub"),
    names.DESTINATION: ("destination", "destination.pub", "source.pub"),
}
"""What the Secret of each side holds, by the role of the object that uses it."""


@dataclass(frozen=True, slots=True)
class KeyMakers:
    """How keys are generated; injected, for they are chance. `ssh` returns the four files of both sides, `read` what a Secret of a namespace
    holds: of our own only.
    """

    psk: MakeSecrets
    ssh: MakeSecrets
    read: Callable[[str, str], Awaitable[Mapping[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Child:
    """A lasting child: what it is called, what there is of it, and how it is made."""

    resource: Resource[Any]
    name: str
    present: HasMeta | None
    manifest: Manifest
    secret: MakeSecrets | None = None


@dataclass(frozen=True, slots=True)
class Lack:
    """What stands against starting the mover, in a sentence; empty while something is not known yet, or is waited for until `wake_after`."""

    message: str = ""
    reason: str = ""
    wake_after: float | None = None


def lasting_owner(ask: Ask) -> Owner:
    """Return whose the lasting children are."""
    return Owner(ask.resource, ask.metadata, lasting_labels(ask.metadata.uid))


def account_of(ask: Ask) -> str:
    """Return the name of the mover's ServiceAccount."""
    return ask.options.mover_service_account or names.account_name(ask.role, ask.metadata.name)


def key_secret_of(ask: Ask) -> str | None:
    """Return the name of the Secret with the mover's keys, given or generated; None for movers that have none."""
    options = ask.options
    if isinstance(options, RsyncTLSSource | RsyncTLSDestination):
        return options.key_secret or names.tls_secret(ask.metadata.name)
    if isinstance(options, RsyncSource | RsyncDestination):
        return options.ssh_keys or rsync_ssh.own_secret(ask.role, ask.metadata.name)
    return None


def generated_secrets(ask: Ask) -> tuple[str, ...]:
    """Return the names of the Secrets that are generated, because the spec names none; of several the one with all keys first."""
    options, name = ask.options, ask.metadata.name
    if isinstance(options, RsyncTLSSource | RsyncTLSDestination) and not options.key_secret:
        return (names.tls_secret(name),)
    if isinstance(options, RsyncSource | RsyncDestination) and not options.ssh_keys:
        return tuple(names.ssh_secret(ask.role, part, name) for part in rsync_ssh.PARTS)
    return ()


def serves(ask: Ask) -> bool:
    """Tell whether the other side connects to this mover, through a Service."""
    options = ask.options
    if isinstance(options, RsyncTLSDestination):
        return True
    if isinstance(options, RsyncDestination | RsyncSource):
        return not options.address
    return False


def lasting_children(ask: Ask, facts: Facts, keys: KeyMakers) -> tuple[Child, ...]:
    """Return what has to be there before a mover starts, in the order in which it is made."""
    return (*_cache(ask, facts), *_service(ask, facts), *_secrets(ask, facts, keys), *_account(ask, facts))


def is_of_another(child: HasMeta | None, ask: Ask) -> bool:
    """Tell whether another object controls what has the name of one of these children."""
    owners = (child.metadata.owner_references or ()) if child is not None else ()
    return any(owner.controller and owner.uid != ask.metadata.uid for owner in owners)


def make_missing(children: Iterable[Child]) -> tuple[Effect, ...]:
    """Return the steps that make what is not there."""
    missing = [child for child in children if child.present is None]
    return tuple(Create(child.resource, child.manifest, secret=child.secret) for child in missing)


def find_lack(ask: Ask, facts: Facts) -> Lack | None:
    """Return the first thing that keeps the mover from starting and that somebody else has to bring, or None."""
    lacks = (*_lacks(ask, facts), *_service_lacks(ask, facts), _wait_for_namespace(facts))
    return next((lack for lack in lacks if lack is not None), None)


def address_of(service: Service | None) -> str | None:
    """Return where a Service is reached: the load balancer's name or address where it is one, else the cluster's own address."""
    if service is None or service.spec is None:
        return None
    if service.spec.type == "LoadBalancer":
        balancer = service.status.load_balancer if service.status is not None else None
        first = next(iter((balancer.ingress if balancer is not None else None) or ()), None)
        return (first.hostname or first.ip) if first is not None else None
    return service.spec.cluster_ip if service.spec.cluster_ip not in (None, "", "None") else None


# What we make.


def _account(ask: Ask, facts: Facts) -> Iterator[Child]:
    if ask.options.mover_service_account:
        return
    owner, name, have = lasting_owner(ask), account_of(ask), facts.belongings
    yield Child(SERVICE_ACCOUNTS, name, have.account, builders.build_account(owner, name))
    yield Child(ROLES, name, have.role, builders.build_role(owner, name))
    yield Child(ROLE_BINDINGS, name, have.binding, builders.build_role_binding(owner, name))


def _cache(ask: Ask, facts: Facts) -> Iterator[Child]:
    options = ask.options
    if not isinstance(options, ResticSource | ResticDestination):
        return
    name = names.cache_claim(ask.role, ask.metadata.name)
    data = facts.run.source  # what a destination writes is its source as well, for its run makes no copy
    modes = options.cache_access_modes or options.access_modes or (data and data.spec and data.spec.access_modes)
    if not options.cache_access_modes and set(modes or ()) == {"ReadOnlyMany"}:
        modes = None  # a copy may be for reading only; a cache is written
    # A destination's own class is that of its cache as well; a source's is not (the original, as it was run).
    fallback = None if ask.is_source else options.storage_class_name
    temporary = isinstance(options, ResticDestination) and options.cleanup_cache_pvc
    manifest = builders.build_claim(
        lasting_owner(ask),
        name,
        size=options.cache_capacity or builders.CACHE_SIZE,
        access_modes=modes or ("ReadWriteOnce",),
        storage_class=options.cache_storage_class_name or fallback,
        labels={names.CLEANUP_LABEL: ask.metadata.uid} if temporary else None,
    )
    yield Child(PERSISTENT_VOLUME_CLAIMS, name, facts.belongings.cache, manifest)


def _service(ask: Ask, facts: Facts) -> Iterator[Child]:
    options = ask.options
    if not serves(ask):
        return
    name, owner = names.job_name(ask.method, ask.role, ask.metadata.name), lasting_owner(ask)
    annotations = options.service_annotations if isinstance(options, RsyncDestination | RsyncTLSDestination) else None
    if isinstance(options, RsyncTLSDestination):
        manifest = rsync_tls.build_service(owner, kind=options.service_type, annotations=annotations)
    else:
        kind = options.service_type if isinstance(options, RsyncDestination | RsyncSource) else None
        manifest = rsync_ssh.build_service(owner, role=ask.role, kind=kind, annotations=annotations)
    yield Child(SERVICES, name, facts.belongings.service, manifest)


def _secrets(ask: Ask, facts: Facts, keys: KeyMakers) -> Iterator[Child]:
    """Keys are generated once: the Secret with all of them is made first, the others are made of it, also when they were lost.

    When it is lost itself, it is made of the other two: new keys would not fit those, which the other side may have.
    """
    present, owner = facts.belongings.generated, lasting_owner(ask)
    if _torn(ask, facts) is not None:
        return
    for name in generated_secrets(ask):
        if ask.method == Method.RSYNC_TLS:
            yield Child(SECRET_METAS, name, present.get(name), rsync_tls.build_secret(owner), keys.psk)
            continue
        part = next(part for part in rsync_ssh.PARTS if names.ssh_secret(ask.role, part, owner.metadata.name) == name)
        make = _part_of(part, ask, keys)
        if part == rsync_ssh.MAIN:
            make = _whole_of(ask, keys) if present else keys.ssh
        manifest = rsync_ssh.build_secret(owner, role=ask.role, part=part)
        yield Child(SECRET_METAS, name, present.get(name), manifest, make)


def _part_of(part: str, ask: Ask, keys: KeyMakers) -> MakeSecrets:
    """Return what reads the Secret with all keys and takes those of one part."""
    main = names.ssh_secret(ask.role, rsync_ssh.MAIN, ask.metadata.name)

    async def make() -> Mapping[str, bytes]:
        return rsync_ssh.select_secrets(part, await keys.read(ask.metadata.namespace or "", main))

    return make


def _whole_of(ask: Ask, keys: KeyMakers) -> MakeSecrets:
    """Return what reads the Secrets of both sides, and has all keys so."""

    async def make() -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for part in (rsync_ssh.FOR_SOURCE, rsync_ssh.FOR_DESTINATION):
            found.update(
                await keys.read(ask.metadata.namespace or "", names.ssh_secret(ask.role, part, ask.metadata.name))
            )
        return rsync_ssh.select_secrets(rsync_ssh.MAIN, found)

    return make


def _torn(ask: Ask, facts: Facts) -> Lack | None:
    """Return what is told when the Secret with all keys is gone and another one with it: the keys cannot be put together again."""
    generated, present = generated_secrets(ask), facts.belongings.generated
    left = [name for name in generated[1:] if name in present]
    if not left or len(left) == len(generated) - 1 or generated[0] in present:
        return None
    lost = next(name for name in generated[1:] if name not in present)
    message = (
        f"the generated Secrets {generated[0]} and {lost} are gone, and {left[0]} is there without them: restore one of the two, or "
        f"delete {left[0]} as well, so that new keys are generated, and give the other side the new ones"
    )
    return Lack(message, reasons.SECRET_NOT_FOUND)


# What others are to bring.


def _lacks(ask: Ask, facts: Facts) -> Iterator[Lack | None]:
    options, field = ask.options, f"spec.{FIELDS[ask.method]}"
    if isinstance(options, ResticSource | ResticDestination):
        yield _check_secret(facts, options.repository, f"{field}.repository", REPOSITORY_KEYS)
    elif isinstance(options, RcloneSource | RcloneDestination):
        if not options.rclone_config_section:
            yield Lack(
                f"{field}.rcloneConfigSection is not set: name the section of {RCLONE_KEY} that describes the remote"
            )
        if not options.rclone_dest_path:
            yield Lack(
                f"{field}.rcloneDestPath is not set: name the path at the remote, such as bucket/{ask.metadata.name}"
            )
        yield _check_secret(facts, options.rclone_config, f"{field}.rcloneConfig", (RCLONE_KEY,))
    elif isinstance(options, RsyncTLSSource | RsyncTLSDestination):
        if isinstance(options, RsyncTLSSource) and not options.address:
            yield Lack(f"{field}.address is not set: it is status.rsyncTLS.address of the ReplicationDestination")
        if options.key_secret:
            yield _check_secret(facts, options.key_secret, f"{field}.keySecret", (PSK_KEY,))
    elif isinstance(options, RsyncSource) and not options.address:
        # Its Service and its keys are there by now: whoever begins with the source has what the other side needs.
        yield Lack(f"{field}.address is not set: it is status.rsync.address of the ReplicationDestination")
    if isinstance(options, RsyncSource | RsyncDestination) and options.ssh_keys:
        yield _check_secret(facts, options.ssh_keys, f"{field}.sshKeys", SSH_KEYS[ask.role])
    generated = generated_secrets(ask)
    yield _torn(ask, facts)
    if len(generated) > 1:
        yield _check_keys(
            facts.belongings.secrets.get(generated[0], Unread.FORBIDDEN), "Secret", generated[0], _ALL_KEYS
        )
    yield _check_ca(ask, facts, field)
    for volume in more_volumes(ask):
        if volume.volume_source.secret is not None and not volume.volume_source.secret.optional:
            yield _check_secret(facts, volume.volume_source.secret.secret_name, f"{field}.moverVolumes", ())
    for name in named_claims(ask):
        if name not in facts.belongings.mounted:
            yield Lack(f'PersistentVolumeClaim "{name}" not found: create it, or correct {field}.moverVolumes')


def _check_secret(facts: Facts, name: str | None, field: str, keys: Iterable[str]) -> Lack | None:
    wanted = " and ".join(keys)
    holding = f" with {wanted}" if wanted else ""
    if not name:
        return Lack(f"{field} is not set: name a Secret of this namespace{holding}")
    found = facts.belongings.secrets.get(name, Unread.NOT_SYNCED)
    if found is Unread.MISSING:
        return Lack(f'Secret "{name}" not found: create it{holding}, or correct {field}', reasons.SECRET_NOT_FOUND)
    return _check_keys(found, "Secret", name, keys)


def _check_keys(found: SecretKeys | Unread, kind: str, name: str, keys: Iterable[str]) -> Lack | None:
    if found is Unread.NOT_SYNCED:
        return Lack()  # its own watch brings us back
    if isinstance(found, Unread):
        return None  # who may not read it leaves it to the kubelet, which tells
    missing = [key for key in keys if key not in found.keys or key in found.empty]
    if missing:
        return Lack(
            f'{kind} "{name}" is missing the field {", ".join(missing)}, or it is empty: add it',
            reasons.SECRET_KEY_MISSING,
        )
    return None


def _check_ca(ask: Ask, facts: Facts, field: str) -> Lack | None:
    ca = custom_ca_of(ask)
    if ca is None:
        return None
    if not ca.key:
        return Lack(f"{field}.customCA.key is not set: name the key that holds the certificates")
    if ca.secret_name:
        return _check_secret(facts, ca.secret_name, f"{field}.customCA.secretName", (ca.key,))
    found = facts.belongings.config_map
    if found is Unread.MISSING:
        return Lack(f'ConfigMap "{ca.config_map_name}" not found: create it with {ca.key}, or correct {field}.customCA')
    return _check_keys(found, "ConfigMap", ca.config_map_name or "", (ca.key,))


def _service_lacks(ask: Ask, facts: Facts) -> Iterator[Lack | None]:
    service = facts.belongings.service
    if not serves(ask) or service is None or address_of(service) is not None:
        return
    meta = service.metadata
    left = _ADDRESS - age_of(meta.creation_timestamp, facts.run.now)
    if left > 0:
        yield Lack(wake_after=left + LITTLE)
        return
    kind = (service.spec.type if service.spec is not None else None) or "ClusterIP"
    message = (
        f"Service {meta.name} of type {kind} has no address after {_ADDRESS:.0f} seconds: let the cluster give it one (kubectl -n {meta.namespace} "
        f"describe service {meta.name}), or choose another type in spec.{FIELDS[ask.method]}.serviceType"
    )
    yield Lack(message, EventReason.NO_ADDRESS)


def _wait_for_namespace(facts: Facts) -> Lack | None:
    """Who the mover is, is the namespace's to say: before it was seen no mover starts. Without the right to see it there are no privileges."""
    return Lack() if facts.namespace is Unread.NOT_SYNCED else None  # its own watch brings us back


def is_privileged(facts: Facts) -> bool:
    """Tell whether the namespace allows privileged movers."""
    namespace = facts.namespace
    allowed = None if isinstance(namespace, Unread) else namespace.metadata.annotation(names.PRIVILEGED_ANNOTATION)
    return (allowed or "").lower() == "true"


def is_restricted(facts: Facts) -> bool:
    """Tell whether the namespace enforces restricted Pod Security."""
    namespace = facts.namespace
    return not isinstance(namespace, Unread) and namespace.metadata.label(_ENFORCED) == "restricted"


_ENFORCED: Final = "pod-security.kubernetes.io/enforce"
