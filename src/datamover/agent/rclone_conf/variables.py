"""Which variables reach rclone, and which of them nothing is begun with. Pure.

The user's own `RCLONE_` variables count, as they always did with this mover: they may also choose what is moved and how. Three kinds do not
reach rclone: those that run programs (a Secret may not say what is run), those with which nothing would be moved or a server be
opened, and those by which the agent reads the log. What each variable does is in the table of the other rclone engine.
"""

import csv
import io
from collections.abc import Mapping

from datamover.agent.rclone import engine_options, options
from datamover.agent.rclone.configuration import runs_program
from datamover.api import rclone_conf, transfer

REFUSED = frozenset({"DRY_RUN", "INTERACTIVE", "RC", "CPUPROFILE", "MEMPROFILE"})
REFUSED_PREFIXES = ("RC_", "METRICS_")
_OURS_ONLY = frozenset({rclone_conf.CONFIG, rclone_conf.SECTION, rclone_conf.DESTINATION_PATH})
"""The contract's variables, which rclone would read as others; `RCLONE_CONFIG` is set anew."""
_LOGGING = engine_options.find_rule("LOG_LEVEL")
_WITHOUT_MEANING = frozenset({"HELP", "VERSION", "ASK_PASSWORD", "AUTO_CONFIRM"})
_OFF = frozenset({"", "0", "f", "false", "off"})
_SWITCHES = frozenset({"DRY_RUN", "INTERACTIVE", "RC"})
DEFAULTS = {
    "RCLONE_TRANSFERS": "10",
    "RCLONE_CHECKSUM": "true",
    "RCLONE_ONE_FILE_SYSTEM": "true",
    "RCLONE_CREATE_EMPTY_SRC_DIRS": "true",
}
"""What holds unless the Secret says otherwise."""
STATS_SECONDS = 20.0
LEFT_OUT = ("/lost+found/**", f"/{rclone_conf.ACL_FILE}", f"/{rclone_conf.ACL_FILE}/**")
"""What file systems keep at their top for themselves, and the file of ACLs, which is moved by itself."""
_LISTS = ("RCLONE_FILES_FROM", "RCLONE_FILES_FROM_RAW", "RCLONE_FILES_FROM0")


def find_problems(environ: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the variables of the Secret."""
    problems: list[str] = []
    for variable, value in sorted(environ.items()):
        option = variable.removeprefix(rclone_conf.PREFIX)
        if option == variable or not value.strip():
            continue
        if runs_program(option):
            problems.append(
                f"{variable} is set: it runs a program in the mover, and a Secret may not say what is run. Remove it from the Secret"
            )
        elif parameter := transfer.find_program(value):
            problems.append(
                f"{variable} has the parameter {parameter!r}: it runs a program in the mover, and a Secret may not say what is run. Remove it from the Secret"
            )
        elif option in REFUSED or option.startswith(REFUSED_PREFIXES):
            if option in _SWITCHES and value.strip().lower() in _OFF:
                continue
            problems.append(
                f"{variable} is set: nothing would be moved, or a server be opened in the mover. Remove it from the Secret"
            )
        elif option == "DUMP" and (problem := engine_options.find_problems({variable: value})):
            problems += problem
    return problems


def engine_variables(environ: Mapping[str, str], *, config: str, scratch: str, authorities: str) -> dict[str, str]:
    """Return rclone's environment for moving. `config` is the copy of rclone.conf, `authorities` a file of certificates or empty."""
    kept: dict[str, str] = {}
    for variable, value in environ.items():
        option = variable.removeprefix(rclone_conf.PREFIX)
        if variable in _OURS_ONLY:
            continue
        if option != variable:
            rule = engine_options.find_rule(option)
            if not value.strip() or option in REFUSED | _WITHOUT_MEANING or (rule is not None and rule is _LOGGING):
                continue
        elif variable != "PATH" and transfer.runs_programs(variable):
            continue
        kept[variable] = value
    kept.pop("JOURNAL_STREAM", None)  # would turn the JSON log into one for the journal
    for variable, value in DEFAULTS.items():
        kept.setdefault(variable, value)
    if authorities:
        kept.setdefault("RCLONE_CA_CERT", authorities)
    if not any(
        name in kept for name in _LISTS
    ):  # a list of files stands for itself, and rclone wants nothing beside it
        kept["RCLONE_EXCLUDE"] = _joined(kept.get("RCLONE_EXCLUDE", ""), LEFT_OUT)
    kept |= {
        rclone_conf.CONFIG: config,
        "HOME": scratch,
        "TMPDIR": scratch,
        "RCLONE_CACHE_DIR": kept.get("RCLONE_CACHE_DIR", f"{scratch}/cache"),
        "RCLONE_ASK_PASSWORD": "false",
        "RCLONE_LOG_LEVEL": max(options.wanted_level(environ), "INFO", key=options.LEVELS.index),
    }
    return kept | options.LOG


def _joined(given: str, more: tuple[str, ...]) -> str:
    """Return a list as rclone reads one from a variable: CSV."""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(more)
    return f"{given},{written.getvalue()}" if given else written.getvalue()


def for_one_file(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a command about one file: nothing that chooses among files, limits moving or forbids replacing."""
    return options.for_checking(options.without_filters(environment))
