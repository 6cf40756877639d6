"""`datamover` in every locale, on every kind of terminal, and with streams that are closed, full or given up."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from support.s3 import S3Server

DATAMOVER = (sys.executable, "-m", "datamover.cli.main")
MOVER = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: mirror}
spec: {sourcePvc: app-data, secretName: credentials, deletePvcAfterBackup: true}
"""
READ = ("0", "63")
"""The number of read(2): x86-64, and arm64."""
NAME = os.fsdecode("d\u00e9p\u00f4t-\u65e5".encode() + b"-\xff\xfe")
"""A folder of people who had latin-1 once: no locale can show all of it, and UTF-8 cannot at all."""
LOCALES: dict[str, dict[str, str]] = {
    "C": {"LC_ALL": "C"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX": {"LC_ALL": "POSIX"},
    "latin-1": {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strictly": {"PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "1"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "a dumb terminal": {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "80"},
}


def environment(case: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON", "TERM"))}
    return {**kept, **LOCALES[case]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / f"file-{NAME}").write_text("content")
    return tmp_path


def command(place: Path, s3: S3Server, **values: str) -> list[str]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "credentials"},
        "stringData": s3.secret(**values),
    }
    (place / "manifest.yaml").write_text(f"# \u00fc\u65e5\n{MOVER}---\n{yaml.safe_dump(secret)}", encoding="utf-8")
    volume = f"app-data={place / NAME}"
    return [
        *DATAMOVER,
        "run",
        "--state",
        str(place / "state"),
        "--volume",
        volume,
        "-f",
        str(place / "manifest.yaml"),
    ]


@pytest.mark.parametrize("case", LOCALES)
def test_a_run_ends_in_its_sentence_in_every_locale(case: str, place: Path, s3: S3Server) -> None:
    failed = subprocess.run(
        command(place, s3, AWS_SECRET_ACCESS_KEY="wrong"),
        env=environment(case),
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert b"Traceback" not in failed.stdout + failed.stderr
    assert b"AWS_SECRET_ACCESS_KEY" in failed.stdout
    assert (b"datamover: warning: this runs as root" in failed.stderr) == (os.geteuid() == 0)

    done = subprocess.run(
        [*command(place, s3), "-o", "json"], env=environment(case), capture_output=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.decode("utf-8"))
    assert result["dataMovers"][0]["status"]["run"]["files"] == 1


@pytest.mark.parametrize("case", LOCALES)
def test_what_is_wrong_is_said_in_every_locale(case: str, place: Path) -> None:
    (place / NAME / "bad.yaml").write_text(
        "kind: \u00dcber\u65e5\napiVersion: v1\nmetadata: {name: x}\n---\n", encoding="utf-8"
    )
    (place / NAME / "good.yaml").write_text(MOVER)
    for arguments in (("run", "-f", f"{place / NAME}"), ("run", "-f", f"{place / NAME / 'none.yaml'}", "-o", "json")):
        ended = subprocess.run(
            [*DATAMOVER, *arguments, "--state", str(place / "state")],
            env=environment(case),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 2, ended.stderr
        assert b"Traceback" not in ended.stderr
        assert b"document 1" in ended.stderr or b"cannot be read" in ended.stderr
        if "json" in arguments:
            assert json.loads(ended.stdout)["exitCode"] == 2


def test_a_state_directory_that_no_mover_could_name_is_refused(place: Path) -> None:
    (place / "good.yaml").write_text(MOVER)
    ended = subprocess.run(
        [*DATAMOVER, "run", "-f", str(place / "good.yaml"), "--state", str(place / f"state-{NAME}")],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert b"\\xff\\xfe: its name is not UTF-8, and movers work below it: choose another directory" in ended.stderr


def in_shell(line: str, place: Path) -> "subprocess.CompletedProcess[str]":
    script = f'datamover() {{ "$PYTHON" -m datamover.cli.main "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("datamover crds > /dev/full", 1, "standard output cannot be written: No space left on device"),
        ("datamover completion bash > /dev/full", 1, "standard output cannot be written"),
        ("datamover --help > /dev/full", 1, "standard output cannot be written"),
        ("datamover crds >&-", 0, ""),
        ("datamover crds >&- 2>&-", 0, ""),
        ("datamover crds <&-", 0, ""),
        ("datamover run -f none 2>&-", 2, ""),
        ("datamover run -f none 2>/dev/full", 2, ""),
        ("datamover run -f - <&-", 2, "standard input"),
        ("datamover run -f none -o json > /dev/full", 2, "standard output cannot be written"),
    ],
)
def test_streams_that_are_full_or_closed_end_in_no_traceback(line: str, code: int, words: str, tmp_path: Path) -> None:
    ended = in_shell(line, tmp_path)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_whoever_stops_reading_is_not_complained_to(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([*DATAMOVER, "crds"], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_backup_goes_on_when_nobody_reads_it(place: Path, s3: S3Server) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command(place, s3), stdout=writing, stderr=subprocess.PIPE, timeout=90, check=False)
    os.close(writing)
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert len(s3.objects()) == 1


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A terminal with a program in it, as a person has it: Ctrl-C goes to all that run in the foreground."""

    def __init__(self, arguments: list[str], env: dict[str, str]) -> None:
        self.text = ""
        self._raw = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background have it ignored, and so would this
            os.execvpe(arguments[0], arguments, env)

    def read(self, *, until: str | None = None, seconds: float = 60.0) -> bool:
        """Read until the text is there, or with None until the end. Tell whether it came."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if until is not None and until in self.text:
                return True
            if not select.select([self._terminal], [], [], min(left, 0.5))[0]:
                continue
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # how a terminal says that its last user has gone
                return until is None
            self._raw += data
            self.text = ANSI.sub("", self._raw.decode("utf-8", "replace"))
        return False

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def wait(self) -> int:
        """Return how it ended; negative is a signal."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._terminal)
        return code


DEMO_STEPS = (
    "1. A volume",
    "rclone serve s3 on",
    "CreatingClonedPVC",
    "CreatingPod",
    "3. The same after",
    "4. A wrong key",
)


def leftovers(place: Path) -> list[str]:
    """Return the processes that have this place in their environment or command line."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(place) in words and int(entry.name) != os.getpid():
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


@pytest.mark.parametrize("step", DEMO_STEPS)
def test_ctrl_c_ends_the_demo_at_every_step_and_leaves_nothing(step: str, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm"}
    screen = Screen([*DATAMOVER, "demo"], env)
    assert screen.read(until=step), screen.text

    screen.type(b"\x03")
    assert screen.read(), screen.text

    assert screen.wait() == 130, screen.text
    assert "Traceback" not in screen.text
    assert "interrupted; nothing is left running" in screen.text
    assert os.listdir(tmp_path) == []
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("seed", range(4))
def test_sigterm_and_an_impatient_ctrl_c_end_the_demo_as_well(seed: int, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm"}
    with subprocess.Popen([*DATAMOVER, "demo"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if (b"1. A volume", b"serve s3", b"ClonedPVCReady", b"CleaningUp")[seed] in line:
                break
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert b"Traceback" not in rest
    assert os.listdir(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_sigterm_before_anything_has_begun_is_an_interrupt_as_well(tmp_path: Path) -> None:
    command = [*DATAMOVER, "run", "-f", "-", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not _hears(process.pid, signal.SIGTERM):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        said, told = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"")
    assert b"Traceback" not in told
    assert os.listdir(tmp_path) == []


def _hears(pid: int, number: signal.Signals) -> bool:
    caught = re.search(r"SigCgt:\s+([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def _reads_standard_input(pid: int) -> bool:
    """Return whether a thread of it is in read(0, ...) now."""
    calls = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/syscall")]
    return any(len(call) > 1 and call[0] in READ and call[1] == "0x0" for call in calls)


def test_ctrl_c_while_standard_input_is_read_is_quiet(tmp_path: Path) -> None:
    screen = Screen([*DATAMOVER, "run", "-f", "-", "--state", str(tmp_path / "state")], dict(os.environ))
    end = time.monotonic() + 30
    while not _reads_standard_input(screen.pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    screen.type(b"\x03")
    assert screen.read(), screen.text
    assert screen.wait() == 130
    assert "Traceback" not in screen.text
