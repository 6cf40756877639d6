"""What shells are offered. The table speaks as the scripts do; one test loads a script into a real shell."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from datamover.cli.main import main

PROGRAM = f"""#!{sys.executable}
import sys
sys.argv[0] = "datamover"
from datamover.cli.main import main
main()
"""


def offer(shell: str, *words: str, index: int | None = None) -> list[str]:
    """Return what is offered for the last word, or that of the index."""
    environment = {
        "_DATAMOVER_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(("datamover", *words)),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) if index is None else index),
    }
    return CliRunner().invoke(main, prog_name="datamover", env=environment).output.splitlines()


OFFERED = {
    "the commands": (
        ("",),
        [
            "plain,cancel",
            "plain,cat",
            "plain,completion",
            "plain,crds",
            "plain,demo",
            "plain,diff",
            "plain,get",
            "plain,hcp",
            "plain,local",
            "plain,ls",
            "plain,migrate",
            "plain,operator",
            "plain,points",
            "plain,restore",
            "plain,run",
            "plain,state",
            "plain,upload",
            "plain,verify",
        ],
    ),
    "a command that is begun": (("lo",), ["plain,local"]),
    "a command of a group": (("local", ""), ["plain,up"]),
    "an option that is begun": (("run", "--vo"), ["plain,--volume"]),
    "words of an option": (("run", "-o", ""), ["plain,table", "plain,json"]),
    "words behind a sign": (("run", "--output", "=", "j"), ["plain,json"]),
    "words behind a sign at once": (("run", "--output", "="), ["plain,table", "plain,json"]),
    "files": (("run", "-f", "./b"), ["file,./b"]),
    "a directory": (("run", "--state", "./s"), ["dir,./s"]),
    "a directory behind a sign": (("run", "--state", "=", "./s"), ["dir,./s"]),
    "the directory of a volume": (("run", "--volume", "app-data", "=", "./d"), ["dir,./d"]),
    "the directory of a volume, nothing of it yet": (("run", "--volume", "app-data", "="), ["dir,"]),
    "the directory of a volume behind a sign": (("run", "--volume", "=", "app-data", "=", "./d"), ["dir,./d"]),
    "the name of a volume": (("run", "--volume", "app"), [""]),
    "shells": (("completion", ""), ["plain,bash", "plain,zsh", "plain,fish"]),
}


@pytest.mark.parametrize("case", OFFERED)
def test_bash_is_offered(case: str) -> None:
    words, wanted = OFFERED[case]
    assert offer("bash", *words) == wanted


def test_bash_counts_a_word_that_is_not_there_yet() -> None:
    assert offer("bash", "local", index=2) == ["plain,up"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_that_keep_a_sign_in_its_word_are_offered_the_directory(shell: str) -> None:
    output = "\n".join(offer(shell, "run", "--volume", "app-data=./d"))
    assert "dir" in output
    assert "./d" in output
    assert "app-data" not in output, "the script puts it before the path"


def script(shell: str) -> str:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_the_program_it_is_for(shell: str) -> None:
    text = script(shell)
    assert f"_DATAMOVER_COMPLETE={shell}_complete" in text
    assert "datamover" in text


def test_the_words_that_we_change_in_scripts_are_still_there() -> None:
    assert script("zsh").count("compset -P '*='\n    for type key descr") == 1
    assert "compadd -U" not in script("zsh"), "`--output=j` became `json`"
    assert "compadd -V" in script("zsh")


FISH = {
    "datamover run --volume app-data=d": {"app-data=data/"},
    "datamover run --volume=app-data=d": {"--volume=app-data=data/"},
    "datamover run --output=": {"--output=table", "--output=json"},
    "datamover run --output=j": {"--output=json"},
    "datamover run -o ": {"table", "json"},
    "datamover run -f b": {"backup.yaml"},
    "datamover run --filename=b": {"--filename=backup.yaml"},
    "datamover run --state=d": {"--state=data/"},
    "datamover completion ": {"bash", "zsh", "fish"},
    "datamover local ": {"up"},
}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_whole_words_with_whole_descriptions(tmp_path: Path) -> None:
    (tmp_path / "datamover").write_text(PROGRAM)
    (tmp_path / "datamover").chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "backup.yaml").write_text("")
    lines = [*FISH, "datamover run --vol"]
    code = "datamover completion fish | source\n" + "".join(f"complete -C '{line}'; echo @@\n" for line in lines)
    environment = {"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb"}
    ended = subprocess.run(
        ["fish", "--no-config", "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    *offered, described, _ = ended.stdout.split("@@\n")
    found = {
        line: {word.partition("\t")[0] for word in text.split("\n") if word}
        for line, text in zip(FISH, offered, strict=True)
    }
    assert found == FISH
    assert "such as app-data=./data. It is only read. May be repeated." in described


LOADED = {
    "bash": """
        source <(datamover completion bash)
        compopt() { :; }
        COMP_WORDS=(datamover lo) COMP_CWORD=1
        _datamover_completion datamover
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": "autoload -Uz compinit; compinit -D -u; source <(datamover completion zsh); whence -w _datamover_completion",
    "fish": "datamover completion fish | source; complete -C 'datamover lo'",
}


@pytest.mark.parametrize("shell", LOADED)
def test_a_shell_takes_its_script_without_complaint(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = tmp_path / "datamover"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = {"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb"}
    ended = subprocess.run(
        [shell, *plain, "-c", LOADED[shell]], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert ended.stderr == ""
    assert ended.stdout.split()[0] in {"local", "_datamover_completion:"}
