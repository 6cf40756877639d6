"""A volume with everything that is hard to bring back, through the mover and `datamover restore`; and, in the same run, through plain rclone,
rclone with all that it has for metadata, and restic. Row by row: what came back, what was lost, what the tool told of.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from datamover.agent.files import losses
from datamover.agent.restore.attempt import WHOLE, Facts
from support import nasty_tree
from support.agent import Container
from support.engines import find_engine
from support.fidelity import as_ordinary_user, fingerprint, give_away
from support.nasty_tree import LARGE, TOP, Row
from support.points import Said, datamover, write_secret
from support.programs import GO
from support.restoring import Backup
from support.s3 import S3Server, find_rclone

ROOT = os.geteuid() == 0
ROWS = nasty_tree.rows(root=ROOT)
RUN = {"DATAMOVER_RUN_ID": "20240801143052-run", "DATAMOVER_TIMESTAMP": "2024-08-01-143052"}
KEPT, LOST, TOLD = "kept", "lost", "told"
"""It came back as it was; it did not; it did not, and the tool said so by a path, as an error or in its list of losses."""
METADATA = ["--metadata", "--links", "--create-empty-src-dirs", "--local-metadata-restore-special-bits"]
MARKERS = "--s3-directory-markers"
"""`rclone serve s3` does not know them: it makes files of them."""
PAGE = Path(__file__).parents[2] / "docs/restore.md"
TOOLS = ("datamover", "rclone", "rclone, metadata", "restic")


def documented() -> dict[str, dict[str, str]]:
    """Return what the documents state of each tool, by row."""
    lines = PAGE.read_text(encoding="utf-8").partition("## What comes back, row by row")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["", *TOOLS]
    return {tool: {row[0]: row[column] for row in cells[2:]} for column, tool in enumerate(TOOLS, 1)}


class Way(NamedTuple):
    """What a tool made of the volume: a verdict for each row, and how its backup and its restore ended."""

    verdicts: dict[str, str]
    codes: tuple[int, int]

    def not_kept(self) -> set[str]:
        return {row for row, verdict in self.verdicts.items() if verdict != KEPT}


def judge(volume: Path, target: Path, rows: list[Row], complaints: str) -> dict[str, str]:
    """Hold what came back against the volume."""

    def verdict(row: Row) -> str:
        if row.seen(target) == row.seen(volume):
            return KEPT
        return TOLD if row.name != TOP and f"{row.folder}/" in complaints else LOST

    return {row.name: verdict(row) for row in rows}


def run(command: list[Any], environment: Mapping[str, str], **how: Any) -> tuple[int, str]:
    done = subprocess.run(command, env=dict(environment), capture_output=True, check=False, timeout=200, **how)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def through_rclone(server: S3Server, volume: Path, target: Path, rows: list[Row], flags: list[str]) -> Way:
    """`rclone sync` to the store, and back into an empty directory."""
    environment = server.remote("s3") | {"RCLONE_RETRIES": "1"}
    program = find_rclone()
    remote = f"s3:backups/{target.name}"
    out, there = run([program, "sync", *flags, volume, remote], environment)
    back, here = run([program, "sync", *flags, remote, target], environment)
    errors = "\n".join(line for line in (there + here).splitlines() if "ERROR :" in line)
    return Way(judge(volume, target, rows, errors), (out, back))


def through_restic(server: S3Server, volume: Path, target: Path, rows: list[Row]) -> Way:
    """restic into a repository in the same bucket, and back with its holes."""
    environment = GO | {
        "PATH": os.environ["PATH"],
        "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{server.port}/backups/restic",
        "RESTIC_PASSWORD": "secret",
        "RESTIC_CACHE_DIR": str(target.parent / "restic-cache"),
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    restic = find_engine("restic")
    made, said = run([restic, "init"], environment)
    assert made == 0, said
    out, there = run([restic, "backup", volume], environment)
    back, here = run([restic, "restore", "latest", "--sparse", "--target", target], environment)
    # it keeps the whole path of what it was given
    return Way(judge(volume, target / volume.relative_to("/"), rows, there + here), (out, back))


def through_us(container: Container, server: S3Server, target: Path) -> tuple[Way, Said]:
    """A run of the mover, and `datamover restore` with the bucket and its key."""
    server.make_folders(container.data)
    ended = container.run(timeout=200, **RUN)
    assert ended.code == 0, ended.output
    secret = write_secret(target.parent / "secret.yaml", server.secret())
    options = ["--privileges", "--special", "-o", "json"]
    said = datamover("restore", "--secret", secret, "latest", target, *options, timeout=200)
    assert said.code == 0, said.errors
    return Way(judge(container.data, target, ROWS, said.text), (ended.code, said.code)), said


@pytest.fixture
def volume(any_container: Container) -> Iterator[Path]:
    mask = os.umask(0o022)
    nasty_tree.grow(any_container.data, ROWS)
    yield any_container.data
    os.umask(mask)


@pytest.mark.slow
@pytest.mark.timeout(400)  # four tools move a quarter of a GiB there and back
def test_every_row_comes_back_and_the_documents_say_what_others_lose(
    volume: Path,
    any_container: Container,
    any_s3: S3Server,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    before = fingerprint(volume)
    stated = documented()
    ours, said = through_us(any_container, any_s3, tmp_path / "ours")
    assert ours.verdicts == {row: verdict for row, verdict in stated["datamover"].items() if row in ours.verdicts}
    assert ours.not_kept() == {"socket"}
    after = fingerprint(tmp_path / "ours")
    assert {path for path in before if path not in after} == {b"socket/socket"}
    assert after == {path: kept for path, kept in before.items() if path in after}
    assert (said.document["target"], said.document["losses"]) == ("whole", [])
    # the large file is moved by all of them to one server only, for its time
    whole = any_s3.name == "versitygw"
    rows = [row for row in ROWS if whole or LARGE not in {row.name, row.of}]
    if not whole:
        shutil.rmtree(volume / next(row.folder for row in ROWS if row.name == LARGE))
    peers = {
        "rclone": through_rclone(any_s3, volume, tmp_path / "plain", rows, []),
        "rclone, metadata": through_rclone(
            any_s3, volume, tmp_path / "metadata", rows, [*METADATA, *([MARKERS] if whole else [])]
        ),
        "restic": through_restic(any_s3, volume, tmp_path / "restic", rows),
    }
    for tool, way in peers.items():
        record_property(tool, {"codes": way.codes, **way.verdicts})
        # what another version learns to keep makes the page older; what it states as kept must not be lost where folders can be kept
        warned = {row for row, verdict in stated[tool].items() if verdict != KEPT} & way.verdicts.keys()
        assert way.not_kept() >= warned if not whole else way.not_kept() == warned, tool


@pytest.mark.skipif(not ROOT, reason="a volume of others wants root")
def test_who_is_not_root_gets_every_row_but_what_only_root_may_give(tmp_path: Path) -> None:
    volume, target = tmp_path / "volume", tmp_path / "target"
    volume.mkdir()
    target.mkdir()
    rows = [row for row in ROWS if LARGE not in {row.name, row.of}]
    nasty_tree.grow(volume, rows)
    # its table goes by a whole path, and the folders of pytest let nobody through
    with tempfile.TemporaryDirectory() as scratch:
        backup = Backup(volume, Path(scratch))
        give_away(Path(scratch))
        give_away(target)

        def act() -> Facts:
            return backup.restore(target.name, privileges=True, special=True).facts

        facts = as_ordinary_user(act, folder=tmp_path)
    different = {row.name for row in rows if row.seen(target) != row.seen(volume)}
    assert different == {
        "owner and group",
        "owner of a link",
        "set-ID and sticky bits of a file",
        "capability of a program",
        "device",
        "socket",
    }
    assert facts.target == WHOLE
    told = {loss.kind: loss.examples for loss in facts.lost}
    assert told.keys() == {
        losses.OWNER,
        losses.BITS_OF_OTHERS,
        losses.DEVICE,
        "attributes, because: Operation not permitted",
    }
    assert told[losses.DEVICE] == ("device/loop", "device/null")
    assert [(loss.kind, loss.examples) for loss in facts.left_out] == [(losses.SOCKET, ("socket/socket",))]
