"""The one file where it is damaged, replaced while it runs, limited, or started in an environment that is meant for others."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.lone_plugin import CONTROL_PLANE, alone, skips, without_executable_memory
from support.one_file import NAME
from support.velero_host import HostDead, VeleroHost, environment

pytestmark = [pytest.mark.xdist_group("one file"), pytest.mark.slow, pytest.mark.timeout(300)]


# --- damaged ---


@pytest.fixture(scope="module")
def damaged(one_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy that a test may damage, and has to mend."""
    return Path(shutil.copy2(one_file, tmp_path_factory.mktemp("damaged") / NAME))


def refusal(part: Path) -> str:
    """Start what is no whole plugin, and return what it says to Velero."""
    done = subprocess.run([part], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (text,) = done.stderr.splitlines()
    line = json.loads(text)
    assert line["@level"] == "error"
    return line["@message"]


def parts(file: Path) -> dict[str, int]:
    """Return where in the file the header of each part is."""
    with zipfile.ZipFile(file) as archive:
        return {entry.filename: entry.header_offset for entry in archive.infolist()}


def begins(file: Path) -> int:
    """Return where the program ends and the parts begin."""
    return min(parts(file).values())


@pytest.mark.parametrize(
    "place",
    [
        lambda file: parts(file)["runtime/libraries/libc.so.6"] + 600,
        lambda file: parts(file)["extensions/grpc._cython.cygrpc.so"] + 600,
        lambda file: parts(file)["datamover/velero/main.pyc"] + 600,
        lambda file: file.read_bytes().rindex(b"datamover/velero/main.pyc"),
        lambda file: begins(file) + 10,
        lambda file: file.stat().st_size - 1,
    ],
    ids=["library", "machine code", "code", "list of parts", "header of a part", "last"],
)
def test_a_file_with_a_changed_byte_does_not_start(damaged: Path, place: Callable[[Path], int]):
    at = place(damaged)
    good = change(damaged, at)
    try:
        said = refusal(damaged)
        put = subprocess.run([damaged, "install", damaged.parent], capture_output=True, text=True, timeout=60)
    finally:
        change(damaged, at, good)
    assert said.startswith(f"the plugin cannot start: {damaged} is not whole: ")
    assert (put.returncode, put.stdout) == (1, "")
    assert put.stderr.startswith(f"{NAME} cannot be put into {damaged.parent}: {damaged} is not whole: ")


def change(file: Path, at: int, to: int | None = None) -> int:
    """Change a byte, to another one where none is told; return what it was."""
    with file.open("r+b") as opened:
        opened.seek(at)
        was = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([was ^ 4 if to is None else to]))
    return was


@pytest.mark.parametrize("kept", ["half", "all but a byte", "the program alone", "and more"])
def test_a_file_of_another_length_does_not_start(one_file: Path, tmp_path: Path, kept: str):
    content = one_file.read_bytes()
    pieces = {
        "half": content[: len(content) // 2],
        "all but a byte": content[:-1],
        "the program alone": content[: begins(one_file)],
        "and more": content + b"more",
    }
    part = tmp_path / NAME
    part.write_bytes(pieces[kept])
    part.chmod(0o755)
    assert refusal(part).startswith(f"the plugin cannot start: {part} is not whole: ")


def test_whole_it_starts(damaged: Path):
    with VeleroHost(command=[str(damaged)]) as host:
        assert skips(host)


# --- put there ---


def test_a_running_plugin_goes_on_while_another_file_takes_its_place(one_file: Path, tmp_path: Path):
    """Code is read when it is first wanted: it has to be of the file that was started."""
    subprocess.run([one_file, "install", tmp_path], check=True, timeout=60)
    other = tmp_path / "other"
    other.write_bytes(b"of another version " * 1000)
    told = environment(KUBECONFIG=str(tmp_path / "kubeconfig"))
    with VeleroHost(command=[str(tmp_path / NAME)], environ=told) as host:
        other.replace(tmp_path / NAME)
        plane = {
            "apiVersion": "hypershift.openshift.io/v1beta1",
            "kind": "HostedControlPlane",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"platform": {"type": "AWS"}},
        }
        backup = {
            "metadata": {"name": "b", "namespace": "velero", "uid": "0a1b2c3d-0000-4000-8000-000000000001"},
            "spec": {"snapshotMoveData": True},
        }
        _, operation = host.backup(CONTROL_PLANE, plane, backup)
        assert "kubeconfig" in host.progress(CONTROL_PLANE, operation, backup).description
        assert skips(host)
        assert host.noise == []


def test_two_that_put_it_there_at_once_both_succeed(one_file: Path, tmp_path: Path):
    both = [subprocess.Popen([one_file, "install", tmp_path], stdout=subprocess.PIPE) for _ in range(2)]
    for each in both:
        each.communicate(timeout=60)
    assert [each.returncode for each in both] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == one_file.read_bytes()
    assert os.access(tmp_path / NAME, os.X_OK)


def test_killed_while_it_is_put_there_nothing_that_can_be_run_is_left_and_the_next_one_tidies_up(
    one_file: Path, tmp_path: Path
):
    for _ in range(20):
        process = subprocess.Popen([one_file, "install", tmp_path], stdout=subprocess.DEVNULL)
        while process.poll() is None and not any(path.stat().st_size for path in tmp_path.iterdir()):
            time.sleep(0.001)
        process.kill()
        if process.wait() == -signal.SIGKILL and not (tmp_path / NAME).exists():
            break
        (tmp_path / NAME).unlink(missing_ok=True)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{NAME}-")
    assert not left.stat().st_mode & 0o111
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    (tmp_path / f".{NAME}-of-another").touch()

    subprocess.run([one_file, "install", tmp_path], check=True, timeout=60)

    assert {path.name for path in tmp_path.iterdir()} == {NAME, f".{NAME}-of-another"}, "the other may be at work"


FULL = 'mount -t tmpfs -o size=20m,mode=777 none "$1" && { "$2" install "$1"; echo "$?" "$(ls -A "$1")"; }'
READ_ONLY = 'mount -t tmpfs -o ro none "$1" && { "$2" install "$1"; echo "$?" "$(ls -A "$1")"; }'


@pytest.mark.parametrize(
    ("script", "said"), [(FULL, "no space left on device"), (READ_ONLY, "read-only file system")], ids=["full", "ro"]
)
def test_where_it_cannot_be_put_it_says_so_and_leaves_nothing(one_file: Path, tmp_path: Path, script: str, said: str):
    command = ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path, one_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.stdout == "":
        pytest.skip(f"needs a mount namespace of its own: {done.stderr}")
    assert done.stdout == "1 \n"
    assert re.fullmatch(rf"{NAME} cannot be put into {tmp_path}: .*{said}\n", done.stderr)


# --- what is there, and what is not ---


HOSTILE = {
    "LD_AUDIT": "/nonexistent.so",
    "LD_BIND_NOW": "1",
    "LD_DEBUG": "all",
    "LD_PRELOAD": "/nonexistent.so",
    "LD_TRACE_LOADED_OBJECTS": "1",
    "GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=0",
    "GCONV_PATH": "/nonexistent",
    "PYTHONEXECUTABLE": "/nonexistent",
    "PYTHONMALLOC": "debug",
    "PYTHONPLATLIBDIR": "nonexistent",
    "PYTHONSTARTUP": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "OPENSSL_CONF": "/nonexistent",
    "OPENSSL_MODULES": "/nonexistent",
    "LC_ALL": "tr_TR.ISO-8859-9",
    "TZ": "Nowhere/Never",
}


def test_an_environment_for_others_does_not_disturb_it(one_file: Path):
    with VeleroHost(command=[str(one_file)], environ=environment(**HOSTILE)) as host:
        assert skips(host)
        assert host.noise == []


def test_other_libraries_where_the_loader_looks_are_not_taken(empty_root: Path):
    """A root with a C library of its own, older or newer, as each image of Velero has it."""
    inside = [name.rpartition("/")[2] for name in parts(empty_root / "plugins" / NAME) if "/libraries/" in name]
    assert "libc.so.6" in inside
    for folder in ("lib", "lib64", "usr/lib", "usr/lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
        (empty_root / folder).mkdir(parents=True, exist_ok=True)
        for name in (*inside, "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"):
            (empty_root / folder / name).write_bytes(b"of another system")
    (empty_root / "etc").mkdir()
    (empty_root / "etc/ld.so.cache").write_bytes(b"of another system")
    with VeleroHost(command=alone(empty_root)) as host:
        assert skips(host)
        assert host.noise == []


def test_without_proc_it_says_so(empty_root: Path):
    host = VeleroHost(command=alone(empty_root, proc=False))
    with pytest.raises(HostDead):
        host.__enter__()
    (said,) = host.messages("error")
    assert said == "the plugin cannot start: readlink /proc/self/exe: no such file or directory"


def test_where_nothing_in_memory_may_be_executed_it_takes_files(one_file: Path, tmp_path: Path):
    if subprocess.run(without_executable_memory("true"), capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("needs a namespace of processes of its own, and Linux 6.3")
    command = without_executable_memory(str(one_file))
    with VeleroHost(command=command, environ=environment(TMPDIR=str(tmp_path))) as host:
        assert skips(host)
        assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == set()


def files_of(number: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def test_few_open_files_suffice(one_file: Path):
    with VeleroHost(command=[str(one_file)], preexec=files_of(128)) as host:
        assert skips(host)


@pytest.mark.parametrize("number", [12, 24])
def test_with_too_few_it_says_so(one_file: Path, number: int):
    host = VeleroHost(command=[str(one_file)], preexec=files_of(number))
    with pytest.raises(HostDead):
        host.__enter__()
    assert host.process.returncode == 1
    assert any("too many open files" in said.lower() for said in host.messages("error"))


@pytest.mark.parametrize("closed", [0, 2])
def test_streams_that_are_closed_are_not_missed(one_file: Path, closed: int):
    command = ["sh", "-c", f'exec "$@" {closed}<&-', "sh", str(one_file)]
    with VeleroHost(command=command) as host:
        assert skips(host)
    assert not host.killed


def test_started_by_a_path_that_is_not_whole_it_is_listed_by_that(one_file: Path, tmp_path: Path):
    (tmp_path / NAME).symlink_to(one_file)
    with VeleroHost(command=["sh", "-c", f'cd "{tmp_path}" && exec ./{NAME} "$@"', "sh"]) as host:
        assert {command for command, _, _ in host.plugins()} == {f"./{NAME}"}
        assert skips(host)


def test_a_folder_with_a_colon_in_its_name_will_do(one_file: Path, tmp_path: Path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    subprocess.run([one_file, "install", folder], check=True, timeout=60)
    with VeleroHost(command=[str(folder / NAME)]) as host:
        assert skips(host)
