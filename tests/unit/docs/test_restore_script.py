"""The script that the destination page prints: files that came back plain get what only the manifest knows."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datamover.agent import manifest, walk

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "destination.md").read_text(encoding="utf-8")
YEAR_2001 = 1_000_000_000_123_456_789


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A volume with what an object store cannot keep."""
    root = tmp_path / "source"
    (root / "deep" / "empty").mkdir(parents=True)
    (root / "deep" / "script.sh").write_text("echo hello\n")
    (root / "deep" / "script.sh").chmod(0o750)
    (root / "read-only").write_text("x")
    (root / "read-only").chmod(0o400)
    (root / "first").write_text("two names")
    os.link(root / "first", root / "second")
    (root / "link").symlink_to("deep/script.sh")
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf8-\xff")).write_text("odd")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(YEAR_2001, YEAR_2001), follow_symlinks=False)
    return root


def restore_plainly(source: Path, target: Path) -> None:
    """Copy as `rclone copy --links` does: contents and links, nothing else."""
    target.mkdir()
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        if path.is_symlink():
            copy.symlink_to(os.readlink(path))
        elif path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def look(root: Path) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        mode = None if path.is_symlink() else stat.S_IMODE(status.st_mode)
        found[str(path.relative_to(root))] = (stat.S_IFMT(status.st_mode), mode, status.st_mtime_ns, status.st_nlink)
    return found


def test_the_script_gives_restored_files_what_the_manifest_knows(source: Path, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "apply_manifest.py").write_text(script)
    writer = manifest.Writer(str(tmp_path / "manifest.jsonl.gz"), manifest.Header(run_id="run"))
    tally = walk.Tally()
    for _ in walk.walk(os.fsencode(source), tally=tally, add=writer.add, prefix_size=0, tick=lambda: None):
        pass
    writer.add(manifest.about(manifest.STALE, b"gone"))
    writer.close()
    restore_plainly(source, tmp_path / "restored")
    done = subprocess.run(
        [sys.executable, tmp_path / "apply_manifest.py", tmp_path / "manifest.jsonl.gz", tmp_path / "restored"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert look(tmp_path / "restored") == look(source)
