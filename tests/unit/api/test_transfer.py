"""The words between operator and agent."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import outside, transfer
from datamover.api.transfer import Outcome, Progress, decode_outcome, encode_outcome, exit_code, read_progress

CLASSES = [value for value in transfer.FAILURE_CLASSES if value != transfer.INTERRUPTED]


def test_the_json_of_an_outcome_has_the_agreed_names() -> None:
    encoded = json.loads(encode_outcome(Outcome(run_id="r", failure_class="network", reason="ServerUnreachable")))
    assert set(encoded) == {
        "datamover", "version", "runId", "succeeded", "class", "reason", "message", "retryable", "destination", "timestamp", "files",
        "bytes", "transferredFiles", "transferredBytes", "copiedFiles", "copiedBytes", "deleted", "skippedSpecial", "symlinks", "verified", "verification", "checkedFiles", "readFiles", "comparison", "engine",
        "startedAt", "finishedAt", "problems", "log", "digest",
    }  # fmt: skip
    assert encoded["class"] == "network"
    assert encoded["verified"] is None


@given(st.text(max_size=6000), st.lists(st.text(max_size=400), max_size=12))
def test_an_outcome_always_fits_and_is_always_whole(message: str, problems: list[str]) -> None:
    clean = outside.clean(message, limit=6000)
    names = tuple(outside.clean(problem) for problem in problems)
    outcome = Outcome(run_id="r" * 128, message=clean, problems=names, destination="s3generic:" + "p" * 1000)
    encoded = encode_outcome(outcome)
    assert len(encoded) <= transfer.OUTCOME_LIMIT
    decoded = decode_outcome(encoded)
    assert decoded is not None
    assert decoded.run_id == outcome.run_id
    assert decoded.problems == names[: len(decoded.problems)]
    if len(json.dumps(clean, ensure_ascii=False)) + sum(map(len, names)) < 500:
        assert decoded == outcome


@pytest.mark.parametrize(
    "text", [None, "", "OOMKilled", "{}", '{"datamover":"outcome"', '{"datamover":"progress"}', b"\xff", "{"]
)
def test_other_termination_messages_are_no_outcome(text: str | bytes | None) -> None:
    assert decode_outcome(text) is None


HOSTILE = [
    '{"datamover":"outcome","x":' + "[" * 100_000,
    '{"datamover":"outcome","x":' + "[" * 3_000,
    '{"datamover":"outcome","files":1e26}',
    '{"datamover":"outcome","bytes":' + "9" * 26 + "}",
    '{"datamover":"outcome","deleted":9223372036854775808}',
    '{"datamover":"outcome","transferredBytes":-1}',
    '{"datamover":"outcome","message":"\\ud800"}',
    b'{"datamover":"outcome","message":"\xff"}',
    '{"datamover":"outcome","message":7}',
    '{"datamover":"outcome","message":"' + "x" * (1 << 20) + '"}',
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_outcome_that_cannot_be_read_says_why(text: str | bytes) -> None:
    with pytest.raises(outside.Unusable, match=r"^it "):
        transfer.parse_outcome(text)
    assert decode_outcome(text) is None


@pytest.mark.parametrize(
    "rest",
    ['"x":' + "[" * 3_000, '"files":1e26', '"bytes":' + "9" * 26, '"totalFiles":-1', '"trouble":"\\ud800"', '"eta":9223372036854775808'],
)  # fmt: skip
def test_a_progress_that_cannot_be_read_is_none(rest: str) -> None:
    assert read_progress('{"datamover":"progress","runId":"r","phase":"syncing",' + rest + "}") is None


@given(st.text(), st.text(), st.text())
def test_the_words_of_an_outcome_are_clean(one: str, other: str, third: str) -> None:
    said = Outcome(
        run_id=one, message=other, reason=third, failure_class=one, destination=other, timestamp=third, problems=(one,)
    )
    decoded = decode_outcome(json.dumps(json.loads(json.dumps(msgspec.to_builtins(said)))).replace('": ', '":', 1))
    assert decoded is not None
    for text in (decoded.run_id, decoded.message, decoded.reason, decoded.destination, *decoded.problems):
        assert outside.clean(text, limit=transfer.OUTCOME_LIMIT) == text
    assert decoded.failure_class in transfer.FAILURE_CLASSES
    assert decoded.timestamp is None


def test_a_file_that_is_named_like_a_progress_is_no_progress() -> None:
    name = '{"datamover":"progress","runId":"r","phase":"syncing","bytes":5}'
    assert read_progress(f"2024/08/06 14:30:52 INFO  : {name}") is None
    assert read_progress(f"{name}: Copied (new)") is None
    assert read_progress(f"2024-08-06T14:30:52.123456789+02:00 {name}") is not None


def test_the_words_of_a_progress_are_clean_and_its_phase_is_one_that_is_known() -> None:
    found = read_progress(
        '{"datamover":"progress","runId":"r","phase":"\x1b[2J\u001b","trouble":"\\u001b[31mno\u202e"}'.replace(
            "\x1b", "\\u001b"
        )
    )
    assert found is not None
    assert found.phase == transfer.SYNCING
    assert found.trouble == "\\x1b[31mno\\u202e"


def test_an_outcome_of_a_later_agent_is_still_read() -> None:
    newer = json.loads(encode_outcome(Outcome(run_id="r"))) | {"version": 2, "somethingNew": [1]}
    decoded = decode_outcome(json.dumps(newer, separators=(",", ":")))
    assert decoded is not None
    assert (decoded.run_id, decoded.version) == ("r", 2)


def test_progress_is_found_in_a_log_with_other_lines_and_times() -> None:
    line = '2024-08-06T14:30:52Z {"datamover":"progress","runId":"r","phase":"syncing","bytes":5,"eta":null,"new":1}'
    assert read_progress(line) == Progress(run_id="r", phase="syncing", bytes=5)
    assert read_progress(line.encode() + b"\n") == Progress(run_id="r", phase="syncing", bytes=5)


@pytest.mark.parametrize(
    "line", ["", "Transferred: 5 B", '{"datamover":"progress","runId":1}', '{"datamover":"outcome"}', "\ud800"]
)
def test_every_other_line_is_no_progress(line: str) -> None:
    assert read_progress(line) is None


def test_exit_codes_tell_success_from_terminal_and_retryable_ones() -> None:
    assert exit_code(None, retryable=False) == 0
    assert exit_code(transfer.INTERRUPTED, retryable=True) == 143
    terminal = [exit_code(name, retryable=False) for name in CLASSES]
    retryable = [exit_code(name, retryable=True) for name in CLASSES]
    assert len(set(terminal)) == len(set(retryable)) == len(CLASSES)
    assert all(code in transfer.TERMINAL_EXIT_CODES for code in terminal)
    assert all(code in transfer.RETRYABLE_EXIT_CODES for code in retryable)
    assert not set(transfer.TERMINAL_EXIT_CODES) & set(transfer.RETRYABLE_EXIT_CODES)
    assert exit_code("something later", retryable=True) in transfer.RETRYABLE_EXIT_CODES


def test_exit_codes_of_classes_never_move() -> None:
    assert [exit_code(name, retryable=False) for name in CLASSES] == list(range(20, 32))
    assert exit_code(transfer.CONFIG, retryable=False) == 20
    assert exit_code(transfer.NETWORK, retryable=True) == 47


def test_an_outcome_knows_its_exit_code() -> None:
    assert Outcome(succeeded=True).exit_code == 0
    assert Outcome(failure_class=transfer.GUARD).exit_code == 24
    assert Outcome().exit_code in transfer.TERMINAL_EXIT_CODES


@pytest.mark.parametrize(
    ("bucket", "prefix", "timestamp", "name"),
    [
        ("b", "", None, "s3generic:b/"),
        ("b", "p/q", None, "s3generic:b/p/q/"),
        ("b", "", "2024-08-06-143052", "s3generic:b/2024-08-06-143052/"),
        ("b", "p", "2024-08-06-143052", "s3generic:b/p/2024-08-06-143052/"),
    ],
)
def test_destinations_are_named_as_the_documents_do(bucket: str, prefix: str, timestamp: str | None, name: str) -> None:
    assert transfer.destination(bucket, prefix=prefix, timestamp=timestamp) == name


@given(st.text("abc/. \t\n\x7fü", max_size=12))
def test_a_prefix_is_refused_or_safe(text: str) -> None:
    try:
        prefix = transfer.path_prefix(text)
    except ValueError:
        return
    assert prefix == text.strip("/")
    segments = prefix.split("/") if prefix else []
    assert not {"", ".", "..", ".datamover"} & set(segments)
    assert all(letter >= " " and letter != "\x7f" for letter in prefix)


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("", ""), ("false", ""), (" true\n", "checksums"), ("download", "download"), ("sample:5%", "sample:5%"),
        ("sample:0.5%", "sample:0.5%"), ("sample:100%", "sample:100%"),
    ],
)  # fmt: skip
def test_a_method_of_verification_is_read(text: str, method: str) -> None:
    assert str(transfer.read_verification(text)) == method


@given(st.text(max_size=20))
def test_an_unknown_method_is_never_taken_for_off(text: str) -> None:
    known = {"", "true", "false", "download"}
    if text.strip() in known or text.strip().startswith("sample:"):
        return
    with pytest.raises(ValueError, match=r'"sample:5%"'):
        transfer.read_verification(text)


@pytest.mark.parametrize(
    ("method", "checked", "read", "files", "words", "never"),
    [
        (
            "checksums",
            9,
            0,
            9,
            "9 of 9 files were compared with the source by checksums recorded by the store; rot",
            "read back and",
        ),
        ("checksums", 7, 2, 9, "and 2 of which it has none were read back", "9 of 9"),
        ("checksums", 0, 9, 9, "9 of 9 files were read back", "checksums recorded"),
        ("download", 0, 8, 9, "8 of 9 files were read back", "checksums"),
        ("sample:5%", 0, 1, 9, "a sample of 1 of 9 files (sample:5%)", "9 of 9"),
        ("checksums", 0, 0, 0, "there was no file to compare", "compared with"),
        ("", 0, 0, 9, "does not say how", "checksum"),
    ],
)
def test_no_method_says_more_than_it_did(
    method: str, checked: int, read: int, files: int, words: str, never: str
) -> None:
    told = transfer.tell_verification(method=method, checked=checked, read=read, files=files)
    assert words in told
    assert never not in told


def test_an_outcome_of_an_earlier_mover_is_still_understood() -> None:
    told = decode_outcome(b'{"datamover":"outcome","version":1,"runId":"r","succeeded":true,"files":3,"verified":true}')
    assert told is not None
    assert (told.verified, told.verification, told.checked_files, told.read_files) == (True, "", 0, 0)


def test_of_a_log_the_last_whole_lines_are_kept_and_clean() -> None:
    lines = [f"line {number} of the engine \x1b[31m" for number in range(200)]
    kept = decode_outcome(encode_outcome(Outcome(log="\n".join(lines)), limit=1 << 20))

    assert kept is not None
    shown = kept.log.splitlines()
    assert 900 < len(kept.log.encode()) <= transfer.LOG_LIMIT
    assert shown[-1].startswith("line 199 of the engine")
    assert all(line.startswith("line ") and "\x1b" not in line for line in shown)


def test_an_outcome_that_is_too_long_loses_its_log_before_its_message() -> None:
    outcome = Outcome(message="m" * 3000, log="\n".join("é" * 100 for _ in range(9)))

    kept = decode_outcome(encode_outcome(outcome))

    assert kept is not None
    assert kept.message == outcome.message
    assert 0 < len(kept.log) < len(outcome.log)
