# a start-up budget that pathlib would take a tenth of
"""The files that ssh and sshd read, in the attempt's own folder: keys and configurations. No secret is on a command line (law L8)."""

import os
from typing import Final

from datamover.agent.rsync.ssh.settings import Settings

ALIAS: Final = "destination"
"""What the destination is called on command lines; its address is in the configuration."""


def write_client_files(settings: Settings, folder: str) -> str:
    """Write what ssh wants; return the path of its configuration. Only the published host key is accepted."""
    identity = _write(f"{folder}/identity", settings.keys.private)
    known = _write(f"{folder}/known_hosts", f"{ALIAS} {settings.keys.peer}\n".encode())
    lines = (
        f"Host {ALIAS}",
        f"HostName {settings.address}",
        f"HostKeyAlias {ALIAS}",
        f"Port {settings.port}",
        "User root",
        f'IdentityFile "{identity}"',
        "IdentitiesOnly yes",
        "IdentityAgent none",
        f'UserKnownHostsFile "{known}"',
        "GlobalKnownHostsFile /dev/null",
        "StrictHostKeyChecking yes",
        "CheckHostIP no",
        "UpdateHostKeys no",
        "VerifyHostKeyDNS no",
        "BatchMode yes",
        "PreferredAuthentications publickey",
        "RequestTTY no",
        "ClearAllForwardings yes",
        "ForwardAgent no",
        "ForwardX11 no",
        "PermitLocalCommand no",
        "ControlMaster no",
        "ControlPath none",
        "ConnectTimeout 20",
        # a peer that is gone without a word is found within a minute and a half
        "ServerAliveInterval 15",
        "ServerAliveCountMax 6",
        "LogLevel INFO",
    )
    return _write(f"{folder}/ssh_config", "\n".join(lines).encode() + b"\n")


def write_server_files(settings: Settings, folder: str, *, command: str, penalties: bool) -> str:
    """Write what sshd wants; return the path of its configuration. Whoever logs in gets `command`, and nothing else of ssh.

    `penalties`: this sshd would shut out addresses from which strangers came, and is told not to.
    """
    host_key = _write(f"{folder}/host_key", settings.keys.private)
    authorized = _write(f"{folder}/authorized_keys", f"restrict {settings.keys.peer}\n".encode())
    lines = (
        f"Port {settings.port}",
        f'HostKey "{host_key}"',
        f'AuthorizedKeysFile "{authorized}"',
        "PidFile none",
        # the folder is ours alone, but it lies in one where everybody may make files
        "StrictModes no",
        "AllowUsers root",
        "PermitRootLogin prohibit-password",
        "AuthenticationMethods publickey",
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "HostbasedAuthentication no",
        "PermitEmptyPasswords no",
        "UsePAM no",
        "DisableForwarding yes",
        "PermitTunnel no",
        "PermitTTY no",
        "PermitUserEnvironment no",
        "PermitUserRC no",
        "GatewayPorts no",
        "X11Forwarding no",
        "PrintMotd no",
        "PrintLastLog no",
        "Banner none",
        "UseDNS no",
        "LoginGraceTime 20",
        "MaxAuthTries 3",
        "MaxSessions 1",
        # scanners that say nothing: above 20 of them one in two newcomers is turned away, so that a source comes through when it tries again
        "MaxStartups 20:50:80",
        # behind a Service, sources, scanners and health checks may all have the address of one node
        *(("PerSourcePenalties no",) if penalties else ()),
        "ClientAliveInterval 15",
        "ClientAliveCountMax 6",
        "LogLevel INFO",
        f"ForceCommand {command}",
    )
    return _write(f"{folder}/sshd_config", "\n".join(lines).encode() + b"\n")


def _write(path: str, content: bytes) -> str:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path
