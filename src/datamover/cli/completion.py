"""Completion in shells. click knows the commands and options; here is what it leaves out: directories behind a `=`, as in `--volume NAME=DIR`.

Assumptions: the shells' own scripts are click's, so that a newer click brings newer ones; the words changed in them are looked for, and a
script without them stays as it is.
"""

import os
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete, add_completion_class, split_arg_string

_FISH_DIRECTORIES = "__fish_complete_directories $metadata[2];"
_FISH_BEHIND = (
    "for place in (__fish_complete_directories $metadata[2]); echo (string replace -r '[^=]*$' '' -- "
    "(commandline -t))$place; end;"
)


class Bash(BashComplete):
    """bash takes a `=` for a word of its own; click does not know."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being typed, and that one."""
        index = int(os.environ["COMP_CWORD"])
        words = split_arg_string(os.environ["COMP_WORDS"])
        words += [""] * (index + 1 - len(words))
        typed = _join(words[1 : index + 1])
        return typed[:-1], typed[-1]


class Zsh(ZshComplete):
    """What is before a `=` is no part of a path."""

    def source(self) -> str:
        """Return the script."""
        return super().source().replace("_path_files ", "compset -P '*='; _path_files ")


class Fish(FishComplete):
    """A candidate is the whole word, with what is before a `=`."""

    def source(self) -> str:
        """Return the script."""
        return super().source().replace(_FISH_DIRECTORIES, _FISH_BEHIND)


class CompletedGroup(click.Group):
    """A group whose completions are these."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, as click's own does."""
        register()
        return super().main(*args, **kwargs)


def register() -> None:
    """Make click use these classes."""
    for kind in (Bash, Zsh, Fish):
        add_completion_class(kind)


def _join(words: list[str]) -> list[str]:
    """Put back together what bash took apart: `a`, `=`, `b` is `a=b`."""
    joined: list[str] = []
    glued = False
    for word in words:
        if joined and (glued or word.startswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
        glued = word.endswith("=")
    return joined
