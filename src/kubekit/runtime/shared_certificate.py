"""The certificate of a webhook's server: made by ourselves, kept in a Secret for all replicas, told to the API server, renewed in time.

Every replica runs this. Whoever finds that something is to be done does it under the version of the object that it has judged; of two that do so at
once, one is refused, and finds the other one's work done. The order is that of `kubekit.runtime.rotation`: what is served is trusted before.

Guarantees: `run` never raises and ends only when it is cancelled: what fails is told (`Notice`) and tried again. Nothing is asked while nothing
changes: Secret and configuration are watched by name, and the clock says when to look. New connections get a new certificate without a restart.
No key is logged or quoted (law L8). A configuration without our Service in it is left alone.
Assumptions: the client may create Secrets in the namespace, get, list, watch and update this one, and get, list, watch and update the configuration.
"""

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, ApiError, Conflict, KubeError, NotFound
from kubekit.runtime.certificates import Pair, load_pair, new_context, read_pair
from kubekit.runtime.clock import Clock, SystemClock, within
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.rotation import Held, next_turn, turn
from kubekit.runtime.serving_certificate import CertificateError
from kubekit.runtime.store import Key
from kubekit.words.admission import MUTATING_WEBHOOK_CONFIGURATIONS, ClientConfig, MutatingWebhookConfiguration
from kubekit.words.meta import Manifest, Model, ObjectMeta, Resource

if TYPE_CHECKING:
    from datetime import datetime

_log = logging.getLogger(__name__)

RETRY: Final = 30.0
"""Seconds after a failure until the next try."""
_SOON: Final = 1.0
"""Seconds after which it is looked at again what a rival has written, should the watch not tell."""
_PAUSE: Final = 10.0
"""Seconds between two writes of one replica, at least: two whose clocks contradict each other must not keep the API server busy."""

Notice = Callable[[str, str], None]
"""Called with a reason (Secret, Configuration or Certificate) and a sentence when something fails, and with `("", "")` when all is well again."""


class _SecretData(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] | None = None


_SECRETS: Final = Resource("", "v1", "secrets", "Secret", _SecretData)
_RAW_SECRETS: Final[Resource[Any]] = Resource("", "v1", "secrets", "Secret", dict)
_RAW_CONFIGURATIONS: Final[Resource[Any]] = Resource(
    MUTATING_WEBHOOK_CONFIGURATIONS.group,
    MUTATING_WEBHOOK_CONFIGURATIONS.version,
    MUTATING_WEBHOOK_CONFIGURATIONS.plural,
    MUTATING_WEBHOOK_CONFIGURATIONS.kind,
    dict,
    namespaced=False,
)
_CURRENT: Final = ("tls.crt", "tls.key", "ca.crt")
_FOLLOWING: Final = ("next.crt", "next.key", "next-ca.crt")
_FORMER: Final = "former-ca.crt"


def _ignore(_reason: str, _message: str) -> None:
    """The default notice."""


class SharedCertificate:
    """See the module's docstring. Give `context` to the server once `loaded` is set."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        secret: str,
        service: str,
        configuration: str,
        labels: Mapping[str, str] | None = None,
        seeds: Mapping[str, int] | None = None,
        path_seed: str = "",
        notice: Notice = _ignore,
        served: Callable[["datetime"], None] | None = None,
        clock: Clock | None = None,
        field_manager: str = "kubekit",
    ) -> None:
        """`service` is that of the server, in the same namespace; `served` is told when what is served ends; `seeds` are random keys that the Secret has besides, with their bytes.

        With `path_seed`, the API server asks under a path made of that one of them (`path`). API servers do not say who they are; whoever asks there
        may at least read the configuration, or the Secret.
        """
        self._client = client
        self._key = Key(namespace, secret)
        self._service = (namespace, service)
        self._configuration = configuration
        self._labels = dict(labels or {})
        self._seeds = dict(seeds or {})
        self._path_seed = path_seed
        self._notice = notice
        self._tell_end = served
        self._clock = clock or SystemClock()
        self._manager = field_manager
        self.hosts: tuple[str, ...] = (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local")
        self.context = new_context()
        self.loaded = asyncio.Event()
        self.ends: datetime | None = None
        """When what is served ends."""
        self.problem: str | None = "not looked at yet"
        self._served: Pair | None = None
        self._stir = asyncio.Event()
        self._wrote = float("-inf")
        self._secrets: Informer[_SecretData] = self._watch(_SECRETS, secret, namespace)
        self._configurations: Informer[MutatingWebhookConfiguration] = self._watch(
            MUTATING_WEBHOOK_CONFIGURATIONS, configuration, None
        )

    def _watch(self, resource: Resource[Any], name: str, namespace: str | None) -> Informer[Any]:
        informer: Informer[Any] = Informer(
            self._client,
            resource,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            optional=True,
            clock=self._clock,
        )
        informer.add_handler(lambda _old, _new: self._stir.set())
        informer.add_state_handler(lambda state: None if state is State.STOPPED else self._stir.set())
        return informer

    def seed(self, name: str) -> bytes | None:
        """Return one of the random keys, None before the Secret is known."""
        found = self._secrets.store.get(self._key)
        return _decode(found, name) if found is not None else None

    @property
    def path(self) -> str | None:
        """The path that the API server alone is told; None without one, or before it is known."""
        found = self.seed(self._path_seed) if self._path_seed else None
        return f"/{found.hex()}" if found is not None else None

    async def run(self) -> None:
        """Keep everything so until cancelled."""
        tasks = [
            asyncio.create_task(each.run(), name=f"{each.name} of the webhook")
            for each in (self._secrets, self._configurations)
        ]
        try:
            while True:
                self._stir.clear()
                await self._rest(await self._step())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rest(self, seconds: float) -> None:
        """Wait for a change, but not longer than so."""
        with suppress(TimeoutError):
            await within(self._clock, seconds, self._stir.wait())

    async def _step(self) -> float:
        """Do what is to be done now; return after how many seconds to look again."""
        try:
            return await self._look()
        except (Conflict, AlreadyExists):
            return _SOON  # another replica was faster: what it wrote is on its way
        except KubeError as error:
            what = "Configuration" if self._served is not None else "Secret"
            self._complain(what, _describe(error))
        except CertificateError as error:
            self._complain("Certificate", str(error))
        except Exception as error:  # noqa: BLE001 - the webhook is never needed: nothing else may end because of it
            _log.exception("the webhook's certificate cannot be looked after")
            self._complain("Certificate", type(error).__name__)
        return RETRY

    async def _look(self) -> float:
        if self._secrets.state in (State.FORBIDDEN, State.ABSENT):
            self._complain("Secret", f"Secret {self._key} may not be watched: {self._secrets.problem}")
            return RETRY
        if not (self._secrets.synced.is_set() and self._configurations.settled.is_set()):
            return RETRY  # whatever comes stirs us
        if self._key in self._secrets.store.poisoned():
            self._complain("Secret", f"Secret {self._key} cannot be read: delete it, and it is made anew")
            return RETRY
        now = self._clock.now()
        found = self._secrets.store.get(self._key)
        held = self._read(found)
        self._serve(held.current)
        wanted = turn(held, hosts=self.hosts, now=now, trusted=self._trusted())
        missing = [name for name in self._seeds if found is None or _decode(found, name) is None]
        if wanted != held or missing:
            if (early := self._wrote + _PAUSE - self._clock.monotonic()) > 0:
                return early
            found = await self._keep(found, wanted, missing)
            held = self._read(found)
            self._serve(held.current)
        problem = await self._tell(held.authorities)
        if problem is not None:
            self._complain("Configuration", problem)
            return RETRY
        if self.problem is not None:
            self.problem = None
            self._notice("", "")
        return next_turn(held, now=now)

    def _read(self, found: _SecretData | None) -> Held:
        if found is None:
            return Held()
        former = _decode(found, _FORMER)
        return Held(self._read_pair(found, _CURRENT), self._read_pair(found, _FOLLOWING), former)

    def _read_pair(self, found: _SecretData, keys: tuple[str, str, str]) -> Pair | None:
        parts = [_decode(found, key) for key in keys]
        if None in parts:
            return None
        certificate, key, authority = (part or b"" for part in parts)
        try:
            return read_pair(certificate, key, authority, hosts=self.hosts)
        except CertificateError as error:
            _log.warning("Secret %s: %s of it is made anew: %s", self._key, keys[0], error)
            return None

    def _serve(self, pair: Pair | None) -> None:
        if pair is None or pair == self._served:
            return
        # A context that failed half-way would have a certificate without its key.
        load_pair(new_context(), certificate=pair.certificate, key=pair.key)
        load_pair(self.context, certificate=pair.certificate, key=pair.key)
        self._served, self.ends = pair, pair.ends
        self.loaded.set()
        if self._tell_end is not None:
            self._tell_end(pair.ends)
        _log.info("the webhook's certificate is served; it ends at %s", pair.ends.isoformat())

    async def _keep(self, found: _SecretData | None, held: Held, missing: Collection[str]) -> _SecretData:
        """Write what is held, under the version that was judged. Raises Conflict or AlreadyExists when somebody was faster."""
        seeds = {name: secrets.token_bytes(self._seeds[name]) for name in missing}
        fields = {key: base64.b64encode(value).decode() for key, value in {**_fields(held), **seeds}.items()}
        if found is None:
            manifest: Manifest = {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": {"name": self._key.name, "namespace": self._key.namespace, "labels": self._labels},
                "data": fields,
            }
            answer = await self._client.create(
                _RAW_SECRETS, manifest, namespace=self._key.namespace, field_manager=self._manager
            )
        else:
            manifest = await self._client.get(_RAW_SECRETS, self._key.name, namespace=self._key.namespace)
            if manifest["metadata"]["resourceVersion"] != found.metadata.resource_version:
                raise Conflict("it has changed since it was looked at")
            ours = {*_CURRENT, *_FOLLOWING, _FORMER}
            data: dict[str, str] = manifest.get("data") or {}
            others = {key: value for key, value in data.items() if key not in ours}
            manifest = {**manifest, "apiVersion": "v1", "kind": "Secret", "data": {**others, **fields}}
            answer = await self._client.replace(_RAW_SECRETS, manifest, field_manager=self._manager)
        self._wrote = self._clock.monotonic()
        written = msgspec.convert(answer, _SecretData)
        self._secrets.store.observe(written)
        return written

    def _found_configuration(self) -> MutatingWebhookConfiguration | None:
        return self._configurations.store.get(Key("", self._configuration))

    def _places(self) -> list[ClientConfig]:
        """Return where the API server asks our Service."""
        found = self._found_configuration()
        places = [each.client_config for each in (found.webhooks if found is not None else None) or ()]
        return [
            each for each in places if each.service and (each.service.namespace, each.service.name) == self._service
        ]

    def _trusted(self) -> tuple[bytes, ...] | None:
        """Return the authorities that the API server trusts at each of our webhooks; None where there is none of ours."""
        split = [_split(each.ca_bundle) for each in self._places()]
        if not split:
            return None
        return tuple(each for each in split[0] if all(each in other for other in split))

    async def _tell(self, authorities: tuple[bytes, ...]) -> str | None:
        """Hand the authorities to the API server; return what is wrong with its configuration."""
        name = self._configuration
        if self._configurations.state is State.FORBIDDEN:
            return f"MutatingWebhookConfiguration {name} may not be watched: {self._configurations.problem}"
        found = self._found_configuration()
        if found is None:
            return f"there is no MutatingWebhookConfiguration {name}, so the API server does not ask this webhook"
        trusted = self._trusted()
        if trusted is None:
            return f"MutatingWebhookConfiguration {name} has no webhook at Service {'/'.join(self._service)}"
        bundle = base64.b64encode(b"".join(authorities)).decode()
        path = self.path
        told = path is None or all(each.service is not None and each.service.path == path for each in self._places())
        if trusted == _split(bundle) and told:
            return None
        raw: Manifest = await self._client.get(_RAW_CONFIGURATIONS, name)
        webhooks: list[Manifest] = raw.get("webhooks") or []
        for each in webhooks:
            place: Manifest = each.get("clientConfig") or {}
            service: Manifest = place.get("service") or {}
            if (service.get("namespace"), service.get("name")) == self._service:
                place["caBundle"] = bundle
                service |= {"path": path} if path is not None else {}
        manifest = {
            **raw,
            "apiVersion": _RAW_CONFIGURATIONS.api_version,
            "kind": _RAW_CONFIGURATIONS.kind,
        }
        answer = await self._client.replace(_RAW_CONFIGURATIONS, manifest, field_manager=self._manager)
        self._configurations.store.observe(msgspec.convert(answer, MutatingWebhookConfiguration))
        return None

    def _complain(self, reason: str, message: str) -> None:
        if message != self.problem:
            _log.error("the webhook's certificate: %s", message)
            self.problem = message
            self._notice(reason, message)

    @property
    def regarding(self) -> ObjectMeta:
        """The Secret, for Events: also where it is not there yet."""
        found = self._secrets.store.get(self._key)
        uid = found.metadata.uid if found is not None else ""
        return ObjectMeta(name=self._key.name, namespace=self._key.namespace, uid=uid)


def _fields(held: Held) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    for keys, pair in ((_CURRENT, held.current), (_FOLLOWING, held.following)):
        if pair is not None:
            fields |= dict(zip(keys, (pair.certificate, pair.key, pair.authority), strict=True))
    return fields | ({_FORMER: held.former} if held.former else {})


def _decode(found: _SecretData, key: str) -> bytes | None:
    said = (found.data or {}).get(key)
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(said, validate=True) if said else None
    return None


_END: Final = b"-----END CERTIFICATE-----"


def _split(bundle: str | None) -> tuple[bytes, ...]:
    """Return the certificates of a bundle, as they stand in it."""
    try:
        pem = base64.b64decode(bundle or "", validate=True)
    except (binascii.Error, ValueError):
        return ()
    return tuple(part.strip() + b"\n" + _END + b"\n" for part in pem.split(_END)[:-1])


def _describe(error: KubeError) -> str:
    """Say what went wrong, not in the server's words: they might quote what was sent."""
    if isinstance(error, NotFound):
        return "what was to be written is gone"
    if isinstance(error, ApiError):
        advice = ": allow the operator to write it (docs/permissions.md)" if error.status == 403 else ""
        return f"the API server answers with status {error.status}{advice}"
    return f"the API server does not answer ({type(error).__name__})"
