"""kubeconfig files: merged as kubectl merges them, and refused with the file's name and what to do.

Messages name files, users, clusters and fields, and never a value that could be a secret (law L8).
"""

import binascii
import os
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import yaml

from kubekit.client.auth import (
    Authenticator,
    ExecCommand,
    ExecPlugin,
    Identity,
    StaticIdentity,
    TokenFile,
    basic,
    bearer,
)
from kubekit.client.cluster import ClusterConfig
from kubekit.client.errors import ConfigError

T = TypeVar("T")

_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_PROXY_SCHEMES = ("http", "https")


class _Words(msgspec.Struct, rename="kebab", omit_defaults=True):
    """Names on the wire are kebab-case, but for the few that say otherwise."""


class _Extension(_Words):
    name: str = ""
    extension: Any = None


class _Cluster(_Words):
    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    extensions: list[_Extension] | None = None


class _Variable(_Words):
    name: str
    value: str = ""


class _Exec(msgspec.Struct, rename="camel"):
    api_version: str = ""
    command: str = ""
    args: list[str] | None = None
    env: list[_Variable] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class _User(_Words):
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    exec: _Exec | None = None
    auth_provider: Any = None
    impersonate: Any = msgspec.field(default=None, name="as")
    impersonate_uid: Any = msgspec.field(default=None, name="as-uid")
    impersonate_groups: Any = msgspec.field(default=None, name="as-groups")


class _Context(_Words):
    cluster: str = ""
    user: str = ""
    namespace: str | None = None


class _NamedCluster(_Words):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(_Words):
    name: str
    user: _User | None = None


class _NamedContext(_Words):
    name: str
    context: _Context | None = None


class _File(_Words):
    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


class _Merged:
    """What several files say together: of each name, and of the current context, the first one counts."""

    def __init__(self, files: Iterable[tuple[Path, _File]]) -> None:
        self.paths: list[Path] = []
        self.current = ""
        self.clusters: dict[str, tuple[Path, _Cluster]] = {}
        self.users: dict[str, tuple[Path, _User]] = {}
        self.contexts: dict[str, tuple[Path, _Context]] = {}
        for path, file in files:
            self.paths.append(path)
            self.current = self.current or file.current_context or ""
            for cluster in file.clusters or ():
                self.clusters.setdefault(cluster.name, (path, cluster.cluster or _Cluster()))
            for user in file.users or ():
                self.users.setdefault(user.name, (path, user.user or _User()))
            for context in file.contexts or ():
                self.contexts.setdefault(context.name, (path, context.context or _Context()))


def load_kubeconfig(
    kubeconfig: Path | None = None, context: str | None = None, *, environ: Mapping[str, str]
) -> ClusterConfig:
    """Return the configuration of a context (the current one unless named). Raises ConfigError."""
    merged = _Merged((path, _parse(path)) for path in _paths(kubeconfig, environ))
    files = ", ".join(str(path) for path in merged.paths)
    name = context or merged.current
    if not name:
        raise ConfigError(f"{files}: no current-context; choose one with --context: {_names(merged.contexts)}")
    if name not in merged.contexts:
        raise ConfigError(f"{files}: there is no context {name!r}; there are: {_names(merged.contexts)}")
    path, chosen = merged.contexts[name]
    if chosen.cluster not in merged.clusters:
        raise ConfigError(f"{path}: context {name!r} names the cluster {chosen.cluster!r}, which no file defines")
    if chosen.user and chosen.user not in merged.users:
        raise ConfigError(f"{path}: context {name!r} names the user {chosen.user!r}, which no file defines")
    cluster_path, cluster = merged.clusters[chosen.cluster]
    where = f"{cluster_path}: cluster {chosen.cluster!r}"
    ca = _pem(
        where, "certificate-authority", cluster_path, cluster.certificate_authority_data, cluster.certificate_authority
    )
    if cluster.insecure_skip_tls_verify and ca:
        raise ConfigError(f"{where} has both insecure-skip-tls-verify and a certificate authority; remove one of them")
    server = _server(where, cluster.server)
    auth: Authenticator = StaticIdentity()
    if chosen.user:
        user_path, user = merged.users[chosen.user]
        auth = _authenticator(
            f"{user_path}: user {chosen.user!r}", user_path, user, _cluster_info(cluster, server, ca), environ
        )
    return ClusterConfig(
        server=server,
        auth=auth,
        ca=ca,
        insecure=bool(cluster.insecure_skip_tls_verify),
        tls_server_name=cluster.tls_server_name or None,
        proxy_url=_proxy(where, cluster.proxy_url),
        namespace=chosen.namespace or "default",
        source=f"context {name!r} of {files}",
    )


def _paths(kubeconfig: Path | None, environ: Mapping[str, str]) -> list[Path]:
    if kubeconfig is not None:
        return [kubeconfig]
    listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if not listed:
        home = environ.get("HOME")
        default = (Path(home) if home else Path.home()) / ".kube" / "config"
        if not default.exists():
            raise ConfigError(
                f"there is no cluster to talk to: not in a Pod, $KUBECONFIG is not set, and {default} does not exist; "
                "name a kubeconfig with --kubeconfig"
            )
        return [default]
    present = [path for path in listed if path.exists()]
    if not present:
        raise ConfigError(f"none of the files of $KUBECONFIG exists: {', '.join(map(str, listed))}")
    return present


def _parse(path: Path) -> _File:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"kubeconfig {path} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # its text may quote the file, so it is not passed on
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"kubeconfig {path} is not YAML{line}; check its indentation and quotes") from None
    if content is None:
        raise ConfigError(f"kubeconfig {path} is empty")
    try:
        return msgspec.convert(content, _File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"kubeconfig {path} is not a kubeconfig: {error}") from None


def _server(where: str, server: str | None) -> str:
    if not server:
        raise ConfigError(f"{where} has no server; write its URL, such as https://10.0.0.1:6443")
    try:
        url = urlsplit(server)
        usable = url.scheme in {"http", "https"} and bool(url.hostname)
        _ = url.port
    except ValueError:
        raise ConfigError(f"{where}: the server is not a URL") from None
    if url.username is not None or url.password is not None:
        raise ConfigError(f"{where}: the server's URL holds credentials; move them to the user")
    if not usable:
        raise ConfigError(f"{where}: the server {server!r} is not an http or https URL")
    return server.rstrip("/")


def _proxy(where: str, proxy: str | None) -> str | None:
    if not proxy:
        return None
    scheme = proxy.partition("://")[0]
    if scheme not in _PROXY_SCHEMES:
        raise ConfigError(
            f"{where}: proxy-url must be an http or https proxy; SOCKS is not supported, use `kubectl proxy`"
        )
    return proxy


def _authenticator(
    where: str, path: Path, user: _User, cluster_info: Mapping[str, Any], environ: Mapping[str, str]
) -> Authenticator:
    if user.auth_provider is not None:
        raise ConfigError(
            f"{where} uses auth-provider, which Kubernetes removed in 1.26; use the provider's exec plugin"
        )
    if user.impersonate or user.impersonate_uid or user.impersonate_groups:
        raise ConfigError(
            f"{where} impersonates somebody (as, as-uid, as-groups), which is not supported; use their credentials"
        )
    certificate = _pem(where, "client-certificate", path, user.client_certificate_data, user.client_certificate)
    key = _pem(where, "client-key", path, user.client_key_data, user.client_key)
    if (certificate is None) != (key is None):
        there, missing = ("client-certificate", "client-key") if certificate else ("client-key", "client-certificate")
        raise ConfigError(f"{where} has a {there} and no {missing}; both are needed")
    if user.token_file:
        token_file = _relative(path, user.token_file)
        if not token_file.is_file():
            raise ConfigError(f"{where}: the tokenFile {token_file} does not exist")
        return TokenFile(token_file, certificate=certificate, key=key)
    authorization = None
    if user.token:
        if not user.token.isascii() or not user.token.isprintable():
            raise ConfigError(
                f"{where}: the token has characters that no token has; was it copied whole and undecoded?"
            )
        authorization = bearer(user.token.strip())
    elif user.username:
        authorization = basic(user.username, user.password or "")
    elif user.exec is not None:
        return ExecPlugin(_command(where, path, user.exec, cluster_info), environ=environ)
    return StaticIdentity(Identity(authorization, certificate, key))


def _command(where: str, path: Path, plugin: _Exec, cluster_info: Mapping[str, Any]) -> ExecCommand:
    if not plugin.command:
        raise ConfigError(f"{where}: exec has no command")
    if plugin.api_version not in ExecPlugin.API_VERSIONS:
        raise ConfigError(
            f"{where}: exec has the apiVersion {plugin.api_version!r}; supported are {', '.join(ExecPlugin.API_VERSIONS)}. "
            "Have its tool write the kubeconfig again"
        )
    mode = plugin.interactive_mode or "IfAvailable"
    if mode not in ExecPlugin.INTERACTIVE_MODES:
        raise ConfigError(
            f"{where}: exec has the interactiveMode {mode!r}; it must be one of {', '.join(ExecPlugin.INTERACTIVE_MODES)}"
        )
    command = str(_relative(path, plugin.command)) if os.sep in plugin.command else plugin.command
    return ExecCommand(
        command=command,
        args=tuple(plugin.args or ()),
        env={each.name: each.value for each in plugin.env or ()},
        api_version=plugin.api_version,
        interactive_mode=mode,
        install_hint=plugin.install_hint or "",
        cluster=cluster_info if plugin.provide_cluster_info else None,
        source=where,
    )


def _cluster_info(cluster: _Cluster, server: str, ca: bytes | None) -> Mapping[str, Any]:
    info = {
        "server": server,
        "certificate-authority-data": ca,  # msgspec writes bytes as base64
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "proxy-url": cluster.proxy_url,
        "config": next((each.extension for each in cluster.extensions or () if each.name == _EXEC_EXTENSION), None),
    }
    return {name: value for name, value in info.items() if value is not None}


def _pem(where: str, field: str, path: Path, data: str | None, file: str | None) -> bytes | None:
    """Return the bytes of a field that is given inline or, else, as a file. Raises ConfigError."""
    if data:
        try:
            return b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{where}: {field}-data is not base64") from None
    if not file:
        return None
    place = _relative(path, file)
    try:
        return place.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: the {field} {place} cannot be read: {error.strerror}") from None


def _relative(path: Path, file: str) -> Path:
    """Return a path that a kubeconfig names, relative to that kubeconfig."""
    return path.parent / Path(file).expanduser()


def _names(things: Mapping[str, Any]) -> str:
    return ", ".join(things) or "none"
