"""What bytes are, how they are unpacked, and how they become a disk."""

import gzip
import lzma
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.blocks.device import open_destination
from datamover.agent.errors import Failure
from datamover.agent.importer import checksum, disk, formats, headers, proxies, unpacking
from datamover.agent.importer.addresses import parse
from datamover.agent.importer.disk import CHUNK, SECTOR, Disk
from datamover.agent.importer.unpacking import UnpackingError
from support.importing import noise

PACKERS = {formats.GZIP: gzip.compress, formats.XZ: lzma.compress}


def split(data: bytes, seed: int) -> Iterator[bytes]:
    rolls = random.Random(seed)
    while data:
        size = rolls.choice((1, 2, 7, 100, 5000, 1 << 20))
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("seed", range(5))
def test_a_stream_is_unpacked_wherever_it_is_cut_into_pieces(packed: str, seed: int) -> None:
    parts = (noise(100_000), bytes(3 << 20), b"", noise(10))
    sent = b"".join(PACKERS[packed](part) for part in parts) + bytes(16)
    pieces = list(unpacking.unpack(split(sent, seed), packed))
    assert b"".join(pieces) == b"".join(parts)
    assert max(map(len, pieces)) <= unpacking.PIECE


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("end", [1, 5, 20, -1])
def test_a_stream_that_is_cut_off_is_told_from_one_that_has_ended(packed: str, end: int) -> None:
    sent = PACKERS[packed](noise(10_000))[:end]
    with pytest.raises(UnpackingError, match="cut off"):
        list(unpacking.unpack([sent], packed))


def test_xz_that_wants_too_much_memory_is_refused() -> None:
    sent = lzma.compress(b"x" * 100, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}])
    with pytest.raises(UnpackingError, match="memory"):
        list(unpacking.unpack([sent], formats.XZ))


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", formats.EMPTY), (b"\0" * 600, formats.RAW), (b"\xeb\x63\x90" + noise(600), formats.RAW), (b"BZh9 but a boot\0sector", formats.RAW),
        (b"BZh91AY&SY" + noise(50), "bzip2"), (b"\x5d\0\0\x80\0" + b"\xff" * 8 + b"\0", "lzma"), (b"\x5d\0\0" + noise(40), formats.RAW),
        (b"LUKS\xba\xbe", formats.RAW), (b"  <!DOCTYPE HTML>", formats.PAGE),
    ],
)  # fmt: skip
def test_bytes_are_what_their_beginning_says(head: bytes, found: str) -> None:
    assert formats.detect(head) == found


@pytest.mark.parametrize("seed", range(4))
def test_a_device_equals_what_was_written_whatever_lay_there(tmp_path: Path, seed: int) -> None:
    rolls = random.Random(seed)
    parts = [rolls.choice((bytes, noise))(rolls.choice((0, 512, 4096, 70_000, CHUNK, 3 * CHUNK + 5))) for _ in range(6)]
    content = b"".join(parts)
    path = tmp_path / "device"
    path.write_bytes(b"old" * (len(content) // 3 + 4 * CHUNK))
    size = path.stat().st_size
    with open_destination(str(path)) as device:
        disk = Disk(device, limit=size, final=size, preallocate=seed == 3, old=True)
        disk.write(split(content, seed), what="image")
        assert disk.complete() == size
        disk.prove(alive=lambda _: None)
        with path.open("r+b") as file:
            file.seek(len(content) // 2)
            file.write(b"rotten" * 10)
        if content:
            with pytest.raises(Failure, match="read back"):
                disk.prove(alive=lambda _: None)
            path.write_bytes(content + path.read_bytes()[len(content) :])
    if content:
        assert path.read_bytes() == content + bytes(size - len(content))


@pytest.mark.parametrize("line", ["X-A: b", "  x-a:b  ", "Authorization: Bearer t", "X-Empty:"])
def test_a_header_is_taken(line: str) -> None:
    name, value = headers.parse(line)
    assert name.strip() == name
    assert value.strip() == value


@pytest.mark.parametrize(
    "line", ["", "X", ": b", "X A: b", "Range: bytes=0-", "host: b", "X: ä", "X: a\rHost: b", "X: " + "a" * 20_000]
)
def test_a_header_that_cannot_be_sent_is_refused_and_its_value_not_quoted(line: str) -> None:
    with pytest.raises(headers.HeaderError) as error:
        headers.parse(line)
    assert "bytes=0-" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '"X: a"', "[" * 5000, '["no colon"]'])
def test_a_list_of_headers_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(headers.HeaderError):
        headers.parse_list(text)


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", "sha3:00", "md5:12", "md5:" + "g" * 32, "sha1:" + "0" * 41])
def test_a_checksum_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it"):
        checksum.parse(text)


PROXY = {"http_proxy": "http://p.example:3128", "HTTPS_PROXY": "p2.example:8080"}
DIRECT = {
    "a.example": False, "b.example": True, "x.b.example": True, "xb.example": False, "c.example:8080": True, "c.example": False, "10.1.2.3": True, "11.1.2.3": False,
    "d.example": True,
}  # fmt: skip


@pytest.mark.parametrize("host", DIRECT)
def test_no_proxy_leaves_out_names_domains_ports_and_ranges(host: str) -> None:
    environ = PROXY | {"NO_PROXY": "b.example, c.example:8080,10.0.0.0/8,*.d.example"}
    found = proxies.find_proxy(environ, parse(f"http://{host}/x"))
    assert (found is None) == DIRECT[host]
    if found:
        assert (found.host, found.port) == ("p.example", 3128)


def test_a_proxy_that_is_none_is_refused_and_a_star_means_no_proxy() -> None:
    address = parse("https://a.example/")
    assert proxies.find_proxy(PROXY, address) == proxies.Proxy("p2.example", 8080)
    for text in ("socks5://p.example:1", "http://", "http://[p", "http://p:x"):
        with pytest.raises(proxies.ProxyError, match="HTTPS_PROXY"):
            proxies.find_proxy({"https_proxy": text}, address)
    assert proxies.find_proxy(PROXY | {"no_proxy": "*"}, address) is None


@pytest.mark.parametrize("ending", [0, SECTOR, CHUNK, 5 * CHUNK])
def test_a_file_has_its_last_sector_also_where_that_is_a_hole(tmp_path: Path, ending: int) -> None:
    content = noise(2 * CHUNK) + bytes(ending)
    path = tmp_path / "disk.img"
    path.touch()
    with open_destination(str(path)) as device:
        disk = Disk(device, limit=16 * CHUNK, final=8 * CHUNK, preallocate=False, old=False)
        disk.write(split(content, 1), what="image")
        assert disk.tail() == content[-SECTOR:]
        assert disk.complete() == 8 * CHUNK
        disk.prove(alive=lambda _: None)
    assert path.read_bytes() == content + bytes(8 * CHUNK - len(content))


@pytest.mark.parametrize("packed", [formats.GZIP, formats.XZ])
def test_members_of_a_byte_each_take_time_by_their_number_only_and_come_out_in_large_pieces(packed: str) -> None:
    one = gzip.compress(b"x") if packed == formats.GZIP else lzma.compress(b"x")
    whole = one * ((1 << 20) // len(one))
    begun = time.process_time()
    pieces = list(unpacking.unpack([whole], packed))
    assert (set(b"".join(pieces)), len(pieces)) == ({ord("x")}, 1)
    assert time.process_time() - begun < 5


def test_a_stream_in_pieces_of_a_byte_is_written_as_fast_as_any(tmp_path: Path) -> None:
    begun = time.process_time()
    chunks = list(disk._chunks(b"x" for _ in range(3 << 19)))
    assert [len(chunk) for chunk in chunks] == [1 << 20, 1 << 19]
    assert time.process_time() - begun < 5


STUCK = """
import os, sys
from datamover.agent.importer.stage import Stage
if os.geteuid() == 0:
    os.setuid(65534)
with Stage(sys.argv[1]) as stage:
    os.makedirs(stage.path + "/read/only")
    os.chmod(stage.path + "/read/only", 0o500)
    os.chmod(stage.path + "/read", 0)
    folder = os.open(stage.path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
print(os.listdir(sys.argv[1]))
"""


def test_whatever_an_attempt_has_left_goes_folders_without_rights_and_without_an_end() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        ended = subprocess.run([sys.executable, "-c", STUCK, folder], capture_output=True, text=True, timeout=60)
        left = os.listdir(folder)
        subprocess.run(["rm", "-rf", *(f"{folder}/{name}" for name in left)], check=True)
    assert (ended.stdout.strip(), left) == ("[]", []), ended.stderr[-500:]
