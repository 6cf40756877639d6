"""The Pods' network on this machine: the bridge, the namespaces, kube-proxy's rules, and the ports of the parts."""

import contextlib
import errno
import ipaddress
import json
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cluster.layout import BRIDGE, NETWORK, NODE_ADDRESS, POD_NETWORK
from cluster.machine import MachineError

_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))
POLICY_TABLE = "datamover_policy"
"""Where a scenario has a NetworkPolicy enforced. One that was killed leaves it."""
_PLUGIN_RECORDS = Path("/var/lib/cni")
_IP_FREEBIND = 15  # linux/in.h


def has_bridge() -> bool:
    """Tell whether the Pods' bridge is there."""
    return BRIDGE in (name for _, name in socket.if_nameindex())


def add_bridge() -> None:
    """Make the Pods' bridge, with the node's address. Raises MachineError when another network has that address."""
    if not has_bridge():
        _demand("ip", "link", "add", BRIDGE, "type", "bridge")
    _demand("ip", "address", "replace", f"{NODE_ADDRESS}/{POD_NETWORK.partition('/')[2]}", "dev", BRIDGE)
    _demand("ip", "link", "set", BRIDGE, "up")


def remove_network() -> None:
    """Take away the Pods' namespaces, the bridge, kube-proxy's rules, and what the CNI plugins noted. They have to be this cluster's."""
    for name in pod_namespaces():  # first: by the addresses in them they are known
        _run("ip", "netns", "delete", name)
    if has_bridge():
        ports: list[dict[str, str]] = json.loads(_run("ip", "-json", "link", "show", "master", BRIDGE).stdout or "[]")
        for port in ports:
            _run("ip", "link", "delete", port["ifname"])
        _run("ip", "link", "delete", BRIDGE)
    for family, name in rules():
        _run("nft", "delete", "table", family, name)
    _run("nft", "delete", "table", "ip", POLICY_TABLE)
    _forget_addresses(_PLUGIN_RECORDS)


def pod_namespaces() -> list[str]:
    """Return the names of the network namespaces that CNI made and that have an address of the Pods' network."""
    names = [line.split()[0] for line in _run("ip", "netns", "list").stdout.splitlines() if line.startswith("cni-")]
    return [name for name in names if _is_of_pods(_run("ip", "-netns", name, "-json", "-4", "address", "show").stdout)]


def rules() -> list[tuple[str, str]]:
    """Return family and name of the tables of a kube-proxy, whoever's it is."""
    present = _run("nft", "list", "tables").stdout.splitlines()
    return [table for table in _TABLES if f"table {' '.join(table)}" in present]


def taken_ports(ports: Iterable[tuple[str, int]]) -> list[str]:
    """Return those addresses, as `address:port`, at which something listens."""
    return [f"{address}:{port}" for address, port in ports if _is_taken(address, port)]


def _is_taken(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)  # the bridge's address may not be there yet
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _is_of_pods(answer: str) -> bool:
    """Tell whether one of the addresses that `ip -json address` prints is of the Pods' network. Of a broken namespace it prints nothing."""
    network = ipaddress.ip_network(POD_NETWORK)
    links: list[dict[str, list[dict[str, str]]]] = json.loads(answer or "[]")
    addresses = [each["local"] for link in links for each in link.get("addr_info", [])]
    return any(ipaddress.ip_address(address) in network for address in addresses)


def _forget_addresses(records: Path) -> None:
    """Remove the leases of our network, and the results of its Pods. Plugins note them outside the cluster's directory."""
    shutil.rmtree(records / "networks" / NETWORK, ignore_errors=True)
    for result in (records / "results").glob(f"{NETWORK}-*-eth0"):
        pod = result.name.removeprefix(f"{NETWORK}-").removesuffix("-eth0")
        (result.parent / f"cni-loopback-{pod}-lo").unlink(missing_ok=True)
        result.unlink(missing_ok=True)
    for folder in (records / "networks", records / "results", records):
        with contextlib.suppress(OSError):  # others have theirs in there
            folder.rmdir()


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _demand(*command: str) -> None:
    answer = _run(*command)
    if answer.returncode:
        raise MachineError(f"`{' '.join(command)}` failed: {answer.stderr.strip()}")
