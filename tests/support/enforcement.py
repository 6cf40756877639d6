"""A NetworkPolicy, enforced: the rig's network plugin ignores them, so the kernel's packet filter is told here what one says.

What it knows is what the chart's policy uses: numbered TCP and UDP ports, and peers by `ipBlock`. Anything else is refused, not ignored. As in
enforcers of clusters, the node itself reaches its Pods, replies pass, and what leaves is judged by its address before and after the Service's
translation.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.network import POLICY_TABLE as TABLE
from support.pods import processes_of


@contextlib.contextmanager
def enforced(policy: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], *, node: str) -> Iterator[None]:
    """Enforce a policy on Pods of this machine. `node` is the address that the kubelet asks from."""
    spec = policy["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}, "both directions are judged"
    incoming = [line for rule in spec["ingress"] for line in allowances(rule, peers="from", address="saddr")]
    outgoing = [line for rule in spec["egress"] for line in allowances(rule, peers="to", address="daddr")]
    inside = _table(
        [
            *_chain("input", ["iif lo accept", f"ip saddr {node} accept", *incoming]),
            *_chain("output", ["oif lo accept", *outgoing]),
        ]
    )
    addresses = ", ".join(pod["status"]["podIP"] for pod in pods)
    theirs = f"ip saddr != {{ {addresses} }} accept"
    # behind the Service's translation: towards other machines and Pods, and towards this node, where the API server is
    outside = _table([line for hook in ("forward", "input") for line in _chain(hook, [theirs, *outgoing], priority=10)])
    try:
        for pod in pods:
            _tell(inside, process=processes_of(pod["metadata"]["uid"])[0])
        _tell(outside, process=os.getpid())
        yield
    finally:
        forget_policy()
        for pod in pods:
            for process in processes_of(pod["metadata"]["uid"])[:1]:
                _tell(f"delete table ip {TABLE}\n", process=process)


def allowances(rule: Mapping[str, Any], *, peers: str, address: str) -> list[str]:
    """Return the nft rules that let a rule's traffic through."""
    unknown = set(rule) - {"ports", peers}
    assert not unknown, f"not known here: {unknown}"
    blocks = [""] if peers not in rule else [f"ip {address} {_block(peer)} " for peer in rule[peers]]
    return [
        f"{block}{port.get('protocol', 'TCP').lower()} dport {int(port['port'])} accept"
        for block in blocks
        for port in rule["ports"]
    ]


def _block(peer: Mapping[str, Any]) -> str:
    assert set(peer) == {"ipBlock"}, f"not known here: {peer}"
    assert set(peer["ipBlock"]) == {"cidr"}, f"not known here: {peer}"
    return str(peer["ipBlock"]["cidr"])


def _chain(hook: str, rules: Sequence[str], *, priority: int = 0) -> list[str]:
    return [
        f"chain {hook} {{",
        f"type filter hook {hook} priority {priority}; policy accept;",
        "ct state established,related accept",
        *rules,
        "counter drop",
        "}",
    ]


def _table(lines: Sequence[str]) -> str:
    body = "\n".join(lines)
    # whatever an earlier test left there goes first: rules are added to a chain, not put in its place
    return f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n{body}\n}}\n"


def forget_policy() -> None:
    """Delete what is left of an enforcement on this machine itself. What is in a Pod's network goes with the Pod."""
    subprocess.run(["nft", "delete", "table", "ip", TABLE], capture_output=True, check=False)


def _tell(rules: str, *, process: int) -> None:
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{process}/ns/net", "nft", "-f", "-"],
        input=rules,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{rules}"
