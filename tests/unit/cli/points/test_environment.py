"""Where the bucket is said: a Secret in a file, or the environment."""

import io
from pathlib import Path

import pytest

from datamover.cli.manifests import ManifestError
from datamover.cli.points.environment import read_environment
from datamover.cli.points.place import Place
from support.points import write_secret

SECRET = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret-canary",
    "BUCKET_NAME": "ours",
    "BUCKET_HOST": "h",
}
SHELL = {"PATH": "/bin", "AWS_SESSION_TOKEN": "x", "RCLONE_S3_REGION": "x", "CUSTOM_PATH_PREFIX": "theirs"}


def read(path: Path, environ: dict[str, str] = SHELL, **place: str) -> dict[str, str]:
    return read_environment(Place(secret=str(path), **place), environ, stdin=io.StringIO())


@pytest.mark.parametrize("data", [False, True])
def test_a_secret_alone_says_who_and_where(tmp_path: Path, data: bool) -> None:
    assert read(write_secret(tmp_path / "s.yaml", SECRET, data=data)) == {"PATH": "/bin"} | SECRET


def test_what_a_secret_lacks_of_the_place_comes_from_the_environment(tmp_path: Path) -> None:
    keys = {name: value for name, value in SECRET.items() if name.startswith("AWS_")}
    found = read(write_secret(tmp_path / "s.yaml", keys), SHELL | {"BUCKET_NAME": "b"})
    assert (found["BUCKET_NAME"], found["CUSTOM_PATH_PREFIX"]) == ("b", "theirs")


def test_a_prefix_wins_and_the_movers_own_variables_are_not_the_secrets(tmp_path: Path) -> None:
    file = write_secret(tmp_path / "s.yaml", SECRET | {"DATAMOVER_RCLONE": "/evil", "CUSTOM_PATH_PREFIX": "a"})
    found = read(file, prefix="b")
    assert found["CUSTOM_PATH_PREFIX"] == "b"
    assert "DATAMOVER_RCLONE" not in found
    assert read_environment(Place(prefix="b"), {"X": "y"}, stdin=io.StringIO()) == {"X": "y", "CUSTOM_PATH_PREFIX": "b"}


@pytest.mark.parametrize("key", ["PATH", "LD_PRELOAD", "RCLONE_PASSWORD_COMMAND", "AWS_CONFIG_FILE"])
def test_a_secret_may_run_no_programs(tmp_path: Path, key: str) -> None:
    with pytest.raises(ManifestError, match=key) as caught:
        read(write_secret(tmp_path / "s.yaml", SECRET | {key: "value-canary"}))
    assert "canary" not in str(caught.value)


def test_of_several_secrets_one_is_named(tmp_path: Path) -> None:
    one = write_secret(tmp_path / "a", SECRET, name="one").read_text()
    file = tmp_path / "s.yaml"
    file.write_text(f"{one}\n---\n" + write_secret(tmp_path / "b", {"BUCKET_NAME": "x"}, name="two").read_text())
    with pytest.raises(ManifestError, match=r"one, two.*--secret-name"):
        read(file)
    assert read(file, secret_name="two")["BUCKET_NAME"] == "x"
    with pytest.raises(ManifestError, match="holds no Secret three"):
        read(file, secret_name="three")
