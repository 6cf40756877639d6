"""Standard output: lines for people and lines for the operator."""

import io

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.output import LINE, REMINDER, Output
from datamover.api import transfer

PROGRESS = msgspec.json.encode(transfer.Progress(run_id="r", phase="syncing", bytes=5, files=1)).decode()


def made(secret: str = "") -> tuple[Output, io.BytesIO]:
    stream = io.BytesIO()
    redact = (lambda text: text.replace(secret, "[redacted]")) if secret else (lambda text: text)
    return Output(stream, redact=redact), stream


def lines(stream: io.BytesIO) -> list[str]:
    return stream.getvalue().decode().splitlines()


def test_the_progress_is_within_the_last_lines_however_many_files_are_told() -> None:
    output, stream = made()
    output.tell(PROGRESS)
    for number in range(30_000):
        output.say(f"2024/08/06 14:30:52 INFO  : file-{number}: Copied (new)")
        if number % 997 == 0:
            assert any(transfer.read_progress(line) for line in lines(stream)[-REMINDER - 1 :])
    printed = lines(stream)
    assert sum(1 for line in printed if "Copied" in line) == 30_000
    assert len(printed) <= 30_000 * (1 + 1 / REMINDER) + 2


def test_nothing_is_repeated_before_there_is_a_progress() -> None:
    output, stream = made()
    for _ in range(3 * REMINDER):
        output.say("words")
    assert set(lines(stream)) == {"words"}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x1b\n\r{}"), max_size=300))
def test_what_people_see_moves_no_cursor_and_is_never_taken_for_a_progress(text: str) -> None:
    output, stream = made()
    output.say(text)
    output.say(PROGRESS + text)
    output.say(f"a message of the server:\n{PROGRESS}")
    raw = stream.getvalue().decode()
    assert not any(ord(letter) < 0x20 and letter != "\n" for letter in raw)
    assert all(transfer.read_progress(line) is None for line in raw.split("\n"))


def test_lines_are_bounded_and_stay_lines() -> None:
    output, stream = made()
    output.say("one\ntwo\n" + "x" * 10_000)
    assert [len(line) for line in lines(stream)] == [3, 5, LINE + 2]


def test_secrets_go_before_anything_is_cleaned() -> None:
    output, stream = made("top\x1bsecret\nof two lines")
    output.say("it is top\x1bsecret\nof two lines.")
    output.tell('{"datamover":"outcome","message":"it is top\x1bsecret\nof two lines"}')
    assert b"secret" not in stream.getvalue()


@given(st.text())
def test_json_for_the_operator_means_the_same_and_plays_no_tricks_on_a_terminal(text: str) -> None:
    output, stream = made()
    output.tell(msgspec.json.encode({"a": text + "\x1b\x7f\x9b\u202e\U000e0041"}).decode())
    printed = stream.getvalue().decode()
    assert msgspec.json.decode(printed) == {"a": text + "\x1b\x7f\x9b\u202e\U000e0041"}
    assert not [letter for letter in printed[:-1] if ord(letter) < 32 or 127 <= ord(letter) < 160 or letter == "\u202e"]
