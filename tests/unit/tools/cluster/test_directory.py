"""Whose the directory is, and that nothing else is ever removed."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cluster import directory
from cluster.directory import DirectoryError
from cluster.layout import Layout

TOOLS = Path(__file__).resolve().parents[4] / "tools"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cluster")


def fill(layout: Layout) -> None:
    """Make what a cluster from before the mark had."""
    layout.pids.mkdir(parents=True)
    layout.secrets.mkdir()
    (layout.secrets / "ca.crt").touch()


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_directory_is_claimed_and_stays_claimed(layout: Layout, exists: bool) -> None:
    if exists:
        layout.directory.mkdir()

    with directory.claimed(layout):
        (layout.directory / "file").touch()

    assert directory.is_cluster(layout)
    with directory.claimed(layout):
        pass


def test_a_directory_with_other_things_is_refused_and_left_as_it_is(layout: Layout) -> None:
    layout.directory.mkdir()
    (layout.directory / "thesis").touch()

    with pytest.raises(DirectoryError, match="is not empty"), directory.claimed(layout):
        pass
    with pytest.raises(DirectoryError, match="no cluster at"), directory.held(layout):
        pass

    assert [path.name for path in layout.directory.iterdir()] == ["thesis"]


def test_a_cluster_from_before_the_mark_is_known_and_gets_it(layout: Layout) -> None:
    fill(layout)
    assert directory.is_cluster(layout)

    with directory.held(layout):
        assert layout.marker.exists()


@pytest.mark.parametrize("missing", ["pids", "secrets/ca.crt"])
def test_half_of_what_such_a_cluster_has_is_not_enough(layout: Layout, missing: str) -> None:
    fill(layout)
    path = layout.directory / missing
    path.rmdir() if path.is_dir() else path.unlink()

    assert not directory.is_cluster(layout)


@pytest.mark.parametrize("command", [directory.claimed, directory.held])
def test_a_second_command_is_refused_while_one_is_at_work(
    layout: Layout, command: Callable[[Layout], AbstractContextManager[None]]
) -> None:
    refused = pytest.raises(DirectoryError, match="another `up` or `down`")
    with directory.claimed(layout), refused, command(layout):
        pass
    with command(layout):
        pass


def test_the_lock_of_a_directory_that_was_removed_meanwhile_is_worth_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock_and_lose(handle: int, operation: int) -> None:
        layout.directory.rmdir()

    layout.directory.mkdir()
    monkeypatch.setattr(directory.fcntl, "flock", lock_and_lose)

    with pytest.raises(DirectoryError, match="removed this moment"), directory.claimed(layout):
        pass


def test_everything_is_removed_and_what_links_point_to_is_not(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with directory.claimed(layout):
        (layout.directory / "a" / "b").mkdir(parents=True)
        (layout.directory / "a" / "b" / "file").touch()
        (layout.directory / "a" / "link").symlink_to(tmp_path / "mine")
        directory.remove(layout)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    assert (tmp_path / "mine" / "file").exists()


def test_the_mark_goes_last_so_that_a_removal_can_be_taken_up_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with directory.claimed(layout):
        (layout.directory / "a").mkdir()
    monkeypatch.setattr(os, "rmdir", lambda *_arguments, **_options: (_ for _ in ()).throw(OSError("disk on fire")))

    with pytest.raises(OSError, match="disk on fire"):
        directory.remove(layout)

    assert directory.is_cluster(layout)


def test_what_was_mounted_after_the_look_is_not_removed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with directory.claimed(layout):
        (layout.directory / "a").mkdir()
        (layout.directory / "a" / "file").touch()
    numbers = iter(["1", "2"])
    monkeypatch.setattr(directory, "_mount_of", lambda _folder: next(numbers))

    with pytest.raises(DirectoryError, match="cluster/a was mounted"):
        directory.remove(layout)

    assert (layout.directory / "a" / "file").exists()


REMOVE_WITH_MOUNT = """
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from cluster import directory
from cluster.layout import Layout
if sys.argv[2] == "late":
    directory.mount_points = lambda _directory: []
directory.remove(Layout(Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts in a namespace of its own")
@pytest.mark.parametrize(("seen", "words"), [("early", "still mounted"), ("late", "was mounted this moment")])
def test_a_bind_mount_of_the_same_file_system_is_not_removed(
    layout: Layout, tmp_path: Path, seen: str, words: str
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").touch()
    with directory.claimed(layout):
        (layout.directory / "a").mkdir()
    script = 'mount --bind "$1" "$2/a" && shift && exec "$PYTHON" -c "$PROGRAM" "$@"'

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path / "home", layout.directory, seen],
        env=os.environ | {"PYTHON": sys.executable, "PROGRAM": REMOVE_WITH_MOUNT, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
    )

    if "unshare failed" in done.stderr:
        pytest.skip("no namespaces here")
    assert done.returncode == 1
    assert words in done.stderr
    assert (tmp_path / "home" / "thesis").exists()
