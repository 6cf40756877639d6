"""Which parts of the machine's network are the cluster's."""

import json
import socket
from pathlib import Path

import pytest

from cluster import network


def address(*addresses: str) -> str:
    return json.dumps([{"ifname": "eth0", "addr_info": [{"family": "inet", "local": each} for each in addresses]}])


@pytest.mark.parametrize(
    ("answer", "ours"),
    [
        (address("127.0.0.1", "10.213.0.7"), True),
        (address("127.0.0.1", "10.213.1.7"), False),
        (address("10.88.0.7"), False),
        ('[{"ifname": "lo"}]', False),
        ("[{}]", False),
        ("", False),
    ],
)
def test_a_namespace_is_known_by_the_addresses_in_it(answer: str, ours: bool) -> None:
    assert network._is_of_pods(answer) is ours


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
def test_a_port_at_which_something_listens_is_taken(listening: str) -> None:
    with socket.create_server((listening, 0)) as server:
        port = server.getsockname()[1]
        assert network.taken_ports([("127.0.0.1", port)]) == [f"127.0.0.1:{port}"]
    assert network.taken_ports([("127.0.0.1", port)]) == []


def test_a_port_may_be_asked_for_at_an_address_that_is_not_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert network.taken_ports([("192.0.2.1", server.getsockname()[1])]) == []


def test_a_connection_that_was_closed_does_not_take_the_port_of_its_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # the server's end closes first, and waits

    assert network.taken_ports([("127.0.0.1", port)]) == []


def test_the_notes_of_other_networks_stay(tmp_path: Path) -> None:
    names = ["networks/datamover/10.213.0.5", "networks/podman/10.88.0.5", "results/datamover-a-eth0"]
    names += ["results/cni-loopback-a-lo", "results/cni-loopback-b-lo", "results/podman-b-eth0"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    network._forget_addresses(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "networks/podman/10.88.0.5",
        "results/cni-loopback-b-lo",
        "results/podman-b-eth0",
    ]


def test_without_notes_of_others_nothing_is_left_of_them(tmp_path: Path) -> None:
    records = tmp_path / "cni"
    (records / "networks" / "datamover").mkdir(parents=True)

    network._forget_addresses(records)
    network._forget_addresses(records)

    assert not records.exists()
