"""The id of an operation."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.outside import Unusable
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.operation import LIMIT, PREFIX, Operation, decode

STARTED = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
OPERATION = Operation(
    backup_uid="0f4c1b7e-2a4d-4c39-9d55-0a1b2c3d4e5f",
    namespace="clusters-test",
    name="test-hcp",
    started=STARTED,
    configuration=Configuration(),
)
CONFIGURATIONS = st.builds(
    lambda minutes, pace, migration: Configuration.read(
        {"dataUploadTimeout": str(minutes), "dataUploadCheckPace": str(pace), "migration": migration}
    ),
    st.integers(0, 525_600),
    st.integers(0, 86_400),
    st.sampled_from(["true", "false"]),
)


def test_it_says_all_that_the_next_process_needs() -> None:
    assert decode(OPERATION.encode()) == OPERATION


@given(CONFIGURATIONS)
def test_the_configuration_of_its_beginning_comes_with_it(configuration: Configuration) -> None:
    operation = Operation(backup_uid="u", namespace="n", name="h", started=STARTED, configuration=configuration)
    assert decode(operation.encode()) == operation


def test_it_is_text_that_can_be_a_label_of_nothing_but_fits_everywhere() -> None:
    longest = Operation(
        backup_uid="u" * 36, namespace="n" * 63, name="h" * 253, started=STARTED, configuration=Configuration()
    )
    assert len(longest.encode()) < 600
    assert longest.encode().isascii()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "du-0f4c1b7e.0a1b",
        "hcp",
        "hcp2-e30",
        PREFIX,
        PREFIX + "!",
        PREFIX + "é",
        PREFIX + "e30",
        PREFIX + "bnVsbA",
        PREFIX + "A" * 5,
        PREFIX + "A" * 1_000_000,
        PREFIX + base64.urlsafe_b64encode(b"[" * 1_000).decode(),
    ],
)
def test_what_is_none_of_ours_is_unusable(text: str) -> None:
    with pytest.raises(Unusable):
        decode(text)


@pytest.mark.parametrize(
    "wire",
    [
        b'{"u":"x","n":"../../etc","h":"h","s":1}',
        b'{"u":"x","n":"n","h":"h","s":-1}',
        b'{"u":"x","n":"n","h":"h","s":253402300800}',
        b'{"u":"x","n":"n","h":"h","s":1,"t":0}',
        b'{"u":"x","n":"n","h":"h","s":1,"t":-5}',
        b'{"u":"x","n":"n","h":"h","s":1,"p":0}',
        b'{"u":"x y","n":"n","h":"h","s":1}',
        b'{"u":"x","n":"n","h":"","s":1}',
        b'{"u":"x","n":"n","s":1}',
        b'{"u":"x","n":"n\\n","h":"h","s":1}',
        b'{"u":"x","n":"n","h":"h","s":"1"}',
    ],
)
def test_an_id_that_somebody_made_up_is_unusable(wire: bytes) -> None:
    with pytest.raises(Unusable, match="does not fit"):
        decode(PREFIX + base64.urlsafe_b64encode(wire).decode().rstrip("="))


@pytest.mark.parametrize("name", ["", "A", "a b", "x" * 254, "a/b"])
def test_no_id_is_handed_out_that_cannot_be_read_again(name: str) -> None:
    operation = Operation(backup_uid="u", namespace="n", name=name, started=STARTED, configuration=Configuration())
    with pytest.raises(ValueError):
        operation.encode()


@given(st.text(max_size=100) | st.binary(max_size=200).map(lambda raw: PREFIX + base64.urlsafe_b64encode(raw).decode()))
def test_whatever_comes_is_an_operation_or_unusable(text: str) -> None:
    try:
        found = decode(text)
    except Unusable:
        return
    assert found.namespace
    assert len(text) <= LIMIT
    assert found.configuration.data_upload_timeout >= timedelta(minutes=1)
