"""Arguments that the commands over a bucket share."""

import click
import pytest
from click.testing import CliRunner

from datamover.cli.exits import Verdict
from datamover.cli.points import reading, restoring, verifying
from datamover.cli.points.commands import COMMANDS
from datamover.cli.points.restore_command import restore
from datamover.cli.points.verify_command import verify
from datamover.cli.points.work import Exit

WITH_A_POINT = {command.name: command for command in (*COMMANDS, restore, verify) if command.name != "points"}


@pytest.mark.parametrize("name", WITH_A_POINT)
def test_disturbed_means_the_same_everywhere(name: str) -> None:
    def words(command: click.Command) -> list[str | None]:
        return [each.help for each in command.params if isinstance(each, click.Option) and each.name == "disturbed"]

    assert words(WITH_A_POINT[name]) == words(restore)
    assert len(words(restore)) == 1


@pytest.mark.parametrize("path", ["../x", "a/../b", "a//b", "a/./b"])
@pytest.mark.parametrize("name", ["ls", "cat", "get"])
def test_what_is_no_path_is_told_before_the_bucket_is_asked(name: str, path: str) -> None:
    rest = ["here"] if name == "get" else []
    said = CliRunner().invoke(WITH_A_POINT[name], ["latest", path, *rest], env={"BUCKET_NAME": None})
    assert said.exit_code == 2
    assert "is no path within a volume" in said.output


@pytest.mark.parametrize("name", ["get", "restore", "verify"])
def test_what_became_of_the_data_is_told_also_when_the_output_cannot_be_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, act in ((reading, "bring"), (restoring, "perform"), (verifying, "verify_point")):
        monkeypatch.setattr(module, act, lambda *_, **__: Exit.DONE)
    arguments = {"get": ["latest", "a", "here"], "restore": ["latest", "here"], "verify": ["latest"]}[name]
    with pytest.raises(SystemExit) as ended:
        WITH_A_POINT[name].main(arguments, standalone_mode=False)
    assert isinstance(ended.value.code, Verdict)
    assert ended.value.code == 0
