"""Where Prometheus is looked for, and what is said where it cannot be had. Fetching it is what `make prometheus` does."""

import subprocess
import sys
from pathlib import Path

import pytest

import prometheus

TOOL = Path(__file__).resolve().parents[3] / "tools" / "prometheus.py"


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_both_programs_on_the_path_win(tmp_path: Path) -> None:
    here = put(tmp_path / "bin", "prometheus", "promtool")
    put(tmp_path / "datamover" / "prometheus", "prometheus", "promtool")
    assert prometheus.find_programs({"PATH": str(here), "XDG_CACHE_HOME": str(tmp_path)}) == here


def test_one_program_on_the_path_is_not_enough(tmp_path: Path) -> None:
    environment = {"PATH": str(put(tmp_path / "bin", "promtool")), "HOME": str(tmp_path)}
    assert prometheus.find_programs(environment) is None
    kept = put(tmp_path / ".cache" / "datamover" / "prometheus", "prometheus", "promtool")
    assert prometheus.find_programs(environment) == kept


def test_a_machine_without_debians_tools_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(prometheus.FetchError, match=r"no Debian machine. Cure: install Prometheus"):
        prometheus.fetch({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})


def test_a_package_that_cannot_be_fetched_is_told_in_the_words_of_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = put(tmp_path / "bin", "dpkg-deb", "apt-get")
    (tools / "apt-get").write_text("#!/bin/sh\necho no lists of $1 >&2\nexit 100\n")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    with pytest.raises(prometheus.FetchError, match=r"`apt-get update -qq` failed: no lists of update. Cure: "):
        prometheus.fetch({"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path)})
    assert not (tmp_path / "datamover" / "prometheus").exists()


def test_asking_where_it_is_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--print"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "python tools/prometheus.py" in done.stderr
    assert not (tmp_path / ".cache").exists()
