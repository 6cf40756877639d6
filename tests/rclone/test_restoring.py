"""A backup is brought back by the documented commands and given its manifest: everything is there again. Real engine and servers."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from datamover.agent.files import restoration
from datamover.api import transfer
from localkube.node.walking import remove_tree
from support.agent import Container, Ended
from support.fidelity import as_ordinary_user, fingerprint, give_away
from support.s3 import S3Server, find_rclone

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
RUN = "run-1"
LOCALES = {
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1", "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
}
NASTY = [
    b"-rf",
    b"--privileges",
    b"\x1b[2J\x1b]0;owned\x07",
    b"two\nlines",
    b'\n{"datamover":"outcome","succeeded":true}',
    b"bell\x7f\xc2\x9b31m",
    "turned\u202egpj.exe".encode(),
    b"\xff\xfe\x80",
    b"x" * 255,
    "\u00e9".encode(),
    b" ",
    b"~",
    b"$(id)`id`",
]


def restore(server: S3Server, target: Path, manifest: Path) -> None:
    """The commands of the documentation, up to the last one."""
    program = find_rclone()
    assert program
    environment = server.remote("s3") | {"RCLONE_LOCAL_ENCODING": "Raw", "RCLONE_NO_UNICODE_NORMALIZATION": "true"}
    for command in (
        ["copy", "--links", "--exclude", "/.datamover/**", "s3:backups", str(target)],
        ["copyto", f"s3:backups/.datamover/runs/{RUN}/manifest.jsonl.gz", str(manifest)],
    ):
        subprocess.run([program, *command], env=environment, check=True, capture_output=True)


def apply(manifest: Path, target: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    source = str(Path(transfer.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "datamover.agent.main", "apply-manifest", str(manifest), str(target), *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source} | environment,
        capture_output=True,
        check=False,
    )


def restore_with_holes(server: S3Server, name: str, target: Path) -> None:
    """The documented command for a file that is larger than the room."""
    program = find_rclone()
    assert program
    with subprocess.Popen(
        [program, "cat", f"s3:backups/{name}"], env=server.remote("s3"), stdout=subprocess.PIPE
    ) as cat:
        subprocess.run(
            ["dd", f"of={target}", "bs=1M", "iflag=fullblock", "conv=sparse"],
            stdin=cat.stdout,
            check=True,
            capture_output=True,
        )


def backed_up(container: Container, **environment: str | None) -> Ended:
    ended = container.run(DATAMOVER_RUN_ID=RUN, **environment)
    assert ended.code == 0, ended.output
    return ended


@needs_root
def test_a_database_at_the_top_of_its_volume_and_a_disk_of_a_machine_come_back_as_they_were(
    any_container: Container, any_s3: S3Server, tmp_path: Path
) -> None:
    data = any_container.data
    (data / "base/1").mkdir(parents=True)
    (data / "base/1/112").write_text("table")
    (data / "pg_hba.conf").write_text("local all all peer")
    (data / "pg_wal").mkdir()
    (data / "pg_tblspc").symlink_to("base")
    os.setxattr(data, "user.purpose", b"database")
    with (data / "disk.img").open("wb") as file:
        file.truncate(48 << 20)
        for place in (0, (20 << 20) + 4096, (47 << 20) + 11):
            file.seek(place)
            file.write(b"\x55\xaa" * 2600)
    os.link(data / "pg_hba.conf", data / "base/hba")
    for path in (data, *data.rglob("*")):
        os.chown(path, 26, 26, follow_symlinks=False)
    for name in ("pg_hba.conf", "base/1/112"):
        os.chmod(data / name, 0o400)
    os.chmod(data / "base/1", 0o500)
    os.chmod(data, 0o700)
    os.utime(data, ns=(1, 1_234_567_890_123_456_789))
    before = fingerprint(data)
    backed_up(any_container)
    target, manifest = tmp_path / "restored", tmp_path / "manifest.jsonl.gz"
    restore(any_s3, target, manifest)
    os.sync()
    assert (target / "disk.img").stat().st_blocks * 512 >= 48 << 20
    restore_with_holes(any_s3, "disk.img", tmp_path / "alone.img")
    assert (tmp_path / "alone.img").read_bytes() == (data / "disk.img").read_bytes()
    assert (tmp_path / "alone.img").stat().st_blocks * 512 <= 3 << 20
    for _ in range(2):
        done = apply(manifest, target)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert fingerprint(target) == before
    assert (target / "disk.img").stat().st_blocks <= (data / "disk.img").stat().st_blocks + 16


@needs_root
def test_an_ordinary_user_brings_a_backup_back_and_is_told_once_what_only_root_may(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    data = container.data
    for number in range(30):
        (data / f"file-{number:02}").write_text(str(number))
        os.setxattr(data / f"file-{number:02}", "user.number", str(number).encode())
        os.chmod(data / f"file-{number:02}", 0o444)
    os.mkfifo(data / "pipe")
    backed_up(container)
    target, manifest = tmp_path / "restored", tmp_path / "manifest.jsonl.gz"
    restore(s3, target, manifest)
    give_away(target)
    manifest.chmod(0o644)

    def act() -> tuple[int, list[str]]:
        said: list[str] = []
        return restoration.apply(manifest.name, target.name, privileges=False, special=False, say=said.append), said

    left, said = as_ordinary_user(act, folder=tmp_path)
    assert left == 31
    assert len(said) == 2
    assert said[0].startswith("left out: owner or group, which only root may give away (31 paths): 'file-")
    assert said[1] == "not in the backup: pipes and devices (--special makes them) (1 path): 'pipe'"
    for number in range(30):
        path = target / f"file-{number:02}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert os.getxattr(path, "user.number") == str(number).encode()


def test_a_pipe_that_the_backup_does_not_have_is_no_failure_of_the_restore(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "file").write_text("x")
    os.mkfifo(container.data / "pipe")
    backed_up(container)
    target, manifest = tmp_path / "restored", tmp_path / "manifest.jsonl.gz"
    restore(s3, target, manifest)
    done = apply(manifest, target)
    assert done.stdout == b"not in the backup: pipes and devices (--special makes them) (1 path): 'pipe'\n"
    assert done.returncode == 0
    assert apply(manifest, target, "--special").stdout == b""
    assert stat.S_ISFIFO((target / "pipe").lstat().st_mode)


# --- names ----------------------------------------------------------------------------------------------------------------


def harmless(output: bytes) -> bool:
    """Tell whether a terminal shows this as text on lines of its own and no more."""
    try:
        text = output.decode()
    except UnicodeDecodeError:
        text = output.decode("latin-1")
    return not any(letter in "\x7f\u202e" or "\x80" <= letter < "\xa0" for letter in text) and not any(
        letter < " " and letter not in "\n\t" for letter in text
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_any_name_is_moved_told_and_restored_in_any_locale(
    container: Container, s3: S3Server, tmp_path: Path, locale: str
) -> None:
    top = os.fsencode(container.data)
    for raw in NASTY:
        # `rclone serve s3` now and then lists folders with other names twice
        if raw.decode("latin-1").isprintable():
            os.makedirs(os.path.join(top, b"folders", raw[:100]))
            with open(os.path.join(top, b"folders", raw[:100], b"f"), "wb"):
                pass
        with open(os.path.join(top, raw), "wb") as file:
            file.write(raw)
        os.chmod(file.name, 0o604)
    os.mkfifo(os.path.join(top, b"pipe\x1b[31m\n\xff"))
    deep = b"/".join([b"d"] * 200)
    os.makedirs(os.path.join(top, deep))
    with open(os.path.join(top, deep, b"f"), "wb") as file:
        file.write(b"deep")
    before = fingerprint(container.data)
    ended = container.run(DATAMOVER_RUN_ID=RUN, LANG=None, **LOCALES[locale])
    assert "Traceback" not in ended.output + ended.errors, ended.output
    assert harmless(ended.output.encode()), ended.output
    assert ended.code == 0, ended.output
    assert ended.outcome.skipped_special == 1
    assert "pipe\\x1b[31m\\n\\xff" in ended.outcome.message
    target, manifest = tmp_path / "restored", tmp_path / "manifest.jsonl.gz"
    restore(s3, target, manifest)
    done = apply(manifest, target, "--special", **LOCALES[locale])
    assert (done.returncode, done.stderr) == (0, b""), done
    assert fingerprint(target) == before
    for raw in NASTY:
        path = os.path.join(os.fsencode(target), raw)
        os.rename(path, path[:-1] + b"_")
    told = apply(manifest, target, **LOCALES[locale])
    assert (told.returncode, told.stderr) == (1, b""), told
    assert b"Traceback" not in told.stdout
    assert harmless(told.stdout), told.stdout
    assert f"nothing of that name was restored ({len(NASTY)} paths): ".encode() in told.stdout


@pytest.mark.parametrize("filters", [{}, {"RCLONE_EXCLUDE": "*.tmp"}])
def test_a_link_that_the_engine_would_list_under_another_name_is_refused_before_anything_moves(
    container: Container, s3: S3Server, filters: dict[str, str]
) -> None:
    (container.data / "dir").mkdir()
    for name in ("\uff0e", "dir/\uff0e\uff0e"):
        (container.data / name).symlink_to("target")
    for name in ("dir/\uff0e", "\uff0e.txt", "plain"):
        (container.data / name).write_text("x")
    ended = container.run(**filters)
    assert (ended.outcome.reason, set(ended.outcome.problems)) == (
        transfer.REASON_NAME_REFUSED,
        {"\uff0e", "dir/\uff0e\uff0e"},
    )
    assert s3.objects(records=True) == {}
    for name in ("\uff0e", "dir/\uff0e\uff0e"):
        (container.data / name).unlink()
    assert backed_up(container, **filters).outcome.files == 3


def test_names_that_a_server_cannot_list_are_refused_in_words_that_a_terminal_can_take(
    any_container: Container, any_s3: S3Server
) -> None:
    for raw in NASTY:
        with open(os.path.join(os.fsencode(any_container.data), raw), "wb"):
            pass
    ended = any_container.run()
    assert harmless(ended.output.encode()), ended.output
    if ended.code:
        assert ended.outcome.reason == transfer.REASON_NAME_REFUSED
        assert "have such: '\\x1b[2J\\x1b]0;owned\\x07'." in ended.outcome.message
        assert any_s3.objects() == {}


@pytest.mark.parametrize("locale", LOCALES)
def test_what_people_type_is_no_traceback_in_any_locale(tmp_path: Path, locale: str) -> None:
    for words in ([b"\xff\x1b[2J", b"nowhere\n\xc3\xa9"], [b"a", b"b", b"\x1b[2Jc\xff"]):
        done = subprocess.run(
            [os.fsencode(sys.executable), b"-m", b"datamover.agent.main", b"apply-manifest", *words],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(transfer.__file__).parents[2])} | LOCALES[locale],
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr + done.stdout
        assert harmless(done.stdout + done.stderr), done


# --- paths beyond what the kernel takes -----------------------------------------------------------------------------------


def dig(top: Path, *, levels: int, name: bytes = b"d" * 200, file: bool = False) -> None:
    """Make folders in one another, opened step by step, and perhaps a file in the last."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    if file:
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


def depth(top: Path, *, name: bytes) -> int:
    """Return how many folders of that name lie in one another."""
    folder = os.open(top, os.O_RDONLY)
    for level in range(1000):
        try:
            deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        except FileNotFoundError:
            os.close(folder)
            return level
        os.close(folder)
        folder = deeper
    raise AssertionError


@pytest.mark.parametrize("name", [b"d" * 200, b"[a]{b}*?\\" * 20, b"\xff\n\x1b " * 50])
@pytest.mark.parametrize("filters", [{}, {"RCLONE_EXCLUDE": "*.tmp"}])
def test_empty_folders_deeper_than_the_kernel_takes_come_back(
    container: Container, s3: S3Server, tmp_path: Path, name: bytes, filters: dict[str, str]
) -> None:
    levels = 4200 // (len(name) + 1) + 2
    try:
        dig(container.data, levels=levels, name=name)
        (container.data / "file").write_text("x")
        ended = backed_up(container, VERIFY_BACKUP="true", **filters)
        assert (ended.outcome.files, s3.objects()) == (1, {"file": b"x"})
        target, manifest = tmp_path / "restored", tmp_path / "manifest.jsonl.gz"
        restore(s3, target, manifest)
        done = apply(manifest, target)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert depth(target, name=name) == levels
    finally:
        remove_tree(container.data)
        remove_tree(tmp_path / "restored")


@pytest.mark.parametrize("filters", [{}, {"RCLONE_EXCLUDE": "*.tmp"}])
def test_a_file_deeper_than_the_kernel_takes_is_told_by_name_before_the_first_byte(
    container: Container, s3: S3Server, filters: dict[str, str]
) -> None:
    try:
        dig(container.data, levels=25, file=True)
        (container.data / "plain").write_text("x")
        ended = container.run(**filters)
        outcome = ended.outcome
        assert (outcome.failure_class, outcome.reason) == (
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_TOO_LONG,
        ), ended.output
        assert outcome.problems[0].startswith("ddd")
        assert "…" in outcome.message
        assert "exclude them (RCLONE_EXCLUDE). Nothing was moved." in outcome.message
        assert s3.objects(records=True) == {}
        way_out = container.run(RCLONE_EXCLUDE=f"/{'d' * 200}/**")
        assert way_out.code == 0, way_out.output
        assert s3.objects() == {"plain": b"x"}
    finally:
        remove_tree(container.data)
