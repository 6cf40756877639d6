"""Who we are to the API server: bearer tokens, token files, basic credentials, client certificates, exec plugins.

An `Authenticator` yields the `Identity` of the next request. After a 401 the transport calls `renew` with the identity that was
refused, and tries once more when the answer is True. No secret appears in a representation, an error or a log (law L8).
"""

import asyncio
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from kubekit.client.errors import ConfigError
from kubekit.words import timestamps


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request carries. `authorization` is the header's value; `certificate` and `key` are PEM."""

    authorization: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)


class Authenticator(Protocol):
    """A source of identities."""

    async def identity(self) -> Identity:
        """Return the identity to use now. Raises ConfigError when there is none."""
        ...

    async def renew(self, refused: Identity) -> bool:
        """Look for something newer than `refused`; tell whether trying again makes sense. Raises ConfigError."""
        ...


def bearer(token: str) -> str:
    """Return the header value for a token."""
    return f"Bearer {token}"


def basic(username: str, password: str) -> str:
    """Return the header value for a name and a password."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class StaticIdentity:
    """An identity that never changes: none at all, a fixed token, a name and password, a client certificate."""

    fixed: Identity = field(default_factory=Identity, repr=False)

    async def identity(self) -> Identity:
        """Return the identity."""
        return self.fixed

    async def renew(self, refused: Identity) -> bool:
        """There is nothing newer."""
        del refused
        return False


class TokenFile:
    """A token in a file that somebody else renews, as the kubelet does with service account tokens.

    Guarantees: a changed file is read before the next request (one `stat` a request); a file that vanishes while it is being
    replaced does no harm: the last token stays in use.
    """

    def __init__(self, path: Path, *, certificate: bytes | None = None, key: bytes | None = None) -> None:
        self._path = path
        self._certificate = certificate
        self._key = key
        self._stamp: tuple[int, int, int] | None = None
        self._identity: Identity | None = None

    async def identity(self) -> Identity:
        """Return the identity with the file's present token. Raises ConfigError when there never was one."""
        return self._read()

    async def renew(self, refused: Identity) -> bool:
        """Read the file even when it looks unchanged."""
        self._stamp = None
        return self._read() != refused

    def _read(self) -> Identity:
        try:
            state = self._path.stat()
            stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
            if self._identity is None or stamp != self._stamp:
                token = self._path.read_text(encoding="utf-8").strip()
                if token:
                    self._identity = Identity(bearer(token), self._certificate, self._key)
                    self._stamp = stamp
        except (OSError, ValueError) as error:
            if self._identity is None:
                raise ConfigError(f"token file {self._path} cannot be read: {_why(error)}") from None
        if self._identity is None:
            raise ConfigError(f"token file {self._path} is empty; let its owner write the token again")
        return self._identity


def _why(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8 text"


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """A credential plugin of a kubeconfig (client.authentication.k8s.io). `source` names file and user for messages."""

    command: str
    api_version: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    interactive_mode: str = "IfAvailable"
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None
    source: str = "exec plugin"


class _ExecStatus(msgspec.Struct, rename="camel"):
    expiration_timestamp: str | None = None
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _ExecStatus | None = None


class ExecPlugin:
    """Credentials that a program prints, kept until they expire or are refused.

    Guarantees: one run at a time; it is killed, with what it started, after `deadline` seconds; what it prints goes into no log
    and no error. Raises ConfigError, which says how to install or try the program.
    """

    API_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
    INTERACTIVE_MODES = ("Never", "IfAvailable", "Always")

    def __init__(
        self,
        command: ExecCommand,
        *,
        environ: Mapping[str, str] | None = None,
        deadline: float = 60.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`environ` is what the program's environment is built on (ours by default)."""
        self._command = command
        self._environ = os.environ if environ is None else environ
        self._deadline = deadline
        self._now = now
        self._lock = asyncio.Lock()
        self._identity: Identity | None = None
        self._expires: datetime | None = None

    async def identity(self) -> Identity:
        """Return the last credentials, or run the program when they have expired."""
        async with self._lock:
            if self._identity is None or (self._expires is not None and self._now() >= self._expires):
                return await self._refresh()
            return self._identity

    async def renew(self, refused: Identity) -> bool:
        """Run the program again, unless that happened already since `refused` was given out."""
        async with self._lock:
            if self._identity == refused:
                await self._refresh()
            return self._identity != refused

    async def _refresh(self) -> Identity:
        status = self._decode(await self._output())
        if not status.token and not status.client_certificate_data:
            raise self._error("printed no token and no certificate")
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._error("printed only one of certificate and key")
        try:
            self._expires = timestamps.parse(status.expiration_timestamp) if status.expiration_timestamp else None
        except ValueError:
            raise self._error("printed an expirationTimestamp that is no RFC 3339 time") from None
        self._identity = Identity(
            bearer(status.token) if status.token else None,
            status.client_certificate_data.encode() if status.client_certificate_data else None,
            status.client_key_data.encode() if status.client_key_data else None,
        )
        return self._identity

    async def _output(self) -> bytes:
        interactive = self._interactive()
        info: dict[str, Any] = {"interactive": interactive}
        if self._command.cluster is not None:
            info["cluster"] = self._command.cluster
        request = {"apiVersion": self._command.api_version, "kind": "ExecCredential", "spec": info}
        exec_info = msgspec.json.encode(request).decode()
        try:
            process = await asyncio.create_subprocess_exec(
                self._command.command,
                *self._command.args,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if interactive else asyncio.subprocess.DEVNULL,
                env={**self._environ, **self._command.env, "KUBERNETES_EXEC_INFO": exec_info},
                start_new_session=not interactive,
            )
        except FileNotFoundError:
            raise self._error("is not installed") from None
        except OSError as error:
            raise self._error(f"cannot be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(self._deadline):
                output, _ = await process.communicate()
        except TimeoutError:
            raise self._error(f"did not end within {self._deadline:g} s") from None
        finally:
            if process.returncode is None:
                _kill(process.pid, group=not interactive)
                await process.wait()
        if process.returncode != 0:
            raise self._error(f"ended with exit code {process.returncode}")
        return output

    def _interactive(self) -> bool:
        terminal = sys.stdin is not None and sys.stdin.isatty()
        if self._command.interactive_mode == "Always" and not terminal:
            raise self._error("needs a terminal (interactiveMode: Always), and there is none")
        return terminal and self._command.interactive_mode != "Never"

    def _decode(self, output: bytes) -> _ExecStatus:
        try:
            credential = msgspec.json.decode(output, type=_ExecCredential)
        except msgspec.MsgspecError:
            raise self._error("printed something that is no ExecCredential") from None
        if credential.api_version != self._command.api_version:
            raise self._error(
                f"printed another apiVersion than {self._command.api_version}, which the kubeconfig asks for"
            )
        return credential.status or _ExecStatus()

    def _error(self, problem: str) -> ConfigError:
        hint = f" {self._command.install_hint.strip()}" if self._command.install_hint.strip() else ""
        return ConfigError(
            f"{self._command.source}: the credential plugin {self._command.command!r} {problem}; "
            f"run it by hand, as the kubeconfig does, to see why.{hint}"
        )


def _kill(pid: int, *, group: bool) -> None:
    with suppress(ProcessLookupError):
        if group:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
