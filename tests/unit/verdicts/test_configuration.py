"""The plugin's configuration: five keys, minutes and seconds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.verdicts.configuration import Configuration, ConfigurationError

ALL_FIVE = {
    "dataUploadTimeout": "60",
    "dataUploadCheckPace": "30",
    "migration": "true",
    "readoptNodes": "true",
    "managedServices": "true",
}


def test_nothing_said_is_right() -> None:
    found = Configuration.read({})
    assert (found.data_upload_timeout, found.data_upload_check_pace) == (timedelta(minutes=30), timedelta(seconds=10))
    assert not found.timeout_set
    assert Configuration.read(None) == found


def test_all_five_keys_are_right_and_are_minutes_and_seconds() -> None:
    # upstream: 60 nanoseconds and 30 nanoseconds; the document: minutes and seconds
    found = Configuration.read(ALL_FIVE)
    assert found == Configuration(
        data_upload_timeout=timedelta(hours=1),
        data_upload_check_pace=timedelta(seconds=30),
        timeout_set=True,
        migration=True,
        readopt_nodes=True,
        managed_services=True,
    )


def test_the_documents_example() -> None:
    found = Configuration.read(
        {
            "dataUploadTimeout": "15",
            "dataUploadCheckPace": "30",
            "migration": "false",
            "readoptNodes": "false",
            "managedServices": "false",
        }
    )
    assert (found.data_upload_timeout, found.data_upload_check_pace) == (timedelta(minutes=15), timedelta(seconds=30))
    assert (found.migration, found.readopt_nodes, found.managed_services) == (False, False, False)
    assert found.warnings == ()


@pytest.mark.parametrize("key", ["dataUploadTimeout", "dataUploadCheckPace"])
@pytest.mark.parametrize(
    "value",
    [
        "invalid",
        "",
        " ",
        "-1",
        "-9223372036854775808",
        "1.5",
        "15m",
        "1_0",
        "0x10",
        "1e3",
        "²",
        "1 5",
        "99999999999999999999",
        "9" * 5000,
        "true",
        "\x1b[2J",
    ],
)
def test_a_number_that_is_none_names_its_key(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^error parsing {key}: ") as error:
        Configuration.read({key: value})
    assert error.value.key == key
    assert str(error.value).endswith(error.value.text)
    assert len(str(error.value)) < 500
    assert "\x1b" not in str(error.value)


def test_both_wrong_names_the_first() -> None:
    with pytest.raises(ConfigurationError, match="dataUploadTimeout"):
        Configuration.read({"dataUploadTimeout": "x", "dataUploadCheckPace": "y"})


@pytest.mark.parametrize(("timeout", "pace"), [("0", "0"), ("00", "+0"), ("-0", " 0\n")])
def test_zero_is_the_default(timeout: str, pace: str) -> None:
    assert Configuration.read({"dataUploadTimeout": timeout, "dataUploadCheckPace": pace}) == Configuration()


@pytest.mark.parametrize("value", [" 15", "15 ", "15\n", "\t15\r\n", "+15", "015"])
def test_white_space_around_a_number_is_no_part_of_it(value: str) -> None:
    assert Configuration.read({"dataUploadTimeout": value}).data_upload_timeout == timedelta(minutes=15)


@pytest.mark.parametrize(("key", "largest"), [("dataUploadTimeout", 525_600), ("dataUploadCheckPace", 86_400)])
def test_the_largest_number_and_the_one_beyond(key: str, largest: int) -> None:
    Configuration.read({key: str(largest)})
    with pytest.raises(ConfigurationError, match=f"from 0 to {largest}"):
        Configuration.read({key: str(largest + 1)})


@pytest.mark.parametrize(("value", "on"), [("true", True), ("false", False), ("True", False), ("", False)])
def test_waiting_within_the_backup_is_asked_for_by_a_key_of_our_own(value: str, on: bool) -> None:
    assert Configuration.read({"blocking": value}).blocking is on
    assert Configuration.read(ALL_FIVE).blocking is False


@pytest.mark.parametrize("value", ["True", "TRUE", "yes", "1", " true", "false", ""])
def test_only_the_word_itself_switches_on_and_nothing_is_an_error(value: str) -> None:
    found = Configuration.read({"migration": value, "readoptNodes": value, "managedServices": value})
    assert (found.migration, found.readopt_nodes, found.managed_services) == (False, False, False)
    assert len(found.warnings) == (0 if value in ("false", "") else 3)


def test_other_keys_are_told_and_have_no_effect() -> None:
    found = Configuration.read({"dataUploadTimeOut": "15"})
    assert found.data_upload_timeout == timedelta(minutes=30)
    assert found.warnings == ("key dataUploadTimeOut is not known and has no effect",)


def test_of_many_other_keys_a_few_are_told() -> None:
    found = Configuration.read({f"k{number}" + "x" * 100_000: "" for number in range(100)})
    assert len(found.warnings) == 9
    assert found.warnings[-1] == "92 more keys are not known and have no effect"
    assert sum(map(len, found.warnings)) < 3_000


@given(st.dictionaries(st.sampled_from([*ALL_FIVE, "x"]), st.text(max_size=50) | st.integers().map(str)))
def test_whatever_is_said_there_is_a_configuration_or_an_error_with_a_key(data: dict[str, str]) -> None:
    try:
        found = Configuration.read(data)
    except ConfigurationError as error:
        key = error.key
    else:
        key = None
    if key is not None:
        assert key in data
        return
    assert timedelta(minutes=1) <= found.data_upload_timeout <= timedelta(days=365)
    assert timedelta(seconds=1) <= found.data_upload_check_pace <= timedelta(days=1)


def test_waiting_while_the_item_is_backed_up_is_asked_for_by_a_key_of_ours():
    assert Configuration.read({"blocking": "true"}).blocking
    assert not Configuration.read({"blocking": "false"}).blocking
    assert not Configuration.read({}).blocking
    assert Configuration.read({"blocking": "true"}).warnings == ()
    odd = Configuration.read({"blocking": "True"})
    assert not odd.blocking
    assert odd.warnings == ('blocking is "True", which is off: only the word true, in small letters, is on',)
