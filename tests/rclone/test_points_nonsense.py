"""Words, files and places that are nonsense, given to the commands over a bucket: each is one clear error, with the exit code that is documented."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from datamover.cli.main import main
from support.answering import Answering, s3_error
from support.memory_s3 import MemoryS3
from support.points import SOURCE, Said, environment, forge, write_secret

RUN, FOLDER = "20240801101500-copy", "2024-08-01-101500"
FILE = {"type": "file", "size": 1, "mtime": 1, "mode": 0o644}
EVIL = "\x1b[2J\u202egpj\nx"
SHOWN = "\\x1b[2J\\u202egpj\\nx"
NOWHERE = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "BUCKET_HOST": "127.0.0.1",
    "BUCKET_PORT": "1",
    "BUCKET_NAME": "backups",
    "TLS_HOST": "false",
}


def run(*arguments: str | bytes | Path, stdin: str = "", **environ: str) -> Said:
    """Run the command line in this process; whatever it says is safe for a terminal, has no secret and is no traceback."""
    before = {name: None for name in os.environ if name.startswith(("AWS_", "BUCKET_", "RCLONE_"))}
    around = before | environment({}) | {"DATAMOVER_OUTAGE_LIMIT": "1"} | environ
    done = CliRunner().invoke(main, [os.fsdecode(each) for each in arguments], env=around, input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "canary" not in done.output
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", done.output), repr(done.output)
    return Said(done.exit_code, done.stdout.encode(), done.stderr)


def told(said: Said) -> str:
    """Return the one line that says what is wrong."""
    assert said.text == ""
    (line,) = said.errors.splitlines()
    return line


POINTS: dict[str, str | bytes] = {
    "nothing": "",
    "a space": " ",
    "no time": "as-of:",
    "a word for a time": "as-of:now",
    "an age from tomorrow": "as-of:-1h",
    "a month too many": "as-of:2024-13-01",
    "no zone": "as-of:2024-08-06T00:00:00",
    "a day without its dashes": "as-of:20240806",
    "an age before all time": "as-of:99999999999999999999d",
    "no number": "as-of:nanh",
    "without end": "as-of:infd",
    "before the first year": "as-of:0001-01-01T00:00:00+23:00",
    "other digits": "as-of:\u0662\u0660\u0662\u0664-08-06",
    "a way out": "../x",
    "much": "x" * 100_000,
    "an option": "-x",
    "all": "*",
    "no text": b"\xff\xfe",
    "tricks": EVIL,
}


@pytest.mark.parametrize("case", POINTS)
def test_a_word_that_names_no_point_is_told_before_the_store_is_asked(tmp_path: Path, case: str) -> None:
    secret = write_secret(tmp_path / "s.yaml", NOWHERE)
    said = run("ls", "--secret", secret, "--", POINTS[case])
    assert said.code == 2
    line = told(said)
    assert "names no point: write" in line
    assert len(line) < 600
    assert "\\\\" not in line  # escaped once


def test_a_word_with_tricks_is_shown_escaped_once(tmp_path: Path) -> None:
    secret = write_secret(tmp_path / "s.yaml", NOWHERE)
    assert told(run("ls", "--secret", secret, EVIL)).startswith(f"datamover ls: '{SHOWN}' names no point")


def secret_text(name: str = "a", **values: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})


SECRETS: dict[str, tuple[str | bytes, str]] = {
    "another kind": ('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}', "holds no Secret"),
    "nothing in it": ("", "holds no object"),
    "no YAML": ("a: [", "is not YAML"),
    "no text": (b"\xff\x00\x01", "is not UTF-8 text"),
    "a list": ("[1, 2]", "is a list"),
    "a word": ("hello", "is text, not an object"),
    "two": (secret_text("a") + "\n---\n" + secret_text(EVIL), "holds 2 Secrets"),
    "the same twice": (secret_text() + "\n---\n" + secret_text(), "is there twice"),
    "no keys": (secret_text(), "BUCKET_NAME is not set"),
    "a number": ('{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"X":5}}', "is a number"),
    "no base64": ('{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"X":"%%%"}}', "illegal base64"),
    "a NUL": (secret_text(BUCKET_NAME="x\0y"), "cannot be a variable"),
    "no variable": (secret_text(**{"A=B": "x"}), "cannot be a variable"),
    "a program": (secret_text(RCLONE_PASSWORD_COMMAND="x"), "can make a program run"),
    "no port": (secret_text(**NOWHERE | {"BUCKET_PORT": "x"}), "BUCKET_PORT is 'x'"),
    "a host with tricks": (secret_text(**NOWHERE | {"BUCKET_HOST": EVIL}), "write only the host's name"),
    "a bucket with tricks": (secret_text(**NOWHERE | {"BUCKET_NAME": EVIL}), "is not a bucket's name"),
    "no certificate": (secret_text(**NOWHERE | {"CA_CERT": "x", "TLS_HOST": "true"}), "CA_CERT is no certificate"),
    "deep": ('{"a":' * 5_000, "is nested more than"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_file_that_is_no_secret_of_a_backup_is_told(tmp_path: Path, case: str) -> None:
    content, sentence = SECRETS[case]
    file = tmp_path / "s.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = run("points", "--secret", file)
    assert said.code == 2
    assert sentence in told(said)
    document = run("points", "--secret", file, "-o", "json").document
    assert (document["exitCode"], document["reason"]) == (2, "InvalidConfiguration")


FILES: dict[str, tuple[Callable[[Path], str | bytes], str]] = {
    "no name": (lambda _: "", "names no file"),
    "a directory": (str, "is a directory"),
    "not there": (lambda folder: f"{folder}/none", "No such file"),
    "a name with tricks": (lambda folder: f"{folder}/{EVIL}", f"/{SHOWN}: cannot be read"),
    "a name that is no text": (lambda folder: os.fsencode(folder) + b"/\xff", "/\\xff: cannot be read"),
    "below a file": (lambda _: "/dev/null/x", "Not a directory"),
    "without end": (lambda _: "/dev/zero", "larger than 8 MiB"),
    "unreadable": (lambda _: "/proc/self/mem", "cannot be read"),
    "empty standard input": (lambda _: "-", "standard input: holds no object"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_secret_that_cannot_be_read_is_told(tmp_path: Path, case: str) -> None:
    name, sentence = FILES[case]
    write_secret(tmp_path / "s.yaml", NOWHERE)
    said = run("points", "--secret", name(tmp_path))
    assert said.code == 2
    assert sentence in told(said)


COMMANDS: dict[str, tuple[str, ...]] = {
    "points": (),
    "ls": ("latest",),
    "cat": ("latest", "a"),
    "get": ("latest", "a", "target"),
    "diff": ("latest", "./"),
    "restore": ("latest", "target"),
    "verify": ("latest",),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_cannot_be_reached_ends_each_command_with_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = write_secret(tmp_path / "s.yaml", NOWHERE | {"RCLONE_NO_SUCH_OPTION": "x"})
    said = run(command, "--secret", secret, *COMMANDS[command])
    assert said.code == 3
    note, line = (each for each in said.errors.splitlines() if not each.startswith("waiting: "))
    assert note.startswith("note: RCLONE_NO_SUCH_OPTION is no variable")
    assert line.startswith(f"datamover {command}: ")
    assert "The server at http://127.0.0.1:1 cannot be reached" in line
    assert os.listdir(tmp_path) == ["s.yaml"]


REFUSALS = {
    "a wrong key": (s3_error(403, "SignatureDoesNotMatch"), "WrongCredentials"),
    "a wrong bucket": (s3_error(404, "NoSuchBucket", EVIL), "BucketNotFound"),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_store_that_refuses_ends_each_command_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, case: str
) -> None:
    reply, reason = REFUSALS[case]
    monkeypatch.chdir(tmp_path)
    with Answering(1, lambda _: reply) as server:
        secret = write_secret(tmp_path / "s.yaml", NOWHERE | {"BUCKET_PORT": str(server.port)})
        json_asked = () if command == "cat" else ("-o", "json")
        said = run(command, "--secret", secret, *COMMANDS[command], *json_asked)
    assert said.code == 2, said.errors
    (line,) = said.errors.splitlines()
    assert line.startswith(f"datamover {command}: ")
    if json_asked:
        assert (said.document["exitCode"], said.document["reason"]) == (2, reason)
    assert os.listdir(tmp_path) == ["s.yaml"]


GET: dict[str, tuple[str, int, str]] = {
    "a pipe": ("pipe", 2, "'pipe' is no file, but a fifo"),
    "a socket": ("sock", 2, "'sock' is no file, but a socket"),
    "what was left out": ("lost+found", 2, "Its run left it out (lost+found)"),
    "below a link": ("link/x", 2, "has no path 'link/x'"),
    "below a file": ("plain/x", 2, "has no path 'plain/x'"),
    "nothing of that name": (f"none{EVIL}", 2, f"has no path 'none{SHOWN}'"),
    "a way out": ("../x", 2, "is no path within a volume"),
    "more than there is room": ("huge", 2, "4.0 EiB are to come"),
    "a link": ("link", 0, ""),
    "a folder": (f"d{EVIL}", 1, f"'d{SHOWN}/f'"),
    "a file": ("plain", 0, ""),
}
LINES = [
    FILE | {"path": "plain"},
    FILE | {"path": "huge", "size": 1 << 62},
    {"type": "link", "path": "link", "target": EVIL},
    {"type": "directory", "path": f"d{EVIL}", "mode": 0o755},
    FILE | {"path": f"d{EVIL}/f"},
    {"type": "fifo", "path": "pipe", "skipped": "special"},
    {"type": "socket", "path": "sock", "skipped": "special"},
    {"type": "skipped", "path": "lost+found", "skipped": "lost+found"},
]


@pytest.mark.parametrize("case", GET)
def test_what_is_asked_for_may_be_anything(store: MemoryS3, tmp_path: Path, case: str) -> None:
    path, code, sentence = GET[case]
    store.put(forge(RUN, FOLDER, *LINES) | {f"{FOLDER}/plain": b"x"})
    secret = write_secret(tmp_path / "s.yaml", store.secret())
    said = run("get", "--secret", secret, "latest", path, tmp_path / "target")
    assert said.code == code, said.errors
    assert sentence in said.errors
    assert (tmp_path / "target").exists() == (code != 2)


def test_names_with_tricks_are_escaped_in_each_answer(store: MemoryS3, tmp_path: Path) -> None:
    store.put(forge(RUN, FOLDER, *LINES, verification=EVIL, message=EVIL) | {f"{FOLDER}/plain": b"x"})
    secret = write_secret(tmp_path / "s.yaml", store.secret())
    (tmp_path / f"here{EVIL}").mkdir()
    (tmp_path / f"here{EVIL}" / EVIL).touch()
    here = f"{tmp_path}/here{EVIL}/"
    for arguments, code in (
        (("points",), 0),
        (("ls", "-R", "latest"), 0),
        (("ls", "-R", "latest", "-o", "json"), 0),
        (("diff", "latest", here), 1),
        (("diff", "latest", here, "-o", "json"), 1),
        (("diff", "latest", f"{here}none"), 2),
        (("diff", "latest", f"{here}{EVIL}"), 2),
        (("cat", "latest", "link"), 2),
        (("get", "latest", f"d{EVIL}", here), 1),
        (("get", "latest", "plain", f"{here}none/none"), 2),
        (("get", "latest", "plain", ""), 2),
        (("verify", "latest"), 1),
        (("verify", "latest", "-o", "json"), 1),
        (("restore", "latest", here), 2),
        (("restore", "latest", tmp_path / "r0", "--path", f"none{EVIL}"), 2),
        (("restore", "latest", tmp_path / "r0", "--path", f"{EVIL}/../x"), 2),
        (("restore", "latest", tmp_path / "r", "--path", f"d{EVIL}"), 1),
        (("restore", "latest", tmp_path / "r2", "--path", f"d{EVIL}", "-o", "json"), 1),
    ):
        said = run(arguments[0], "--secret", secret, *arguments[1:])
        assert said.code == code, (arguments, said.text, said.errors)
        assert "b'" not in said.errors  # names as they are shown, not as Python writes them
        assert "\\\\" not in said.errors


def test_an_answer_that_nobody_reads_to_its_end_ends_soon(store: MemoryS3, tmp_path: Path) -> None:
    size = 64 << 20
    line = FILE | {"path": "large", "size": size}
    store.put(forge(RUN, FOLDER, line) | {f"{FOLDER}/large": bytes(size)})
    secret = write_secret(tmp_path / "s.yaml", store.secret())
    command = [sys.executable, "-m", "datamover.cli.entry", "cat", "--secret", str(secret), "latest", "large"]
    around = environment({}) | {"PYTHONPATH": SOURCE}
    with subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1 << 16) == bytes(1 << 16)
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(timeout=60), errors) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["cat", "get"])
def test_interrupted_in_the_middle_nothing_is_left(
    store: MemoryS3, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    store.put(forge(RUN, FOLDER, *LINES) | {f"{FOLDER}/plain": b"x"})
    asked, over = threading.Event(), threading.Event()

    def stand_still(method: str, key: str) -> None:
        if method == "GET" and key.endswith("/plain"):
            asked.set()
            over.wait(60)

    store.busy = stand_still
    secret = write_secret(tmp_path / "s.yaml", store.secret())
    target = tmp_path / "target"
    start = [sys.executable, "-m", "datamover.cli.entry", command, "--secret", str(secret), "latest", "plain"]
    if command == "get":
        start.append(str(target))
    around = environment({}) | {"PYTHONPATH": SOURCE}
    try:
        with subprocess.Popen(start, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert asked.wait(60)
            process.send_signal(number)
            output, errors = process.communicate(
                timeout=60
            )  # it ends when nobody has its streams any more: so has the engine
    finally:
        over.set()
    assert (process.returncode, output, errors.decode()) == (130, b"", f"datamover {command}: interrupted\n")
    assert not target.exists() or os.listdir(target) == []
