"""The Job and Pod that the four movers of a ReplicationSource or ReplicationDestination have in common. Pure.

Names, labels, volumes and variables are an interface (documents); what is ours on top: an identity that restricted Pod Security admits where
that is asked for, no API token, sources mounted read-only (law L1), terminal exit codes, and variables that begin with `DATAMOVER_`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from datamover.api import names, transfer
from datamover.api.ownership import Owner
from datamover.api.velero.names import EXCLUDE_LABEL
from datamover.api.volsync import names as words
from datamover.movers.defaults import NONE, MoverDefaults
from datamover.movers.environment import flag, literal, of_agent
from datamover.movers.job import build_job
from datamover.movers.pod import NOBODY, Mount
from kubekit.words.meta import Manifest

DATA: Final = "data"
TEMPORARY: Final = Mount("tempdir", "/tmp", {"emptyDir": {"medium": "Memory"}})  # noqa: S108 - a volume of the Pod's own
GRACE_SECONDS: Final = 30
MORE_VOLUMES: Final = "/mnt"
PRIVILEGES: Final = ("DAC_OVERRIDE", "CHOWN", "FOWNER")
"""Capabilities of a mover in a namespace that allows privileged ones."""


@dataclass(frozen=True, slots=True)
class Movement:
    """What is asked of any of the four movers.

    `claim` is what it reads (a source) or writes (a destination), `claim_uid` that claim's UID. `read_only`: the node mounts the volume so.
    `identity` is the Pod's security context, as the object has it and completed by `complete_identity`. `volumes` are those of
    `spec…moverVolumes`. `environment` are variables of the operator's, such as its proxies'. `paused`: the Job exists and starts nothing.
    `owner` has the labels of what is temporary. `failures` is how many Jobs of this synchronisation have failed before, `notes` are further annotations of the Job.
    """

    owner: Owner
    role: str
    run_id: str
    job: str
    claim: str
    claim_uid: str
    account: str
    image: str
    pull_policy: str | None = None
    read_only: bool = False
    block: bool = False
    privileged: bool = False
    paused: bool = False
    debug: bool = False
    identity: Manifest = field(default_factory=dict[str, Any])
    pod_labels: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Manifest | None = None
    affinity: Manifest | None = None
    node_selector: Mapping[str, str] | None = None
    tolerations: tuple[Manifest, ...] = ()
    volumes: tuple[Mount, ...] = ()
    environment: tuple[Manifest, ...] = ()
    allow_empty_source: bool = False
    failures: int = 0
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    deadline_seconds: int | None = None
    defaults: MoverDefaults = NONE

    @property
    def is_source(self) -> bool:
        """Whether it reads."""
        return self.role == words.SOURCE


@dataclass(frozen=True, slots=True)
class Engine:
    """What one engine adds. `name` is that of the container and the agent's first argument, `arguments` follow it.

    `root`: it is root whatever the namespace allows. `privileges` are its capabilities then, and where the namespace allows them.
    `service_labels` are those by which a Service finds the Pod.
    """

    name: str
    arguments: tuple[str, ...] = ()
    environment: tuple[Manifest, ...] = ()
    mounts: tuple[Mount, ...] = ()
    privileges: tuple[str, ...] = PRIVILEGES
    root: bool = False
    backoff_limit: int = 2
    service_labels: Mapping[str, str] = field(default_factory=dict[str, str])


def build(movement: Movement, engine: Engine) -> Manifest:
    """Return the Job."""
    privileged = engine.root or movement.privileged
    container: Manifest = {
        "name": engine.name,
        "image": movement.image,
        **({"imagePullPolicy": movement.pull_policy} if movement.pull_policy else {}),
        "args": [engine.name, *engine.arguments],
        "env": _environment(movement, engine),
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], **({"add": list(engine.privileges)} if privileged else {})},
            **({"runAsUser": 0} if privileged else {}),
        },
        **({"resources": movement.resources} if movement.resources else {}),
    }
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "enableServiceLinks": False,  # a Service called restic would otherwise put RESTIC_ variables into the environment
        "automountServiceAccountToken": False,
        "serviceAccountName": movement.account,
        "securityContext": _root_identity(movement.identity) if privileged else movement.identity,
        "containers": [container],
        **_volumes(movement, container, (*engine.mounts, TEMPORARY, *movement.volumes)),
    }
    placed: dict[str, Any] = {
        "affinity": movement.affinity,
        "nodeSelector": movement.node_selector,
        "tolerations": list(movement.tolerations),
    }
    spec.update({key: value for key, value in placed.items() if value})
    job = build_job(
        movement.owner,
        name=movement.job,
        container=engine.name,
        pod=spec,
        defaults=movement.defaults,
        deadline_seconds=movement.deadline_seconds,
        backoff_limit=engine.backoff_limit,
        parallelism=0 if movement.paused else 1,
    )
    job["metadata"]["annotations"] = {
        words.READS_ANNOTATION: movement.claim_uid,
        words.FAILURES_ANNOTATION: str(movement.failures),
        **({words.ACTIONS_ANNOTATION: " ".join(engine.arguments)} if engine.arguments else {}),
        **movement.notes,
    }
    template = job["spec"]["template"]["metadata"]
    template["name"] = movement.job
    # The user's labels first: one of ours that was taken would hide the Pod from us, or from its Service.
    template["labels"] = {**movement.pod_labels, **template["labels"], **engine.service_labels}
    return job


def complete_identity(chosen: Manifest | None, *, restricted: bool) -> Manifest:
    """Return the Pod's security context.

    What the object says counts. Where it says nothing and the namespace enforces restricted Pod Security, the Pod is nobody, with a group
    that the volume is made accessible to. Elsewhere it is root without any capability, as users of these movers know it: root's own files
    can be read and restored, nobody else's.
    """
    context: Manifest = {"seccompProfile": {"type": "RuntimeDefault"}, **(chosen or {})}
    if chosen is None and not restricted:
        return {"runAsUser": 0, **context}
    if context.get("runAsUser") == 0:
        return context
    if restricted or "runAsUser" in context:
        context = {"runAsNonRoot": True, **context}
    if chosen is None:
        context = {"runAsUser": NOBODY, "runAsGroup": NOBODY, "fsGroup": NOBODY, **context}
        context.setdefault("fsGroupChangePolicy", "OnRootMismatch")
    return context


def secret_variable(name: str, secret: str, *, key: str | None = None, optional: bool = False) -> Manifest:
    """Return a variable that has the value of a Secret's key, called the same unless `key` says otherwise."""
    reference = {"name": secret, "key": key or name, "optional": optional}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def secret_mount(name: str, path: str, secret: str, *, items: Sequence[Manifest] = ()) -> Mount:
    """Return the mount of a Secret that only its owner may read."""
    source: Manifest = {"secretName": secret, "defaultMode": 0o600, **({"items": list(items)} if items else {})}
    return Mount(name, path, {"secret": source})


def _root_identity(identity: Manifest) -> Manifest:
    """Return the Pod's context of a container that is root: what would keep it from starting goes."""
    return {key: value for key, value in identity.items() if key != "runAsNonRoot"}


def _environment(movement: Movement, engine: Engine) -> list[Manifest]:
    """The engine's variables first, then ours, every one of them: what a Secret's key could otherwise set."""
    ours = {
        transfer.ALLOW_EMPTY_SOURCE: flag(movement.allow_empty_source),
        transfer.RCLONE: "",  # found on the image's PATH
        **of_agent(
            run_id=movement.run_id,
            namespace=movement.owner.metadata.namespace or "",
            object_name=movement.owner.metadata.name,
            deadline_seconds=movement.deadline_seconds,
        ),
    }
    return [
        *engine.environment,
        {"name": "PRIVILEGED_MOVER", "value": "1" if movement.privileged or engine.root else "0"},
        *([{"name": "DEBUG_MOVER", "value": "1"}] if movement.debug else []),
        *movement.environment,
        *literal(ours),
    ]


def _volumes(movement: Movement, container: Manifest, mounts: Sequence[Mount]) -> Manifest:
    """Return the Pod's volumes, and let the container see them. A source is never mounted for writing (law L1)."""
    claim = {"claimName": movement.claim, **({"readOnly": True} if movement.read_only else {})}
    data = {"name": DATA, "persistentVolumeClaim": claim}
    seen: list[Manifest] = []
    if movement.block:
        container["volumeDevices"] = [{"name": DATA, "devicePath": transfer.BLOCK_PATH}]
    else:
        seen.append(
            {"name": DATA, "mountPath": transfer.DATA_PATH, **({"readOnly": True} if movement.is_source else {})}
        )
    seen += [
        {"name": mount.name, "mountPath": mount.path, **({"readOnly": True} if mount.read_only else {})}
        for mount in mounts
    ]
    container["volumeMounts"] = seen
    return {"volumes": [data, *({"name": mount.name, **mount.volume} for mount in mounts)]}


def lasting_labels(owner_uid: str) -> dict[str, str]:
    """Return the labels of children that stay between synchronisations: the documented one, and ours by which the owner is found."""
    return {names.CREATED_BY_LABEL: words.CREATED_BY_VALUE, names.OWNER_UID_LABEL: owner_uid}


def temporary_labels(owner_uid: str, *, run_id: str) -> dict[str, str]:
    """Return the labels of what is made for one synchronisation. Velero is told to leave it alone."""
    return {
        **lasting_labels(owner_uid),
        words.CLEANUP_LABEL: owner_uid,
        names.RUN_ID_LABEL: run_id,
        EXCLUDE_LABEL: "true",
    }
