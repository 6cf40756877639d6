import socket
from pathlib import Path

import pytest

from datamover.velero import server as module
from datamover.velero.server import CannotListenError, Server


def test_the_socket_lies_in_a_folder_that_nobody_else_enters_and_is_gone_at_the_end(tmp_path: Path):
    server = Server(())
    address = server.listen(socket_directory=str(tmp_path), ports=range(10_000, 10_001))
    path = Path(address.text)
    assert address.network == "unix"
    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    server.close(0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("directory", ["missing", "l" * 120])
def test_without_a_folder_for_a_socket_it_is_a_port_of_the_range(tmp_path: Path, directory: str):
    where = tmp_path / directory
    if directory != "missing":
        where.mkdir()
    server = Server(())
    address = server.listen(socket_directory=str(where), ports=range(20_000, 21_000))
    host, _, port = address.text.partition(":")
    assert (address.network, host) == ("tcp", "127.0.0.1")
    assert 20_000 <= int(port) < 21_000
    assert not where.exists() or list(where.iterdir()) == []
    server.close(0)


def test_two_servers_never_share_a_port(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            CannotListenError, match=rf"from {port} to {port} is free: give the Velero Pod a writable /tmp"
        ):
            Server(()).listen(socket_directory=str(tmp_path / "missing"), ports=range(port, port + 1))


def test_there_are_workers_for_calls_in_parallel_and_streams():
    assert module.WORKERS >= 8
