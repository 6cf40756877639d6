"""Where the faithful S3 server comes from, and what happens without it."""

from pathlib import Path

import pytest

from support import s3
from support.programs import Undertaker
from support.s3 import MISSING, VersityServer, find_versitygw

BUILT = "/cache/versitygw"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program of that name on an otherwise empty PATH; another one is built."""
    monkeypatch.delenv("DATAMOVER_TEST_VERSITYGW", raising=False)
    monkeypatch.setattr(s3, "_built_versitygw", lambda: BUILT)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "versitygw"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def test_the_named_gateway_wins_then_the_one_on_path_then_the_built_one(
    gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_versitygw() == str(gateway)

    gateway.unlink()
    assert find_versitygw() == BUILT

    monkeypatch.setenv("DATAMOVER_TEST_VERSITYGW", "/named/versitygw")
    assert find_versitygw() == "/named/versitygw"


@pytest.mark.parametrize("required", [True, False])
def test_without_a_gateway_its_tests_are_skipped_with_the_cure_or_fail_where_nothing_may_be_missing(
    required: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3, "find_versitygw", lambda: None)
    monkeypatch.setenv("DATAMOVER_REQUIRE_KUBERNETES", "1" if required else "")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    undertaker = Undertaker(scratch)
    server = VersityServer(tmp_path / "buckets", undertaker)

    with pytest.raises(pytest.fail.Exception if required else pytest.skip.Exception) as told:
        server.arguments(0)

    undertaker.close()
    assert "python tools/build.py s3" in str(told.value)
    assert (MISSING in str(told.value)) is not required
