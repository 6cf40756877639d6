"""Keys that the operator generates, held against OpenSSH itself."""

import subprocess
from pathlib import Path

from datamover.cli.ssh_keys import generate_pair
from support.engines import find_engine


def test_a_generated_pair_is_one_that_openssh_reads(tmp_path: Path) -> None:
    pair = generate_pair("volsync")
    private = tmp_path / "key"
    private.write_bytes(pair.private)
    private.chmod(0o600)
    keygen = str(find_engine("ssh-keygen"))
    derived = subprocess.run([keygen, "-y", "-f", str(private)], capture_output=True, check=True).stdout
    assert derived.split()[:2] == pair.public.split()[:2]
    (tmp_path / "key.pub").write_bytes(pair.public)
    told = subprocess.run([keygen, "-l", "-f", str(tmp_path / "key.pub")], capture_output=True, check=True).stdout
    assert told.startswith(b"4096 ")
    assert told.rstrip().endswith(b"volsync (RSA)")
