"""`datamover run` of an ordinary user over a volume that holds what such a user cannot copy: each loss is told."""

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.s3 import S3Server

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that others cannot copy"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to take root's rights"),
]


def run(
    place: Path, s3: S3Server, *options: str, patience: float = 60, **spec: object
) -> subprocess.CompletedProcess[str]:
    """Run the command without any of root's rights."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "backup-credentials"},
        "stringData": dict(s3.secret()),
    }
    mover = {
        "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
        "kind": "DataMover",
        "metadata": {"name": "mirror"},
        "spec": {"sourcePvc": "data", "secretName": "backup-credentials", **spec},
    }
    (place / "all.yaml").write_text(yaml.safe_dump_all([secret, mover]))
    return subprocess.run(
        [
            *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
            *(sys.executable, "-m", "datamover.cli.main", "run", "--state", str(place / "state")),
            *(
                "--volume",
                f"data={place / 'data'}",
                "-f",
                str(place / "all.yaml"),
                "--timeout",
                f"{patience:g}",
                *options,
            ),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.mkdir()
    (found / "file").write_text("content")
    return found


def test_what_is_left_out_and_what_a_copy_cannot_keep_is_said(data: Path, tmp_path: Path, s3: S3Server) -> None:
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(data):  # its path may not be long
        server.bind("socket")
    with (data / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    os.link(data / "file", data / "second")
    (data / "theirs").write_text("x")
    os.chown(data / "theirs", 1234, 1234)
    (data / "lost+found").mkdir(mode=0)
    os.chown(data / "lost+found", 1234, 1234)
    ended = run(tmp_path, s3)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 special files (fifo, socket, device) left out" in ended.stdout
    assert "1 owners and 0 extended attributes could not be kept by this user" in ended.stdout
    assert set(s3.objects()) == {"file", "second", "sparse", "theirs"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("file", "1 entries cannot be read by this user: their\\x1b[2Js"), ("device", "null is a device")],
)
def test_what_no_copy_can_be_made_of_is_told_by_name_with_the_way_out(
    data: Path, tmp_path: Path, s3: S3Server, kind: str, words: str
) -> None:
    if kind == "file":
        (data / "their\x1b[2Js").write_text("x")
        os.chmod(data / "their\x1b[2Js", 0)
        os.chown(data / "their\x1b[2Js", 1234, 1234)
    else:
        os.mknod(data / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    ended = run(tmp_path, s3, patience=18)
    assert ended.returncode != 0
    assert words in ended.stdout, ended.stdout
    assert "Direct" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr
    if kind == "device":
        direct = run(tmp_path, s3, "--max-copy-age", "0", copyMethod="Direct")
        assert direct.returncode == 0, direct.stdout
        assert set(s3.objects()) == {"file"}
