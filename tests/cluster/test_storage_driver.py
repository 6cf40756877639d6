"""The storage driver of the rig is judged by somebody else's program: csi-sanity, in full."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import find_cluster


@pytest.fixture(params=["btrfs", "directories"])
def volumes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty place for volumes: a file system that can do snapshots, and one that cannot."""
    directory = tmp_path / "volumes"
    directory.mkdir()
    if request.param == "directories":
        yield directory
        return
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(2 << 30)
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, directory], check=True)
    try:
        subprocess.run(["btrfs", "quota", "enable", directory], check=True)
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize("kind", ["mount", "block"])
def test_csi_sanity_passes_in_full(volumes: Path, tmp_path: Path, kind: str) -> None:
    programs = Path(find_cluster()[2]).parent
    if not (programs / "csi-sanity").exists():
        pytest.skip("the rig's programs are not here: this is somebody else's cluster, with a driver of its own")
    place = Path(os.environ.get("TMPDIR", "/tmp")) / f"sanity-{os.getpid()}"  # a socket's path is short
    place.mkdir()
    socket = place / "csi.sock"
    with (tmp_path / "driver.log").open("wb") as log:
        driver = subprocess.Popen(
            [programs / "storage", f"--endpoint={socket}", f"--directory={volumes}", "--node=node-1"], stderr=log
        )
        try:
            for _ in range(200):
                if socket.exists():
                    break
                time.sleep(0.05)
            answer = subprocess.run(
                [
                    programs / "csi-sanity",
                    f"--csi.endpoint=unix://{socket}",
                    f"--csi.mountdir={place}/mount",
                    f"--csi.stagingdir={place}/stage",
                    f"--csi.testvolumesize={64 << 20}",
                    f"--csi.testvolumeexpandsize={128 << 20}",
                    f"--csi.testvolumeaccesstype={kind}",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        finally:
            driver.terminate()
            driver.wait(timeout=20)
            subprocess.run(["rm", "-rf", place], check=False)
    assert answer.returncode == 0, answer.stdout[-4000:]
    result = re.search(r"(\d+) Passed.*?(\d+) Failed", answer.stdout)
    assert result, answer.stdout[-2000:]
    assert int(result[1]) >= 60, "hardly anything was judged"
    assert int(result[2]) == 0
    left = [path for folder in ("volumes", "snapshots") for path in (volumes / folder).glob("*")]
    assert left == []
