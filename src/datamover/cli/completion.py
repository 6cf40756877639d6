"""Completion in shells. click completes commands and options; this adds directories after a `=`, as in `--volume NAME=DIR`.

Assumptions: the shells' own scripts are click's, so that a newer click brings newer ones; the words changed in them are looked for, and a
script without them stays as it is.
"""

import json
import os
from collections.abc import Sequence
from typing import Any, Final

import click
from click.exceptions import NoArgsIsHelpError
from click.shell_completion import BashComplete, FishComplete, ZshComplete, add_completion_class, split_arg_string

from datamover.cli.needs import NotInstalled

_WORDS: Final = "datamover.words"
_INTERRUPTED: Final = 130

_FISH: Final = """\
function %(complete_func)s;
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) %(prog_name)s);
    set -l before (string replace -r '[^=]*$' '' -- (commandline -t));

    for completion in $response;
        set -l metadata (string split -m 1 "," -- $completion);

        if test $metadata[1] = "dir";
            for place in (__fish_complete_directories $metadata[2]); echo $before$place; end;
        else if test $metadata[1] = "file";
            for place in (__fish_complete_path $metadata[2]); echo $before$place; end;
        else if test $metadata[1] = "plain";
            echo $before$metadata[2];
        end;
    end;
end;

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)";
"""
"""click's own cuts descriptions at their first comma, and offers nothing behind a `=`: for fish a candidate is the whole word."""

_ZSH_LOOP: Final = "    for type key descr in ${response}; do"
_ZSH_ADD: Final = "compadd -U "
"""`-U` puts a word in the place of all that was typed, so that `--output=j` became `json`."""


class Bash(BashComplete):
    """In bash a `=` is a word of its own, and click does not allow for that."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being typed, and that one."""
        index = int(os.environ["COMP_CWORD"])
        words = split_arg_string(os.environ["COMP_WORDS"])
        words += [""] * (index + 1 - len(words))
        typed = _join(words[1 : index + 1])
        return typed[:-1], typed[-1]


class Zsh(ZshComplete):
    """Completes only what follows a `=`."""

    def source(self) -> str:
        """Return the script."""
        script = super().source().replace(_ZSH_LOOP, f"    compset -P '*='\n{_ZSH_LOOP}")
        return script.replace(_ZSH_ADD, "compadd ")


class Fish(FishComplete):
    """Completes the whole word, including what is before a `=`, and shows whole descriptions."""

    source_template = _FISH


class CompletedGroup(click.Group):
    """The group of our commands: these completions, no traceback at Ctrl-C, and errors as JSON where JSON was asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, as click's own does."""
        register()
        return super().main(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words: a usage error comes before the options are known."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is named."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except (click.UsageError, NotInstalled) as error:
            if _wants_json(ctx.meta.get(_WORDS, ())):
                document: dict[str, Any] = {
                    "exitCode": error.exit_code,
                    "error": error.format_message(),
                    **dict.fromkeys(
                        (
                            "dataMovers",
                            "dataMoverRestores",
                            "dataVolumes",
                            "replicationSources",
                            "replicationDestinations",
                        ),
                        (),
                    ),
                }
                click.echo(json.dumps(document, indent=2))
            raise _fitted(error) from error


def _fitted(error: click.ClickException) -> click.ClickException:
    """Return the same error, with lines broken between words for the terminal."""
    from datamover.cli.terminal import fit, open_console

    if isinstance(error, NoArgsIsHelpError):
        return error  # it shows the help

    head = "Error: "  # what click writes before it
    lines = fit(open_console(stderr=True), f"{head}{error.format_message()}")
    text = "\n".join(lines).removeprefix(head)
    return click.UsageError(text, ctx=error.ctx) if isinstance(error, click.UsageError) else NotInstalled(text)


def _wants_json(words: Sequence[str]) -> bool:
    if words[:1] not in (("run",), ("state",)):
        return False
    pairs = zip(words, (*words[1:], ""), strict=True)
    return any(
        word in ("-ojson", "--output=json") or (word in ("-o", "--output") and after == "json") for word, after in pairs
    )


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
