"""The recipes of the page on copy triggers, run: a real file system is frozen, real databases are quieted, and their copies are whole."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.kubernetes import REPOSITORY
from support.quiesce import NOBODY, Disk, find_database, mounted, new_disk, quieten, running, wait_until, writing

PAGE = (REPOSITORY / "docs" / "copy-triggers.md").read_text(encoding="utf-8")


def scripts_under(heading: str) -> list[str]:
    """Return the shell of a section, up to the next heading."""
    section = re.split(r"\n##+ ", PAGE.partition(f" {heading}\n")[2])[0]
    return [part.partition("```")[0] for part in section.split("```sh\n")[1:]]


FREEZE, STOP = scripts_under("A plain freeze")
CHECKPOINT, CHECKPOINT_AND_FREEZE = scripts_under("PostgreSQL")
QUIET_MARIADB, RELEASE_MARIADB, MARIADB = scripts_under("MariaDB")
SCRIPTS = {"copy-when-quiet": scripts_under("A script")[0]}
PATH = os.environ["PATH"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with new_disk(tmp_path, megabytes=256) as found:
        yield found


def test_a_freeze_holds_the_writer_and_the_copy_is_of_one_moment(tmp_path: Path, disk: Disk) -> None:
    write = f'echo $n >>"{disk}/one"; echo $n >>"{disk}/two"'
    with writing(tmp_path, write, disk=disk, environment=os.environ) as written:
        did = quieten(
            tmp_path,
            FREEZE.replace("/data", str(disk)),
            scripts=SCRIPTS,
            disk=disk,
            look=f"cat {disk}/one {disk}/two",
            atomic=False,
            environment=os.environ,
        )
        count = written()
        wait_until(lambda: written() > count)
    assert did.commands == ["fsfreeze", "copy", "fsfreeze"]
    assert did.before == did.after
    with mounted(did.copy, tmp_path / "restored") as restored:
        assert restored.read("one") + restored.read("two") == did.before


def test_an_application_is_stopped_before_the_copy_and_started_after_it(tmp_path: Path, disk: Disk) -> None:
    did = quieten(tmp_path, STOP, scripts=SCRIPTS, disk=disk, look="true", atomic=True, environment=os.environ)
    assert did.commands == ["scale statefulset", "wait pod/app-0", "copy", "scale statefulset"]


@pytest.mark.parametrize("recipe", [CHECKPOINT, CHECKPOINT_AND_FREEZE], ids=["checkpoint", "freeze"])
def test_postgresql_recovers_from_the_copy(tmp_path: Path, disk: Disk, recipe: str) -> None:
    programs = find_database("postgresql")
    environment = {"PATH": f"{programs}:{PATH}", "PGHOST": str(tmp_path), "PGUSER": "postgres"}
    tmp_path.chmod(0o777)
    make = [programs / "initdb", "--auth=trust", "--username=postgres", "--no-sync", f"--pgdata={disk}/pg"]
    disk.run(*as_nobody(), *make)
    with postgresql(programs, disk, tmp_path, environment):
        ask(environment, "CREATE TABLE one (n int); CREATE TABLE two (n int)")
        write = 'psql -qc "BEGIN; INSERT INTO one VALUES ($n); INSERT INTO two VALUES ($n); COMMIT"'
        with writing(tmp_path, write, disk=disk, environment=environment) as written:
            did = quieten(
                tmp_path,
                recipe.replace("/var/lib/postgresql/data", str(disk)),
                scripts=SCRIPTS,
                disk=disk,
                look="psql -Atc 'SELECT count(*) FROM one'",
                # An atomic copy is what the first recipe asks of the storage.
                atomic=recipe is CHECKPOINT,
                environment=environment,
            )
            count = written()
            wait_until(lambda: written() > count)
    freezes = ["fsfreeze"] if recipe is CHECKPOINT_AND_FREEZE else []
    assert did.commands == ["psql", *freezes, "copy", *freezes]
    with mounted(did.copy, tmp_path / "restored") as restored:
        restored.run("rm", f"{restored}/pg/postmaster.pid")
        with postgresql(programs, restored, tmp_path, environment):
            kept = ask(environment, "SELECT n FROM one ORDER BY n").split()
            assert kept == ask(environment, "SELECT n FROM two ORDER BY n").split()
            assert kept == [str(number) for number in range(len(kept))]
            assert len(kept) >= int(did.before)


def test_mariadb_writes_nothing_while_it_is_copied_and_the_copy_is_whole(tmp_path: Path, disk: Disk) -> None:
    programs = find_database("mariadb")
    quiet = QUIET_MARIADB.replace("/var/lib/mysql", str(disk))
    environment = {"PATH": f"{programs}:{PATH}", "MYSQL_UNIX_PORT": str(tmp_path / "sock"), "USER": "root"}
    base = next((each for each in programs.parent.glob("tree/usr")), programs.parent)
    disk.run(
        *(programs / "mariadb-install-db", "--no-defaults", f"--basedir={base}", f"--datadir={disk}/db"),
        *("--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"),
    )

    def ours(sql: str) -> str:
        done = subprocess.run(
            ["mariadb", "-N", "-e", sql], env=environment, check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Without transactions: such tables are why the recipe has a lock.
    with mariadb(programs, base, disk, tmp_path, environment):
        ours("CREATE DATABASE d; CREATE TABLE d.one (n int) ENGINE=MyISAM; CREATE TABLE d.two (n int) ENGINE=MyISAM")
        write = 'mariadb -e "INSERT INTO d.one VALUES ($n); INSERT INTO d.two VALUES ($n)"'
        with writing(tmp_path, write, disk=disk, environment=environment) as written:
            did = quieten(
                tmp_path,
                MARIADB,
                scripts=SCRIPTS | {"quiet-mariadb": quiet, "release-mariadb": RELEASE_MARIADB},
                disk=disk,
                look="mariadb -N -e 'SELECT count(*) FROM d.one; SELECT count(*) FROM d.two'",
                atomic=False,
                environment=environment,
            )
            count = written()
            wait_until(lambda: written() > count)
    assert did.before == did.after
    with (
        mounted(did.copy, tmp_path / "restored") as restored,
        mariadb(programs, base, restored, tmp_path, environment),
    ):
        assert ours("SELECT count(*) FROM d.one; SELECT count(*) FROM d.two") == did.before
        assert ours("CHECK TABLE d.one, d.two EXTENDED").count("status\tOK") == 2


def as_nobody() -> list[str]:
    """Return what runs a program that root must not run; it reads wherever the programs are."""
    rights = "+dac_override,+dac_read_search"
    return ["setpriv", f"--reuid={NOBODY}", "--clear-groups", f"--inh-caps={rights}", f"--ambient-caps={rights}"]


def ask(environment: dict[str, str], sql: str) -> str:
    """Return what PostgreSQL answers."""
    done = subprocess.run(
        ["psql", "-Atqc", sql], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


@contextmanager
def postgresql(programs: Path, disk: Disk, place: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run PostgreSQL on a socket."""
    arguments = [
        *disk.inside,
        *as_nobody(),
        str(programs / "postgres"),
        "-D",
        f"{disk}/pg",
        "-k",
        str(place),
        "-c",
        "listen_addresses=",
    ]
    with running("postgresql", arguments, place, is_ready=lambda: answers(["psql", "-c", "SELECT 1"], environment)):
        yield


@contextmanager
def mariadb(programs: Path, base: Path, disk: Disk, place: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run MariaDB on a socket."""
    arguments = [
        *(*disk.inside, str(programs / "mariadbd"), "--no-defaults", "--user=root"),
        *(f"--basedir={base}", f"--datadir={disk}/db"),
        *("--skip-networking", "--skip-innodb", "--default-storage-engine=Aria", f"--socket={place / 'sock'}"),
        *(f"--pid-file={place / 'pid'}", f"--lc-messages-dir={base / 'share' / 'mysql'}"),
    ]
    with running("mariadb", arguments, place, is_ready=lambda: answers(["mariadb", "-e", "SELECT 1"], environment)):
        yield


def answers(question: list[str], environment: dict[str, str]) -> bool:
    """Tell whether a server answers."""
    done = subprocess.run(question, env=environment, check=False, capture_output=True, timeout=30)
    return done.returncode == 0
