"""Make the plugin for Velero as one file from this checkout, as its image has it, under the Python and with the packages of this environment.

    python tools/plugin.py            make it unless it was made of the same parts before; the last line is its path
    python tools/plugin.py --print    only print the path of the one that is there already

About 6 seconds of one core where Go has compiled its standard library before, else about 30 more, once. Kept in
`${XDG_CACHE_HOME:-~/.cache}/datamover/plugin`, the newest few and those of the last hour, by all that goes in: the modules, the packages' versions, the Python, the way of making.

Exit codes: 0 the path was printed; 1 it cannot be made; 2 wrong arguments; 3 no Go new enough; 4 `--print`, and there is none.
"""

import argparse
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from build import BuildError, find_go
from locks import locked

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "deploy/images/plugin"
PACKAGES = (ROOT / "src/datamover", ROOT / "src/kubekit")
REQUIREMENTS = ROOT / "requirements/plugin.txt"
NAME = "datamover-velero-plugin"
KEPT = 3
IN_USE = 3600.0
"""Seconds: who has asked for a file may run it for so long."""
GO_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=")


def say(message: str) -> None:
    """Tell the user on stderr; stdout carries the path alone."""
    print(f"plugin: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


def pinned() -> list[str]:
    """Return the names of the packages that the image installs."""
    return re.findall(r"^([a-z0-9-]+)==", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)


def installed() -> list[Path]:
    """Return the folders and modules of those packages. Raises BuildError when one is not in this environment."""
    found: set[Path] = set()
    for name in pinned():
        distribution = _distribution(name)
        files = [Path(str(file)) for file in distribution.files or []]
        tops = {file.parts[0] for file in files if file.suffix in {".py", ".so"}}
        found |= {Path(str(distribution.locate_file(top))) for top in tops}
    return sorted(found)


def _distribution(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as missing:
        raise BuildError(f"{name} is not in this environment; run 'make setup'") from missing


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where files are kept."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "plugin"


def key_of(*files: Path, words: tuple[str, ...]) -> str:
    """Return a key that changes with the contents of files, their names, and words."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{content}\n".encode())
    digest.update("\0".join(words).encode())
    return digest.hexdigest()[:16]


def launcher_key() -> str:
    """Return the key of the static program."""
    return key_of(*SOURCES.glob("*.go"), SOURCES / "go.mod", words=(platform.machine(), *GO_FLAGS))


def file_key() -> str:
    """Return the key of the file."""
    versions = [f"{name}=={_distribution(name).version}" for name in pinned()]
    modules = [path for folder in PACKAGES for path in folder.rglob("*.py")]
    python = (sys.version, sys.base_prefix, str(Path(sys.base_prefix).resolve().stat().st_mtime_ns))
    return key_of(*modules, *SOURCES.glob("*.py"), words=(launcher_key(), *versions, *python))


def find(environment: Mapping[str, str]) -> Path:
    """Return the file that is there already. Raises BuildError (code 4) when there is none of this checkout."""
    found = cache_directory(environment) / file_key() / NAME
    if not os.access(found, os.X_OK):
        raise BuildError("not made yet; run: python tools/plugin.py", code=4)
    os.utime(found.parent)
    return found


def make(environment: Mapping[str, str]) -> Path:
    """Return the file, after making it when it is missing. Raises BuildError: code 3 where no Go can be had."""
    cache = cache_directory(environment)
    target = cache / file_key() / NAME
    if os.access(target, os.X_OK):
        os.utime(target.parent)
        return target
    with locked(cache / "lock", say):
        if os.access(target, os.X_OK):  # another did it
            return target
        since = time.monotonic()
        for leftover in cache.glob("*.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        launcher = _make_launcher(cache, environment)
        with tempfile.TemporaryDirectory(prefix="make.new-", dir=cache) as fresh:
            _bundle(Path(fresh), launcher)
            target.parent.mkdir(exist_ok=True)
            (Path(fresh) / NAME).rename(target)
        _forget_old(cache, but=target.parent)
        say(f"made in {time.monotonic() - since:.0f} s")
    return target


def _make_launcher(cache: Path, environment: Mapping[str, str]) -> Path:
    target = cache / f"launcher-{launcher_key()}"
    if os.access(target, os.X_OK):
        return target
    wanted = re.search(r"^go (\S+)$", (SOURCES / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert wanted is not None
    go = find_go(wanted[1], environment)
    for old in cache.glob("launcher-*"):
        old.unlink()
    fresh = cache / f"launcher.new-{os.getpid()}"
    command = [go.command, "build", *GO_FLAGS, "-o", fresh, "."]
    _run(command, cwd=SOURCES, environment=dict(go.environment) | {"GOPROXY": "off"})
    return fresh.rename(target)


def _bundle(folder: Path, launcher: Path) -> None:
    modules = folder / "modules"
    modules.mkdir()
    for source in (*PACKAGES, *installed()):
        if source.is_dir():
            shutil.copytree(source, modules / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, modules / source.name)
    # as in the image's build stage: under the Python that goes in, and not under that of an environment
    python = f"{sys.base_prefix}/bin/python3.{sys.version_info.minor}"
    _run([python, SOURCES / "bundle.py", "/", modules, launcher, folder / NAME], cwd=folder, environment=os.environ)


def _run(command: list[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603 - ours
    if done.returncode != 0:
        raise BuildError(f"{Path(command[0]).name} failed with {done.returncode}:\n{done.stderr}")


def _forget_old(cache: Path, *, but: Path) -> None:
    used = {path: path.stat().st_mtime for path in cache.iterdir() if path.is_dir() and path != but}
    for path in sorted(used, key=lambda each: used[each], reverse=True)[KEPT - 1 :]:
        if time.time() - used[path] > IN_USE:
            shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    """Run the program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="only print the path of the one that is there already")
    arguments = parser.parse_args()
    try:
        path = find(os.environ) if arguments.print else make(os.environ)
    except BuildError as error:
        say(str(error))
        return error.code
    print(path)  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
