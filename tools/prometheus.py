"""Fetch Prometheus from the distribution's package, without the daemon that installing it would start.

    python tools/prometheus.py              fetch it where it is missing; the last line is the directory of prometheus and promtool
    python tools/prometheus.py --print      only print the directory where they are already

Both on PATH win. Else the Debian package is unpacked into `${XDG_CACHE_HOME:-~/.cache}/datamover/prometheus` (20 MB to fetch, 100 MB kept).

Exit codes: 0 the directory was printed; 1 they cannot be had; 2 wrong arguments; 4 `--print` and they are not there yet.

Standard library only: it runs before anything is installed.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from debian_packages import FetchError, unpack_packages
from locks import locked

PROGRAMS = ("prometheus", "promtool")
CURE = "install Prometheus, so that prometheus and promtool are on PATH"


def find_programs(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of both programs: on PATH, else in the cache; None where they are not there."""
    found = [shutil.which(name, path=environment.get("PATH")) for name in PROGRAMS]
    if all(found):
        return Path(found[0] or "").parent
    kept = cache_directory(environment)
    return kept if all(os.access(kept / name, os.X_OK) for name in PROGRAMS) else None


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where the programs are kept."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "prometheus"


def fetch(environment: Mapping[str, str]) -> Path:
    """Unpack the package's programs into the cache and return their directory. Raises FetchError."""
    target = cache_directory(environment)
    with locked(target.with_suffix(".lock"), say):
        there = find_programs(environment)
        if there is not None:
            return there
        say("fetching Debian's package")
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            try:
                programs = unpack_packages(["prometheus"], place=Path(scratch)) / "usr" / "bin"
            except FetchError as error:
                raise FetchError(f"{error}. Cure: {CURE}") from error
            for name in PROGRAMS:
                if not os.access(programs / name, os.X_OK):
                    raise FetchError(f"the package has no {name}. Cure: {CURE}")
            shutil.rmtree(target, ignore_errors=True)  # one that lacks a program
            programs.rename(target)
    return target


def say(message: str) -> None:
    """Tell the user on stderr; stdout is for the answer."""
    print(f"prometheus: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


def main() -> int:
    """Fetch or find, and print."""
    parser = argparse.ArgumentParser(description="Fetch Prometheus without starting it.")
    parser.add_argument("--print", action="store_true", help="only print where it is already")
    chosen = parser.parse_args()
    found = find_programs(os.environ)
    if found is None and chosen.print:
        say("not here yet; run: python tools/prometheus.py")
        return 4
    try:
        print(found or fetch(os.environ))  # noqa: T201 - the answer
    except FetchError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
