"""Everything that stands between a container's spec and a command line: image, volumes, mounts, environment.

NotReady    something is not known yet; the Pod is looked at again when it is
Unready     the container cannot be started as things are: a waiting reason, a sentence, an event
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kubekit.client.client import Client
from kubekit.client.errors import ApiError
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer
from kubekit.runtime.named import FORBIDDEN, MISSING, UNKNOWN, NamedInformers
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import HasMeta
from localkube.node.environment import ConfigurationError, Sources, expand, references, resolve
from localkube.node.images import Images, Refusal, command_for
from localkube.node.kinds import CONFIG_MAPS, SECRETS, Claim, ConfigMap, PersistentVolume, Quantities, Secret
from localkube.node.leftovers import marker_prefix
from localkube.node.mounts import (
    ROOT_VARIABLE,
    Claimed,
    File,
    Files,
    Mount,
    MountError,
    MountFailed,
    MountRefused,
    inside,
    link_mounts,
    plan_mounts,
    plan_volume,
    termination_path,
    write_files,
)
from localkube.node.names import ADOPTED
from localkube.node.pod_directory import PodDirectory
from localkube.node.pod_kinds import Container, Pod, Volume
from localkube.node.pods import CREATING
from localkube.node.process import Command
from localkube.node.walking import quote

PULL_BACK_OFF = 10.0
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

T = TypeVar("T", bound=HasMeta)


class NotReady(Exception):  # noqa: N818 - not a failure
    """Something is not known yet."""


@dataclass
class Unready(Exception):  # noqa: N818 - says what is the matter
    """The container cannot be started as things are. `again` is in how many seconds that is looked at anew, at the latest."""

    reason: str
    message: str
    event: str = "Failed"
    event_message: str = ""
    again: float | None = None

    def __post_init__(self) -> None:
        self.event_message = self.event_message or f"Error: {self.message}"


class Launcher:
    """Prepares containers. Watches the Secrets and ConfigMaps that its Pods refer to, by name, as long as they are needed."""

    def __init__(
        self,
        client: Client,
        *,
        state_dir: Path,
        images: Images,
        clock: Clock,
        claims: Informer[Claim],
        volumes: Informer[PersistentVolume],
        allocatable: Quantities,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` is what every container gets unless its spec says otherwise; never the node's own environment."""
        self._client = client
        self._images = images
        self._clock = clock
        self._claims = claims
        self._volumes = volumes
        self._allocatable = allocatable
        self._environment = dict(environment if environment is not None else base_environment())
        self._prefix = marker_prefix(state_dir)
        self._secrets: NamedInformers[Secret] = NamedInformers(client, SECRETS, clock=clock)
        self._config_maps: NamedInformers[ConfigMap] = NamedInformers(client, CONFIG_MAPS, clock=clock)
        self._by_claim: dict[Key, set[str]] = {}
        self._refused_at: dict[tuple[str, str], float] = {}
        self._served: set[str] = set()
        self._hearers: list[Callable[[str], None]] = []
        for named in (self._secrets, self._config_maps):
            named.add_handler(lambda key, named=named: self._tell(named.owners(key)))
        claims.add_handler(lambda old, new: self._claim_changed(old or new))
        volumes.add_handler(self._volume_changed)

    async def run(self) -> None:
        """Keep the watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._secrets.run(), name="secrets of pods")
            group.create_task(self._config_maps.run(), name="config maps of pods")

    def on_change(self, hear: Callable[[str], None]) -> None:
        """Have `hear(pod uid)` called when something that a Pod needs changed."""
        self._hearers.append(hear)

    def forget(self, uid: str) -> None:
        """A Pod needs nothing any more."""
        if uid not in self._served:
            return
        self._served.discard(uid)
        self._secrets.want(uid, ())
        self._config_maps.want(uid, ())
        for users in self._by_claim.values():
            users.discard(uid)
        self._by_claim = {claim: users for claim, users in self._by_claim.items() if users}
        for key in [key for key in self._refused_at if key[0] == uid]:
            del self._refused_at[key]

    def container_id(self, uid: str, container: str, number: int) -> str:
        """Return the id of the n-th start of a container; it carries the node's mark."""
        return f"{self._prefix}{uid}/{container}/{number}"

    async def prepare(self, pod: Pod, container: Container, directory: PodDirectory, *, number: int) -> Command:
        """Return the command for a container, its volumes and root in place. Raises NotReady, Unready."""
        self._served.add(pod.metadata.uid)
        entrypoint = self._entrypoint(pod, container)
        try:
            sources = self._sources(pod)
            places, untouchable = await self._volumes_of(pod, sources, directory)
        except MountRefused as error:
            raise Unready("CreateContainerError", str(error)) from error
        except (MountFailed, ConfigurationError) as error:
            raise Unready(CREATING, "", event="FailedMount", event_message=str(error)) from error
        root = directory.root(container.name)
        try:
            variables = self._variables(pod, container, sources, root)
            mounts = plan_mounts(container, variables)
            await asyncio.to_thread(_make_root, root, container, mounts, places, untouchable)
        except ConfigurationError as error:
            raise Unready("CreateContainerConfigError", str(error)) from error
        except (MountError, OSError) as error:
            raise Unready("CreateContainerError", str(error)) from error
        arguments = [expand(each, variables) for each in (*(container.command or ()), *(container.args or ()))]
        return Command(
            argv=(*entrypoint, *arguments),
            env=variables,
            cwd=inside(root, container.working_dir or "/"),
            log=directory.log(container.name, number),
            record=directory.record(container.name, number),
        )

    def _entrypoint(self, pod: Pod, container: Container) -> tuple[str, ...]:
        found = command_for(container, self._images)
        if not isinstance(found, Refusal):
            return found
        if found.reason != "ErrImagePull":
            raise Unready(found.reason, found.message, event_message=f"Error: {found.message}")
        place = (pod.metadata.uid, container.name)
        left = self._refused_at.setdefault(place, self._clock.monotonic()) + PULL_BACK_OFF - self._clock.monotonic()
        if left > 0:
            message = f'Failed to pull image "{container.image}": {found.message}'
            raise Unready(found.reason, found.message, event_message=message, again=left)
        back_off = f'Back-off pulling image "{container.image}"'
        raise Unready("ImagePullBackOff", f"{back_off}: {found.message}", event="BackOff", event_message=back_off)

    def _sources(self, pod: Pod) -> Sources:
        uid, namespace = pod.metadata.uid, pod.metadata.namespace or ""
        needed = references(pod)
        self._secrets.want(uid, [Key(namespace, name) for name in needed.secrets])
        self._config_maps.want(uid, [Key(namespace, name) for name in needed.config_maps])
        return Sources(
            secrets=_present(self._secrets, namespace, needed.secrets, "secret"),
            config_maps=_present(self._config_maps, namespace, needed.config_maps, "configmap"),
            allocatable=self._allocatable,
        )

    async def _volumes_of(
        self, pod: Pod, sources: Sources, directory: PodDirectory
    ) -> tuple[dict[str, Path], frozenset[str]]:
        """Return the place of each volume, and which of them must not be written to by the node itself."""
        places: dict[str, Path] = {}
        untouchable: set[str] = set()
        for volume in (pod.spec.volumes if pod.spec else None) or ():
            content = plan_volume(volume, pod, sources)
            if isinstance(content, Claimed):
                found = self._claimed(pod, content.claim)
                places[volume.name] = Path(found.directory)
                if found.metadata.annotation(ADOPTED) is not None:
                    untouchable.add(volume.name)
                continue
            places[volume.name] = directory.volume(volume.name)
            files = await self._files(pod, volume, content) if isinstance(content, Files) else ()
            await asyncio.to_thread(write_files, places[volume.name], files)
        return places, frozenset(untouchable)

    def _claimed(self, pod: Pod, name: str) -> PersistentVolume:
        key = Key(pod.metadata.namespace or "", name)
        self._by_claim.setdefault(key, set()).add(pod.metadata.uid)
        claim = self._claims.store.get(key)
        if claim is None:
            raise MountFailed(f'persistentvolumeclaim "{name}" not found')
        if claim.metadata.terminating:
            raise MountFailed(f"error processing PVC {key}: PVC is being deleted")
        volume = self._volumes.store.get(Key("", claim.volume_name))
        if claim.phase != "Bound" or volume is None:
            raise MountFailed(f"error processing PVC {key}: PVC is not bound")
        if not volume.directory:
            raise MountRefused(f"volume {volume.metadata.name} of claim {name} is not a directory of this node")
        if not Path(volume.directory).is_dir():
            raise MountFailed(f"volume {volume.metadata.name}: the directory {quote(volume.directory)} does not exist")
        return volume

    async def _files(self, pod: Pod, volume: Volume, content: Files) -> tuple[File, ...]:
        files = list(content.files)
        for token in content.tokens:
            account = (pod.spec.service_account_name if pod.spec else None) or "default"
            path = f"/api/v1/namespaces/{pod.metadata.namespace}/serviceaccounts/{account}/token"
            bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid}
            spec = {
                "audiences": [token.audience] if token.audience else [],
                "expirationSeconds": token.expiration_seconds or 3600,
                "boundObjectRef": bound,
            }
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            try:
                answer = await self._client.request_json("POST", path, body=request)
            except ApiError as error:
                raise MountFailed(
                    f'MountVolume.SetUp failed for volume "{volume.name}" : failed to fetch token: {error}'
                ) from error
            files.append(File(token.path, answer["status"]["token"].encode(), 0o600))
        return tuple(files)

    def _variables(self, pod: Pod, container: Container, sources: Sources, root: Path) -> dict[str, str]:
        own = {
            "HOSTNAME": (pod.spec.hostname if pod.spec else None) or pod.metadata.name,
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
        }
        # where the mounts are is this node's to say, whatever the Pod or its Secrets do
        return {**self._environment, **own, **resolve(container, pod, sources), ROOT_VARIABLE: str(root)}

    def _tell(self, uids: frozenset[object]) -> None:
        for uid in uids:
            for hear in self._hearers:
                hear(str(uid))

    def _claim_changed(self, claim: Claim | None) -> None:
        if claim is not None:
            self._tell(frozenset(self._by_claim.get(key_of(claim.metadata), ())))

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new or old
        reference = volume.claim_ref if volume is not None else None
        if reference is not None:
            key = Key(reference.namespace or "", reference.name or "")
            self._tell(frozenset(self._by_claim.get(key, ())))


def base_environment() -> dict[str, str]:
    """Return what an image would bring: a PATH on which this Python's programs are found first, and a UTF-8 locale."""
    return {"PATH": f"{Path(sys.executable).parent}:{DEFAULT_PATH}", "LANG": "C.UTF-8"}


def _present(named: NamedInformers[T], namespace: str, wanted: frozenset[str], what: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for name in wanted:
        presence = named.get(Key(namespace, name))
        if presence is UNKNOWN:
            raise NotReady
        if presence is FORBIDDEN:
            raise ConfigurationError(f'{what} "{name}": this node may not read it')
        if presence is not MISSING and not isinstance(presence, type(MISSING)):
            found[name] = presence
    return found


def _make_root(
    root: Path,
    container: Container,
    mounts: tuple[Mount, ...],
    places: Mapping[str, Path],
    untouchable: frozenset[str],
) -> None:
    """Make the container's root: links, an empty termination message, a place for temporary files."""
    link_mounts(root, mounts, places, untouchable=untouchable)
    message = inside(root, termination_path(container))
    message.parent.mkdir(parents=True, exist_ok=True)
    message.unlink(missing_ok=True)
    message.touch(mode=0o666)
    if not any(mount.path == "/tmp" or mount.path.startswith("/tmp/") for mount in mounts):  # noqa: S108 - below root
        (root / "tmp").mkdir(exist_ok=True, mode=0o700)
    inside(root, container.working_dir or "/").mkdir(parents=True, exist_ok=True)
