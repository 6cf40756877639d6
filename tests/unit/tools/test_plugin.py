"""tools/plugin.py: when the one file is made anew, what is kept, and what is said where it cannot be made."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

import plugin
from build import BuildError


class Place:
    """A cache of our own, and in place of the two costly steps a count of them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.environment = {"XDG_CACHE_HOME": str(root), "PATH": os.environ["PATH"]}
        self.cache = root / "datamover/plugin"
        self.source = root / "source"
        self.steps: list[str] = []
        self.failure = ""
        (self.source / "datamover").mkdir(parents=True)
        (self.source / "datamover/main.py").write_text("WORD = 1\n")
        monkeypatch.setattr(plugin, "PACKAGES", (self.source / "datamover",))
        monkeypatch.setattr(plugin, "ROOT", Path("/"))
        monkeypatch.setattr(plugin, "_run", self._run)

    def _run(self, command: list[Any], **_: object) -> None:
        if self.failure:
            raise BuildError(self.failure)
        target = Path(command[-1] if "bundle.py" in str(command[1]) else command[command.index("-o") + 1])
        self.steps.append("file" if target.name == plugin.NAME else "launcher")
        target.write_text("made")
        target.chmod(0o755)

    def make(self) -> Path:
        return plugin.make(self.environment)

    def change(self) -> None:
        file = self.source / "datamover/main.py"
        file.write_text(file.read_text() + "WORD += 1\n")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_it_is_made_once(place: Place) -> None:
    assert place.make() == place.make()
    assert place.steps == ["launcher", "file"]
    assert plugin.find(place.environment) == place.make()


def test_other_code_makes_another_file_and_takes_the_launcher_that_is_there(place: Place) -> None:
    first = place.make()
    place.change()
    with pytest.raises(BuildError, match="not made yet") as caught:
        plugin.find(place.environment)
    assert caught.value.code == 4
    assert place.make() != first
    assert place.steps == ["launcher", "file", "file"]


def test_a_step_that_fails_leaves_nothing_that_looks_made(place: Place) -> None:
    place.failure = "no room"
    with pytest.raises(BuildError, match="no room"):
        place.make()
    assert [path.name for path in place.cache.iterdir()] == ["lock"]
    place.failure = ""
    assert os.access(place.make(), os.X_OK)


def test_the_newest_are_kept_and_those_that_may_be_in_use(place: Place) -> None:
    made: list[Path] = []
    for number in range(6):
        made.append(place.make())
        if number != 1:
            long_ago = time.time() - 7200 + number
            os.utime(made[-1].parent, (long_ago, long_ago))
        place.change()
    place.make()

    assert [path.exists() for path in made] == [False, True, False, False, False, True]


def test_without_go_the_cure_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_go(wanted: str, _environment: object) -> None:
        raise BuildError(f"Go {wanted} or newer is needed", code=3)

    monkeypatch.setattr(plugin, "find_go", find_go)
    with pytest.raises(BuildError, match="is needed") as caught:
        place.make()
    assert caught.value.code == 3


def test_all_that_the_image_installs_is_found_in_this_environment() -> None:
    names = {path.name for path in plugin.installed()}
    assert {"grpc", "google", "aiohttp", "msgspec", "yaml"} <= names
