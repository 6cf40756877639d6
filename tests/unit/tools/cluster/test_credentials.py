"""What `up` takes as the sign that all certificates and keys are there."""

import datetime as dt
from pathlib import Path

import pytest

from cluster import credentials
from cluster.certificates import Authority, ends_at
from cluster.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_keys_and_configurations_are_for_root_alone(layout: Layout) -> None:
    credentials.write_credentials(layout)

    private = [*layout.secrets.glob("*.key"), *layout.secrets.glob("*.kubeconfig"), layout.kubeconfig]
    assert len(private) == 6 + len(credentials.CLIENTS) + 1
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert layout.secrets.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("failing", range(len(credentials.CLIENTS) + 1))
def test_the_administrators_comes_last(monkeypatch: pytest.MonkeyPatch, layout: Layout, failing: int) -> None:
    """Wherever it ends, what `up` looks for is not there."""
    written = iter(range(100))
    write = credentials.yaml.safe_dump

    def break_off(content: object, file: object) -> None:
        if next(written) == failing:
            raise OSError("no space left")
        write(content, file)

    monkeypatch.setattr(credentials.yaml, "safe_dump", break_off)

    with pytest.raises(OSError, match="no space left"):
        credentials.write_credentials(layout)

    assert not layout.kubeconfig.exists()


def test_certificates_last_a_year() -> None:
    left = ends_at(Authority().pem) - dt.datetime.now(dt.UTC)

    assert dt.timedelta(days=364) < left <= dt.timedelta(days=365)
