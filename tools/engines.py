"""Provide the engines of the movers to tests: restic, rsync, stunnel and OpenSSH of replication, and qemu-img, which converts images of disks.

    python tools/engines.py                 fetch what is missing; prints a line `NAME PATH` for each program
    python tools/engines.py --print         only print those that are here already
    python tools/engines.py lock            write the pins anew, from the signed lists of Debian (needs apt)
    python tools/engines.py stage           put them into the system that this runs in, without installing: for a stage of an image's build

A program on PATH (or in /usr/sbin, where sshd is) wins, restic where it is 0.18 or newer. Else Debian's packages are unpacked, without root,
into `${XDG_CACHE_HOME:-~/.cache}/datamover/engines/<key>` (about 18 MB to fetch): libraries lie beside the programs, and nothing is started.

Packages are pinned by hash in requirements/engines.json. Debian removes a version when a newer one is out: then the newer one is taken, which
apt vouches for, and that is said; `lock` renews the pins.

Exit codes: 0 all are here; 1 some cannot be had; 2 wrong arguments; 4 `--print` and some are not here yet.

Standard library only: it runs before anything is installed.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from locks import locked

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "src"))

from datamover.cli.embedded.debian import (  # noqa: E402 - where it lies is said above
    Package,
    PackageError,
    PackageGoneError,
    architecture,
    fetch,
    find_mirrors,
    unpack,
)
from datamover.cli.embedded.restic import PACKAGES as RESTIC  # noqa: E402
from datamover.cli.embedded.restic import ResticMissing, find_restic, provide_restic  # noqa: E402

PINS = ROOT / "requirements" / "engines.json"
SUITE = "bookworm"  # that of the images' base; its programs run on later ones too
ARCHITECTURES = ("amd64", "arm64")
PROGRAMS = {
    "rsync": ("usr/bin/rsync",),
    "stunnel": ("usr/bin/stunnel4",),
    "sshd": ("usr/sbin/sshd",),
    "ssh": ("usr/bin/ssh",),
    "ssh-keygen": ("usr/bin/ssh-keygen",),
    "qemu-img": ("usr/bin/qemu-img",),
}
NAMES = ("restic", *PROGRAMS)
PACKAGES = (
    "rsync", "libpopt0", "libxxhash0",
    "stunnel4", "libwrap0", "libnsl2", "libtirpc3",
    "openssh-server", "openssh-client", "libgssapi-krb5-2", "libkrb5-3", "libkrb5support0", "libk5crypto3", "libcom-err2", "libkeyutils1",
    "qemu-utils", "libaio1", "liburing2", "libnuma1", "libglib2.0-0",
)  # fmt: skip
"""The programs, and of their libraries those that a minimal Debian has not."""
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")  # where sshd is, and what a user has not on PATH
SECONDS = 120.0
CURE = "apt-get install restic rsync stunnel4 openssh-server openssh-client qemu-utils (restic 0.18 or newer), or run `make engines`"


class FetchError(Exception):
    """Some engine cannot be had. The message says the cure."""


def find_engines(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the programs that are here: on PATH, else in the cache."""
    path = os.pathsep.join((environment.get("PATH", ""), *SYSTEM_FOLDERS))
    kept = kept_directory(environment)
    found: dict[str, Path] = {}
    try:
        restic = find_restic(environment)
    except ResticMissing as error:
        say(str(error))
    else:
        found |= {"restic": restic} if restic else {}
    for name in PROGRAMS:
        there = shutil.which(name, path=path) or shutil.which(f"{name}4", path=path)
        if there is None and kept is not None:
            there = shutil.which(name, path=str(kept / "bin"))
        if there is not None:
            found[name] = Path(there)
    return found


def kept_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where fetched programs are kept; None where none are pinned for this machine. New pins are a new place."""
    pins = read_pins().get(architecture() or "")
    if not pins:
        return None
    key = hashlib.sha256("\n".join(each.sha256 for each in pins).encode()).hexdigest()[:16]
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "engines" / key


def read_pins() -> dict[str, list[Package]]:
    """Return the pinned packages by architecture."""
    return {key: [Package(**each) for each in found] for key, found in json.loads(PINS.read_text("utf-8")).items()}


def provide_engines(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return all programs, after fetching what is missing. Raises FetchError."""
    found = find_engines(environment)
    if "restic" not in found:
        try:
            found["restic"] = provide_restic(environment)
        except ResticMissing as error:
            raise FetchError(str(error)) from error
    if set(found) >= set(NAMES):
        return found
    kept = kept_directory(environment)
    if kept is None:
        raise FetchError(f"no packages are pinned for this machine. Cure: {CURE}")
    with locked(kept.with_suffix(".lock"), say):
        if not kept.is_dir():
            say(f"fetching Debian's packages for {', '.join(name for name in NAMES if name not in found)}")
            _fetch_into(kept, environment)
    found = find_engines(environment)
    if missing := [name for name in NAMES if name not in found]:
        raise FetchError(f"{' and '.join(missing)} cannot be had. Cure: {CURE}")
    return found


def _fetch_into(kept: Path, environment: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as scratch:
        fresh = Path(scratch).resolve() / "engines"
        try:
            for package in read_pins()[architecture() or ""]:
                unpack(_read_package(package, environment), fresh / "tree" / package.name)
        except (PackageError, OSError) as error:
            raise FetchError(f"{error}. Cure: {CURE}") from error
        (fresh / "bin").mkdir()
        (fresh / "lib").mkdir()
        for library in fresh.glob("tree/*/**/*.so.*"):
            shutil.copy(library, fresh / "lib" / library.name)
        for name, places in PROGRAMS.items():
            program = next(each for place in places for each in fresh.glob(f"tree/*/{place}"))
            wrapper = fresh / "bin" / name
            wrapper.write_text(
                "#!/bin/sh\n"
                f'LD_LIBRARY_PATH="{kept / "lib"}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\nexport LD_LIBRARY_PATH\n'
                f'exec "{kept / program.relative_to(fresh)}" "$@"\n',
                encoding="utf-8",
            )
            wrapper.chmod(0o755)
        fresh.rename(kept)


def _read_package(package: Package, environment: Mapping[str, str]) -> bytes:
    """Return a package's file: the pinned one, or where that is gone the one that apt vouches for. Raises PackageError."""
    try:
        return fetch(package, find_mirrors(environment))
    except PackageGoneError:
        if shutil.which("apt-get") is None:
            raise
    say(
        f"{package.file_name} is no longer there; taking the one of this machine's apt. Renew the pins: python tools/engines.py lock"
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        _run("apt-get", "update", "-qq", place=place)
        _run("apt-get", "download", "-qq", package.name, place=place)
        return next(place.glob("*.deb")).read_bytes()


# The stage of an image -----------------------------------------------------------------------------------------------------


def stage(environment: Mapping[str, str]) -> None:
    """Unpack all packages that are not there into the running system, with their records for `rootfs.py`. Nothing of them is run.

    Raises FetchError.
    """
    machine = architecture() or ""
    with tempfile.TemporaryDirectory() as scratch:
        files: list[str] = []
        try:
            for package in (RESTIC[machine], *read_pins()[machine]):
                if _installed(package.name):
                    continue
                file = Path(scratch) / package.file_name
                file.write_bytes(_read_package(package, environment))
                files.append(str(file))
        except (KeyError, PackageError, OSError) as error:
            raise FetchError(f"{error}. Cure: python tools/engines.py lock") from error
        options = ("--force-depends", "--force-overwrite", "--no-triggers")
        _run("dpkg", "--unpack", *options, *files, place=Path(scratch))


def _installed(name: str) -> bool:
    try:
        return "install ok" in _run("dpkg-query", "--show", "--showformat=${Status}", name, place=Path("/"))
    except PackageError:
        return False


# The pins ------------------------------------------------------------------------------------------------------------------


def lock(environment: Mapping[str, str]) -> dict[str, list[Package]]:
    """Return the newest packages of the suite, from lists whose signatures apt has checked. Raises FetchError."""
    mirror = next(iter(find_mirrors(environment)), None)
    if mirror is None or shutil.which("apt-get") is None:
        raise FetchError("pins are written on a Debian machine")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        place.chmod(0o755)
        try:
            pins = {each: _newest(place / each, PACKAGES, machine=each, mirror=mirror) for each in ARCHITECTURES}
        except PackageError as error:
            raise FetchError(str(error)) from error
    return pins


def _newest(place: Path, names: Sequence[str], *, machine: str, mirror: str) -> list[Package]:
    for folder in ("lists/partial", "cache/archives/partial"):
        (place / folder).mkdir(parents=True)
    (place / "status").touch()
    (place / "sources.list").write_text(
        f"deb {mirror} {SUITE} main\ndeb {mirror}-security {SUITE}-security main\n", encoding="utf-8"
    )
    settings = {
        "APT::Architecture": machine,
        "APT::Architectures": machine,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::Cache": str(place / "cache"),
        "Dir::Etc::sourcelist": str(place / "sources.list"),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": str(place / "lists"),
        "Dir::State::status": str(place / "status"),
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    _run("apt-get", "update", "-qq", *options, place=place)
    shown = _run("apt-cache", "show", "--no-all-versions", *names, *options, place=place)
    stanzas = [dict(re.findall(r"^(\S+): (.*)$", stanza, re.MULTILINE)) for stanza in shown.strip().split("\n\n")]
    found = {fields["Package"]: fields for fields in stanzas}
    return [_package(found[name]) for name in names]


def _package(fields: Mapping[str, str]) -> Package:
    path = fields["Filename"]
    archive = "debian-security" if path.startswith("pool/updates/") else "debian"
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        path=path,
        size=int(fields["Size"]),
        sha256=fields["SHA256"],
        archive=archive,
    )


def say(message: str) -> None:
    """Tell the user on stderr; stdout is for the answer."""
    print(f"engines: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


def _run(*command: str, place: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - arguments are ours
            command, cwd=place, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"`{' '.join(command[:3])}` failed: {error}") from error
    if done.returncode != 0:
        raise PackageError(f"`{' '.join(command[:3])}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def main() -> int:
    """Fetch or find, and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Provide restic, rsync, stunnel, OpenSSH and qemu-img without installing them."
    )
    parser.add_argument("command", nargs="?", choices=["fetch", "lock", "stage"], default="fetch")
    parser.add_argument("--print", action="store_true", help="only print those that are here already")
    chosen = parser.parse_args()
    try:
        if chosen.command == "lock":
            pins = {machine: [asdict(each) for each in found] for machine, found in lock(os.environ).items()}
            PINS.write_text(json.dumps(pins, indent=1) + "\n", encoding="utf-8")
            return 0
        if chosen.command == "stage":
            stage(os.environ)
            return 0
        found = find_engines(os.environ) if chosen.print else provide_engines(os.environ)
    except (FetchError, PackageError) as error:
        say(str(error))
        return 1
    for name, path in found.items():
        print(name, path)  # noqa: T201 - the answer
    return 0 if set(found) >= set(NAMES) else 4


if __name__ == "__main__":
    sys.exit(main())
