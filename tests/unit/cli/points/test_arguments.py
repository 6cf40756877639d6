"""Arguments that the commands over a bucket share."""

import click
import pytest
from click.testing import CliRunner

from datamover.cli.points.commands import COMMANDS
from datamover.cli.points.restore_command import restore
from datamover.cli.points.verify_command import verify

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
