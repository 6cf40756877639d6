"""The user's rclone.conf, as rclone itself reads it: its sections, what in them may not be, and what in them is secret.

rclone is asked because a reading of ours could differ from its own, and because only it can read a file that is encrypted. What it
answers, and what it says of a file that it cannot read, holds secrets, so none of that is shown.
"""

import os
import re
from collections.abc import Iterator, Mapping

import msgspec

from datamover.agent.environment import lasts
from datamover.agent.errors import Misconfigured, killed_at_once
from datamover.agent.printing import printable, shorten
from datamover.agent.rclone import engine_options, logs, options, process
from datamover.agent.rclone.classify import KILLED
from datamover.agent.redaction import Redactor
from datamover.agent.shell import Surroundings
from datamover.api import outside, rclone_conf, transfer
from datamover.api.outside import Unusable
from datamover.api.variables import texts_in

_PATIENCE = 60.0
_OF_SECRET = f"{rclone_conf.CONFIG_KEY} in the Secret that rcloneConfig names"
_ENCRYPTED = b"RCLONE_ENCRYPT_V0"
_MOST_SECTIONS = 8
_LEVEL = "RCLONE_LOG_LEVEL"
_DEEPEST = 8
"""Remotes behind one another that are followed; a circle is no place at all, as rclone says."""
_WRITTEN = re.compile(r"""(:?[^,:/]+)((?:,[^=,:]+(?:=(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^,:"']*))?)*):(.*)""", re.DOTALL)
"""A remote as rclone writes it: name, parameters, path."""
_PARAMETERS = re.compile(r"""([^=,:]+)=("(?:[^"]|"")*"|'(?:[^']|'')*'|[^,:"']*)""")
_FOLDER_OF = re.compile(r"^[^:=,]*=")
_VERSION = re.compile(r'Version "(v[0-9][\w.+-]{0,40})" starting')
_NEEDED = (
    "PATH",
    "LANG",
    "HOME",
    "TMPDIR",
    "RCLONE_CONFIG",
    "RCLONE_CONFIG_PASS",
    "RCLONE_CACHE_DIR",
    "RCLONE_ASK_PASSWORD",
)
"""Variables with which the file is read: nothing that chooses or limits."""

Sections = dict[str, dict[str, str]]

_decode = outside.Decoder(Sections)


def runs_program(option: str) -> bool:
    """Tell whether an option, by its name without `RCLONE_`, makes rclone run a program."""
    # an option of a remote may be any option: `global.` and `override.` before its name
    rule = engine_options.find_rule(option.rpartition(".")[2])
    return transfer.runs_programs(f"{rclone_conf.PREFIX}{option}") or (
        rule is not None and rule.treatment == engine_options.COMMAND
    )


class Configuration(msgspec.Struct, frozen=True):
    """Sections by name, each with its options. `engine` is the name and version of the rclone that read them."""

    sections: Sections
    engine: str = "rclone"

    def kind(self, section: str, environ: Mapping[str, str]) -> str:
        """Return the backend of a section, such as `s3`; empty where nothing says it. A variable wins over the file, as with rclone."""
        said = environ.get(_type_of(section), "").strip() or self.sections.get(section, {}).get("type", "")
        return said.strip().lower()

    def secrets(self) -> dict[str, str]:
        """Return what is in the file as variables whose names tell what is secret."""
        found: dict[str, str] = {}
        for section, given in self.sections.items():
            for option, value in given.items():
                name = f"{section}_{option}"
                found[name] = value
                # a token is a JSON object, of which each text is secret by itself
                found |= {f"{name}_TOKEN_{number}": text for number, text in enumerate(texts_in(value))}
        return found

    def hide(self, given: Surroundings) -> Surroundings:
        """Return surroundings that keep the secrets of the file out of everything that is said (law L8)."""
        of_file = Redactor(self.secrets())

        def redact(text: str) -> str:
            return of_file(given.redact(text))

        def say(text: str) -> None:
            given.say(redact(text))

        def tell(line: str) -> None:
            given.tell(redact(line))

        return msgspec.structs.replace(given, redact=redact, say=say, tell=tell)

    def problems(self) -> list[str]:
        """Return what may not be in the file."""
        found: list[str] = []
        for section, given in self.sections.items():
            kind = given.get("type", "").strip()
            for option, value in given.items():
                name = option.rpartition(".")[2]
                parameter = transfer.find_program(value)
                # what it is may also be said elsewhere; as S3's, a name is in the table however it is
                names = (f"{kind}_{name}".upper(), f"S3_{name}".upper())
                if parameter or (value.strip() and any(map(runs_program, names))):
                    where = f"{printable(option)} in section [{printable(section)}]"
                    what = f"has the parameter {parameter}" if parameter else "is set"
                    found.append(
                        f"{where} {what}: it runs a program in the mover, and a Secret may not say what is run. Remove it from"
                        f" {rclone_conf.CONFIG_KEY}"
                    )
        return found

    def demand_lasting(self, remote: str, environ: Mapping[str, str]) -> None:
        """Raise Misconfigured when a remote is, or leads to, a place that is gone with the Pod, or is the volume itself."""
        for kind, path in self._ends(remote, environ, depth=0):
            if kind == "memory" or (kind == "local" and not lasts(path)):
                raise Misconfigured(
                    f"{printable(remote)} leads to {'the memory of rclone' if kind == 'memory' else printable(path)}, which is gone with the Pod, or is the volume"
                    " itself. Use the remote of a store; or mount a volume with moverVolumes, and use its path below /mnt."
                )

    def _ends(self, remote: str, environ: Mapping[str, str], *, depth: int) -> Iterator[tuple[str, str]]:
        """Yield kind and path of what a remote leads to, through those that stand before others, such as crypt and alias."""
        match = _WRITTEN.fullmatch(remote)
        if match is None:
            yield "local", remote
            return
        name, written, path = match.groups()
        given = {option.lower(): _unquoted(value) for option, value in _PARAMETERS.findall(written)}
        kind = name[1:].strip().lower() if name.startswith(":") else self.kind(name, environ)
        section = self.sections.get(name, {})
        inner = [
            given.get(option) or environ.get(_variable_of(name, option), "").strip() or section.get(option, "")
            for option in ("remote", "upstreams")
        ]
        ways = [inner[0], *(_FOLDER_OF.sub("", way) for way in inner[1].split())]
        if kind in {"local", "memory"} or not any(ways) or depth > _DEEPEST:
            yield kind, path
            return
        for way in filter(None, ways):
            ending = "" if way.endswith((":", "/")) or not path else "/"
            yield from self._ends(f"{way}{ending}{path}", environ, depth=depth + 1)

    def demand(self, section: str, environ: Mapping[str, str]) -> None:
        """Raise Misconfigured unless there is such a section, in the file or in variables."""
        if section in self.sections or environ.get(_type_of(section), "").strip():
            return
        names = [f"[{each}]" for each in sorted(self.sections)]
        more = f" and {len(names) - _MOST_SECTIONS} more" if len(names) > _MOST_SECTIONS else ""
        listed = ", ".join(shorten(names[:_MOST_SECTIONS], limit=64)) + more if names else "none"
        raise Misconfigured(
            f"{rclone_conf.CONFIG_KEY} has no section [{section}]; there is {listed}. Correct rcloneConfigSection, or the Secret that rcloneConfig"
            " names."
        )


def _type_of(section: str) -> str:
    return _variable_of(section, "type")


def _variable_of(section: str, option: str) -> str:
    return f"RCLONE_CONFIG_{section}_{option}".upper().replace("-", "_")


def _unquoted(value: str) -> str:
    mark = value[:1]
    return value[1:-1].replace(mark * 2, mark) if mark in {'"', "'"} else value


def read_configuration(
    engine: process.Engine, *, environment: Mapping[str, str], named: str = _OF_SECRET
) -> Configuration:
    """Return what rclone reads in its configuration, which people know as `named`. Raises Misconfigured."""
    versions: list[str] = []

    def on_line(line: logs.Line) -> None:
        """Show nothing: what rclone says of a file that it cannot read quotes it."""
        if (match := _VERSION.match(line.msg)) and not versions:
            versions.append(f"rclone {match[1]}")

    # its log begins with its version, which would else take a process of its own
    chosen = {name: environment[name] for name in _NEEDED if name in environment} | options.LOG | {_LEVEL: "DEBUG"}
    child = engine.start(["config", "dump"], environment=chosen, on_line=on_line)
    code = child.wait(timeout=_PATIENCE)
    if code == KILLED:
        raise killed_at_once("rclone", timed_out=child.timed_out)
    try:
        # what rclone does not understand it does not print
        return Configuration(_decode(child.output if code == 0 else b""), *versions)
    except Unusable as error:
        with open(environment[rclone_conf.CONFIG], "rb") as file:  # noqa: PTH123 - as everywhere in the agent
            encrypted = _ENCRYPTED in file.read(4096)
        cure = (
            "it is encrypted: put its password into the Secret's key RCLONE_CONFIG_PASS, or the file itself without encryption"
            if encrypted
            else f"write sections, such as [remote], and lines of the form `option = value` ({error})"
        )
        raise Misconfigured(f"{named} cannot be read: {cure}.") from None


def copy_configuration(source: str, target: str, *, named: str = _OF_SECRET) -> None:
    """Copy the file to where rclone may write to it, as it does when a token is renewed. Raises Misconfigured."""
    try:
        with open(source, "rb") as file:  # noqa: PTH123
            content = file.read(outside.RECORD_LIMIT + 1)
    except OSError as error:
        needed = (
            f" The Secret that rcloneConfig names needs the key {rclone_conf.CONFIG_KEY}."
            if named is _OF_SECRET
            else ""
        )
        raise Misconfigured(f"{named} cannot be read: {error.strerror}.{needed}") from None
    if len(content) > outside.RECORD_LIMIT:
        raise Misconfigured(f"{named} is longer than {outside.RECORD_LIMIT} bytes; keep the section that is used.")
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
