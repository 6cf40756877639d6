"""What a process may still touch when its rights were taken."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datamover.agent.rsync.confinement import Reach, run_confined
from support.confining import confinement_works


@pytest.fixture(autouse=True)
def works() -> None:
    if not confinement_works():
        pytest.skip("this kernel cannot confine a process")


def test_a_confined_process_reaches_its_volume_and_nothing_else(tmp_path: Path) -> None:
    volume, other = tmp_path / "volume", tmp_path / "other"
    for folder in (volume, other):
        (folder / "sub").mkdir(parents=True)
        (folder / "file").write_text("x")
    (other / "log").touch()
    code = f"""
import os
from datamover.agent.rsync.confinement import Reach, confine
assert confine(Reach(owned=({str(volume)!r},), files=({str(other / "log")!r},)))
os.chdir({str(volume)!r})
os.link("file", "sub/hard"); os.rename("file", "sub/file"); os.symlink("x", "link"); os.truncate("sub/file", 0); os.mkfifo("pipe")
open("/etc/passwd").close(); open("/dev/null", "w").close(); open({str(other / "log")!r}, "w").close()
for attempt in (lambda: open({str(other / "file")!r}), lambda: os.listdir({str(other)!r}), lambda: open("/proc/self/environ"), lambda: os.mkdir("/tmp/x-y"),
                lambda: os.rename("link", {str(other / "link")!r}), lambda: open("/etc/datamover-was-here", "w"), lambda: os.unlink({str(other / "file")!r})):
    try:
        attempt()
    except OSError as error:
        assert error.errno in (1, 13, 18), error
        continue
    raise SystemExit("something was reached")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_what_a_confined_thread_starts_is_confined_and_it_lives_until_it_may_end(tmp_path: Path) -> None:
    volume, other = tmp_path / "volume", tmp_path / "other"
    volume.mkdir()
    other.write_text("x")
    over = threading.Event()
    before = threading.active_count()

    def start() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["/bin/cat", other], capture_output=True, check=False)

    answer = run_confined(start, reach=Reach(owned=(str(volume),)), until=over)
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert b"Permission denied" in answer.stderr
    assert start().stdout == b"x"
    assert threading.active_count() == before + 1
    over.set()


def test_what_goes_wrong_in_the_thread_is_raised_where_it_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_confined(
            lambda: subprocess.Popen([tmp_path / "no-program"]),
            reach=Reach(owned=(str(tmp_path),)),
            until=threading.Event(),
        )
