"""Which directories stand for which claims, and what is said of those that cannot."""

from pathlib import Path

import click
import pytest

from datamover.cli.namespaces import parse_namespace
from datamover.cli.volumes import Volume, VolumeType, find_clash, parse_volume


def test_a_volume_is_a_name_and_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "da=ta").mkdir()
    (tmp_path / "link").symlink_to("da=ta")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = Volume("app-data", tmp_path / "da=ta")
    for place in ("da=ta", "./da=ta/", "link", "~/da=ta", str(tmp_path / "da=ta")):
        assert parse_volume(f"app-data={place}") == wanted
    assert VolumeType().convert("app-data=link", None, None) == wanted
    assert VolumeType().convert(wanted, None, None) is wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("app-data", "is not NAME=DIR, such as app-data=./data"),
        ("app-data=", "is not NAME=DIR"),
        ("", "is not NAME=DIR"),
        ("=.", "is not the name of a PersistentVolumeClaim"),
        ("App=.", "use lower-case letters"),
        ("a/b=.", "is not the name of a PersistentVolumeClaim"),
        ("a\n=.", "is not the name of a PersistentVolumeClaim"),
        (f"{'a' * 254}=.", "is not the name of a PersistentVolumeClaim"),
        ("app-data=none", "none does not exist: create the directory or correct the path"),
        ("app-data=file", "file is not a directory"),
        ("app-data=file/x", "file/x does not exist"),
        (f"app-data={'x' * 300}", "cannot be used: File name too long"),
        ("app-data=~nobody-of-that-name/x", "cannot be used"),
    ],
)
def test_what_is_no_volume(text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.BadParameter) as refused:
        parse_volume(text)
    assert words in refused.value.message


def test_volumes_and_state_may_not_lie_in_one_another(tmp_path: Path) -> None:
    for name in ("a", "b", "state"):
        (tmp_path / name).mkdir()
    a, b = Volume("a", tmp_path / "a"), Volume("b", tmp_path / "b")
    assert find_clash((a, b), tmp_path / "state") is None
    assert find_clash((a, b), tmp_path / "a-state") is None, "the name only begins like that of a volume"
    assert find_clash((), tmp_path / "state") is None
    for state in (tmp_path / "b", tmp_path / "b" / "deep" / "state", tmp_path, tmp_path / "a" / ".." / "b"):
        assert "--state" in (find_clash((a, b), state) or "")
    (tmp_path / "link").symlink_to("a")
    assert "--volume a" in (find_clash((a,), tmp_path / "link" / "state") or "")


def test_a_claim_has_one_directory(tmp_path: Path) -> None:
    a, b = Volume("a", tmp_path / "one"), Volume("b", tmp_path / "two")
    assert find_clash((a, b, a, b), tmp_path / "state") == (
        "--volume names a, b more than once: give each claim one directory"
    )


def test_a_namespace_is_checked_where_it_is_given() -> None:
    option = click.Option(["-n"])
    context = click.Context(click.Command("x"))
    assert parse_namespace(context, option, "backups") == "backups"
    assert parse_namespace(context, option, None) is None
    with pytest.raises(click.BadParameter, match="'No Name' is not the name of a namespace"):
        parse_namespace(context, option, "No Name")
