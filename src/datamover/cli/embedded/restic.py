"""restic for the embedded world: the one that is there, else Debian's, fetched once by hash into the tool cache.

Looked for in this order: the program that `DATAMOVER_RESTIC` names; `restic` on PATH where it is new enough; the tool cache; a mirror of
Debian. Nothing is installed, and root is not needed. A machine that has no restic and reaches no mirror gets ResticMissing, which a
caller may turn into an act that is skipped.

Guarantees: nothing happens at import; two processes that fetch at the same time end with one whole program; a fetch that was interrupted
leaves nothing that is taken for a program; without a network nothing hangs for more than half a minute for each mirror.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datamover.cli.embedded.debian import Package, PackageError, architecture, fetch, find_mirrors, unpack

OLDEST: Final = (0, 18)
VARIABLE: Final = "DATAMOVER_RESTIC"
CURE: Final = f"install restic 0.18 or newer, or name one in {VARIABLE}"
PACKAGES: Final = {
    "amd64": Package(
        name="restic",
        version="0.18.0-1+b4",
        path="pool/main/r/restic/restic_0.18.0-1+b4_amd64.deb",
        size=8128336,
        sha256="4888fb20b272a28b84ac39171b7d7f0d9a58c2aeae51ec28e54684648d66e12c",
    ),
    "arm64": Package(
        name="restic",
        version="0.18.0-1+b4",
        path="pool/main/r/restic/restic_0.18.0-1+b4_arm64.deb",
        size=7284636,
        sha256="3877c6ef8efe052e80a6417b0ac0a672e644fd8bf5ef14e8b803ab6744e43be2",
    ),
}
"""Debian 13's, by architecture. Programs of it run on every glibc of 2022 and later."""
_SECONDS: Final = 20.0


class ResticMissing(Exception):  # noqa: N818 - it says what is the case
    """There is no restic here, and none can be fetched. The message says why, and the cure."""


def find_restic(environment: Mapping[str, str]) -> Path | None:
    """Return a restic that is here already, or None. Raises ResticMissing where the one that is named cannot be used."""
    named = environment.get(VARIABLE)
    if named:
        program = Path(named).expanduser()
        version = read_version(program)
        if version is None or version < OLDEST:
            told = "is no restic" if version is None else f"is restic {'.'.join(map(str, version))}"
            raise ResticMissing(f"{VARIABLE}={named} {told}: {CURE}")
        return program.absolute()
    found = shutil.which("restic", path=environment.get("PATH"))
    if found and (read_version(Path(found)) or (0, 0)) >= OLDEST:
        return Path(found)
    kept = kept_program(environment)
    return kept if kept is not None and os.access(kept, os.X_OK) else None


def provide_restic(environment: Mapping[str, str]) -> Path:
    """Return a restic, fetched where there is none yet. Raises ResticMissing. Blocks: a caller with a loop gives it a thread."""
    found = find_restic(environment)
    if found is not None:
        return found
    kept = kept_program(environment)
    if kept is None:
        raise ResticMissing(f"there is no restic here, and none that can be fetched for this machine: {CURE}")
    try:
        with _locked(kept.parent.parent):
            if not os.access(kept, os.X_OK):  # another process may have been quicker
                _fetch_into(kept, environment)
    except (PackageError, OSError) as error:
        raise ResticMissing(f"there is no restic here, and it cannot be fetched ({error}): {CURE}") from error
    return kept


def kept_program(environment: Mapping[str, str]) -> Path | None:
    """Return where the fetched program is kept; None where no package is pinned for this machine. A new pin is a new place."""
    package = PACKAGES.get(architecture() or "")
    if package is None:
        return None
    return cache_directory(environment) / "restic" / package.sha256[:16] / "restic"


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return the tool cache."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover"


def read_version(program: Path) -> tuple[int, ...] | None:
    """Return the version that a restic reports; None where it is none or does not answer."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program
            [program, "version"], capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"restic (\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return tuple(int(each) for each in match.groups(default="0")) if match and done.returncode == 0 else None


def _fetch_into(kept: Path, environment: Mapping[str, str]) -> None:
    package = PACKAGES[architecture() or ""]
    content = fetch(package, find_mirrors(environment))
    with tempfile.TemporaryDirectory(dir=kept.parent.parent, prefix=".new-") as scratch:
        tree = Path(scratch).resolve()
        unpack(content, tree)
        program = tree / "usr" / "bin" / "restic"
        if (read_version(program) or (0, 0)) < OLDEST:
            raise PackageError(f"the program of {package.file_name} does not run on this machine")
        kept.parent.mkdir(exist_ok=True)
        program.replace(kept)


@contextmanager
def _locked(directory: Path) -> Generator[None]:
    """Hold a directory against other processes. The lock ends with the process."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
