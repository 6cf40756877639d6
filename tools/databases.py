"""Provide PostgreSQL and MariaDB to the tests of the recipes that quiet them, without installing or starting anything.

    python tools/databases.py               fetch what is missing; prints a line `NAME DIRECTORY` for each, where its programs are
    python tools/databases.py --print       only print those that are here already

Programs on PATH, and PostgreSQL where Debian puts it, win. Else the packages of this machine's Debian are unpacked into
`${XDG_CACHE_HOME:-~/.cache}/datamover/databases/<name>` (9 MB to fetch for MariaDB, 40 MB for PostgreSQL).

Exit codes: 0 both are here; 1 one cannot be had; 2 wrong arguments; 4 `--print` and one is not here yet.

Standard library only: it runs before anything is installed.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from debian_packages import FetchError, unpack_packages
from locks import locked


@dataclass(frozen=True)
class Database:
    """A database: its programs, where an installed one may be, and the packages with the libraries that a small Debian has not."""

    programs: tuple[str, ...]
    packages: tuple[str, ...]
    installed: str = ""


DATABASES = {
    "postgresql": Database(
        ("postgres", "initdb", "psql"),
        ("postgresql-15", "postgresql-client-15", "libpq5", "libicu72", "libxml2", "libxslt1.1", "libldap-2.5-0", "libsasl2-2"),
        installed="usr/lib/postgresql/*/bin",
    ),
    "mariadb": Database(
        ("mariadbd", "mariadb-install-db", "mariadb"),
        (
            "mariadb-server-core", "mariadb-client-core", "libmariadb3",
            "libaio1", "libnuma1", "liburing2", "libedit2", "libncurses6",
        ),
    ),
}  # fmt: skip
ROOT = Path("/")


def find_databases(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the directories of the databases that are here."""
    found = {name: _find(name, database, environment) for name, database in DATABASES.items()}
    return {name: where for name, where in found.items() if where is not None}


def _find(name: str, database: Database, environment: Mapping[str, str]) -> Path | None:
    on_path = [shutil.which(each, path=environment.get("PATH")) for each in database.programs]
    if all(on_path):
        return Path(on_path[0] or "").parent
    installed = sorted(ROOT.glob(database.installed)) if database.installed else []
    kept = cache_directory(name, environment) / "bin"
    return next((each for each in (*installed, kept) if _has_all(each, database)), None)


def _has_all(folder: Path, database: Database) -> bool:
    return all(os.access(folder / each, os.X_OK) for each in database.programs)


def cache_directory(name: str, environment: Mapping[str, str]) -> Path:
    """Return where a fetched database is kept."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "databases" / name


def provide_databases(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return both, after fetching what is missing. Raises FetchError."""
    for name in DATABASES:
        if name not in find_databases(environment):
            target = cache_directory(name, environment)
            with locked(target.with_suffix(".lock"), say):
                if name not in find_databases(environment):
                    _fetch(name, target)
    return find_databases(environment)


def _fetch(name: str, target: Path) -> None:
    say(f"fetching Debian's packages of {name}")
    database = DATABASES[name]
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        try:
            tree = unpack_packages(database.packages, place=Path(scratch))
        except FetchError as error:
            raise FetchError(f"{name}: {error}. Cure: install it, so that its programs are on PATH") from error
        fresh = Path(scratch) / "fresh"
        (fresh / "bin").mkdir(parents=True)
        tree.rename(fresh / "tree")
        libraries = sorted({each.parent.relative_to(fresh) for each in fresh.glob("tree/**/lib*.so*")})
        shown = ":".join(str(target / each) for each in libraries)
        for each in database.programs:
            program = next((found for found in fresh.glob(f"tree/**/{each}") if os.access(found, os.X_OK)), None)
            if program is None:
                raise FetchError(f"{name}: the packages have no {each}")
            wrapper = fresh / "bin" / each
            wrapper.write_text(
                f'#!/bin/sh\nLD_LIBRARY_PATH="{shown}"\nexport LD_LIBRARY_PATH\nexec "{target / program.relative_to(fresh)}" "$@"\n'
            )
            wrapper.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)  # one that lacks a program
        fresh.rename(target)


def say(message: str) -> None:
    """Tell the user on stderr; stdout is for the answer."""
    print(f"databases: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


def main() -> int:
    """Fetch or find, and print; returns the exit code."""
    parser = argparse.ArgumentParser(description="Provide PostgreSQL and MariaDB without installing them.")
    parser.add_argument("--print", action="store_true", help="only print those that are here already")
    chosen = parser.parse_args()
    try:
        found = find_databases(os.environ) if chosen.print else provide_databases(os.environ)
    except FetchError as error:
        say(str(error))
        return 1
    for name, where in found.items():
        print(name, where)  # noqa: T201 - the answer
    return 0 if len(found) == len(DATABASES) else 4


if __name__ == "__main__":
    sys.exit(main())
