"""What is said on a terminal and in a pipe."""

import io

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from datamover.cli import terminal
from datamover.cli.main import main
from datamover.cli.terminal import fit, say, warn

PATH = "/a/path/" + "x" * 60


def console(*, tty: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=tty, width=40, color_system=None)


def said(line: str, *, tty: bool) -> list[str]:
    made = console(tty=tty)
    say(made, line)
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue().splitlines()


def test_a_terminal_gets_whole_words_and_whole_paths() -> None:
    assert said(f"these words are many more than a line has, then {PATH} and more", tty=True) == [
        "these words are many more than a line",
        "has, then",
        PATH,
        "and more",
    ]


def test_a_pipe_gets_one_line() -> None:
    line = f"these words are many more than a line has, then {PATH} and more"
    assert said(line, tty=False) == [line]


def test_lines_and_empty_lines_stay() -> None:
    assert fit(console(tty=True), "\nname: why") == ("", "name: why")


@pytest.mark.parametrize("line", ["[red]x[/red]", "/mnt/a:key:b", "12:34:56"])
@pytest.mark.parametrize("tty", [True, False])
def test_words_are_shown_as_they_are(line: str, *, tty: bool) -> None:
    assert said(line, tty=tty) == [line]


def test_warnings_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    warn("beware")
    assert capsys.readouterr() == ("", "beware\n")


def test_a_group_without_a_command_shows_its_help() -> None:
    result = CliRunner().invoke(main, ["local"])
    assert result.output.startswith("Usage: main local [OPTIONS] COMMAND")
    assert "Error" not in result.output


def test_a_usage_error_keeps_its_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "open_console", lambda *, stderr=False: console(tty=True))
    result = CliRunner().invoke(main, ["run", "-f", "x", "--volume", "app-data=./nowhere"])
    assert result.exit_code == click.UsageError.exit_code
    _, _, shown = result.stderr.partition("\n\n")
    assert shown.splitlines() == [
        "Error: Invalid value for '--volume':",
        "./nowhere does not exist: create the",
        "directory or correct the path",
    ]
