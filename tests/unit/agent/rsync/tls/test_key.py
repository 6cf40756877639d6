"""Reading the key of both sides, as Secrets have it."""

from pathlib import Path

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.rsync.tls.key import read_key

SECRET = "0123456789abcdef" * 8
GOOD = f"volsync:{SECRET}"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (f"{GOOD}\n", (GOOD,)),
        (GOOD, (GOOD,)),
        (f"{GOOD}\r\n", (GOOD,)),
        (f"\n  {GOOD}  \n\n", (GOOD,)),
        (f"{GOOD}\nother:{SECRET}\n", (GOOD, f"other:{SECRET}")),
        (f"somebody-else:{SECRET}", (f"somebody-else:{SECRET}",)),
        ("volsync:sixteen letters!".replace(" ", "-"), ("volsync:sixteen-letters!",)),
    ],
    ids=["whole", "no-newline", "windows", "blanks", "two-lines", "another-identity", "no-hexadecimal"],
)
def test_a_key_is_read_however_an_editor_has_left_it(content: str, lines: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "psk.txt"
    path.write_bytes(content.encode())
    key = read_key(str(path))
    assert key.lines == lines
    key.write(str(tmp_path / "written"))
    assert (tmp_path / "written").read_text() == "".join(f"{line}\n" for line in lines)
    assert (tmp_path / "written").stat().st_mode & 0o777 == 0o600
    secret = lines[0].partition(":")[2]
    assert secret not in key.redactor()(f"it is {secret}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"volsync",
        b"volsync:",
        f":{SECRET}".encode(),
        SECRET.encode(),
        b"volsync:" + b"0" * 30,
        f"{GOOD}\nhalf:a".encode(),
        f"{SECRET[:20]} volsync:{SECRET}".encode(),
        b"volsync:" + SECRET.encode() + b"\0",
        b"\xff\xfe" + GOOD.encode("utf-16-le"),
        GOOD.encode() * 200,
    ],
)  # fmt: skip
def test_a_key_of_another_form_is_refused_without_a_word_of_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "psk.txt"
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match="wrong form") as raised:
        read_key(str(path))
    assert SECRET[:20] not in str(raised.value)
