"""The command line itself: help, usage errors, completion, the printed definitions."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from datamover import __version__
from datamover.api.definitions import crds
from datamover.cli.embedded.state import WorldError
from datamover.cli.exits import Exit
from datamover.cli.main import main
from datamover.cli.options import (
    DataVolumeOptions,
    HostedControlPlaneOptions,
    MetricsAccess,
    Options,
    ReplicationOptions,
    StartError,
)
from datamover.cli.run import RunResult
from datamover.reconcilers.collection.facts import Machines
from datamover.reconcilers.hosted_control_plane.facts import PATIENT
from kubekit.runtime.leader import LeadershipLost
from support.builders import data_mover

MOVER = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: nightly}
spec: {sourcePvc: app-data, secretName: storage-credentials}
"""

COMMANDS = (
    (),
    ("run",),
    ("operator",),
    ("local",),
    ("local", "up"),
    ("state",),
    ("crds",),
    ("demo",),
    ("completion",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_there_and_every_option_says_what_it_does(command: tuple[str, ...], flag: str) -> None:
    result = CliRunner().invoke(main, [*command, flag])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert "\x08" not in result.output
    found = main
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    assert found.help
    assert found.short_help is None or len(found.short_help) <= 65, "whole on a terminal of 80 columns"
    for parameter in found.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{parameter.name} says nothing"  # type: ignore[attr-defined]


def test_the_exit_codes_are_in_the_help() -> None:
    text = CliRunner().invoke(main, ["run", "--help"]).output
    assert [int(code) for code in re.findall(r"^    (\d+)  ", text, re.MULTILINE)] == [int(code) for code in Exit]


def test_the_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"datamover, version {__version__}\n"


USAGE = {
    "no file": (["run"], "Missing option '-f'"),
    "an option that there is not": (["run", "--force"], "No such option"),
    "a command that there is not": (["backup"], "No such command 'backup'"),
    "a timeout of nothing": (["run", "-f", "x", "--timeout", "0"], "0"),
    "a timeout in words": (["run", "-f", "x", "--timeout", "soon"], "not a valid float"),
    "an output that there is not": (["run", "-f", "x", "-o", "yaml"], "'table', 'json'"),
    "a volume without a directory": (["run", "-f", "x", "--volume", "a"], "is not NAME=DIR"),
    "a namespace that is none": (["run", "-f", "x", "-n", "No Name"], "is not the name of a namespace"),
    "a patience that never ends": (["run", "-f", "x", "--patience", "nan"], "nan is not a number of seconds"),
    "a patience below zero": (["run", "-f", "x", "--patience", "-1"], "is not in the range"),
    "a timeout that never passes": (["run", "-f", "x", "--timeout", "nan"], "nan is not a number of seconds"),
    "a volume that is missing": (["run", "-f", "x", "--volume", "a=none"], "create the directory or correct the path"),
    "a volume that is a file": (["run", "-f", "x", "--volume", f"a={__file__}"], "is not a directory"),
    "a namespace to watch that is none": (["operator", "-n", "No Name"], "is not the name of a namespace"),
    "no workers": (["operator", "--workers", "0"], "1<=x<=64"),
    "a port beyond all ports": (["local", "up", "--port", "65536"], "0<=x<=65535"),
    "a shell that there is not": (["completion", "tcsh"], "'bash', 'zsh', 'fish'"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_command_line_ends_with_two_and_says_what_is_wrong(case: str) -> None:
    arguments, words = USAGE[case]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_the_definitions_are_printed_as_they_are_shipped() -> None:
    printed = CliRunner().invoke(main, ["crds"]).output
    assert list(yaml.safe_load_all(printed)) == list(crds())
    shipped = Path(__file__).parents[3] / "deploy" / "crds"
    assert "".join((shipped / f"{each}.yaml").read_text() for each in ("datamovers", "datamoverrestores")) == printed


@pytest.mark.parametrize("error", [WorldError("in use"), StartError("no cluster"), OSError(28, "No space left")])
def test_what_keeps_a_run_from_starting_is_one_line_and_two(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = invoke_run(tmp_path, monkeypatch, error)
    assert (result.exit_code, result.stderr) == (2, f"datamover: {error}\n")


def test_an_interrupt_before_anything_runs_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke_run(tmp_path, monkeypatch, KeyboardInterrupt()).exit_code == 130


@pytest.mark.parametrize("code", Exit)
def test_a_run_ends_with_its_code_and_says_how_to_go_on(
    code: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = invoke_run(tmp_path, monkeypatch, RunResult(code, (data_mover(),)), "--timeout", "5")
    assert result.exit_code == int(code)
    assert result.stdout.startswith(f"state: {tmp_path / 'state'}\n"), "in full, to be used from anywhere"
    assert ("gave up after 5 s; the same command goes on from here" in result.stdout) == (code is Exit.TIMEOUT)
    assert ("interrupted; the same command goes on from here" in result.stdout) == (code is Exit.INTERRUPTED)


def test_json_is_all_that_standard_output_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke_run(tmp_path, monkeypatch, RunResult(Exit.BLOCKED, (data_mover(),)), "-o", "json")
    assert json.loads(result.stdout) == {
        "exitCode": 3,
        "state": str(tmp_path / "state"),
        "dataMovers": [{"name": "nightly", "namespace": "default", "status": {}}],
        "dataMoverRestores": [],
        "dataVolumes": [],
        "replicationSources": [],
        "replicationDestinations": [],
    }
    assert result.exit_code == 3


def invoke_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: RunResult | BaseException,
    *arguments: str,
    euid: int = 1000,
) -> Result:
    """Invoke `datamover run` with a good manifest and a state given by a relative name; the run itself comes to `outcome`."""

    async def run(*args: object, **kwargs: object) -> RunResult:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("datamover.cli.run_command.run", run)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(main, ["run", "-f", "-", "--state", "state", *arguments], input=MOVER)


def test_an_operator_without_an_image_for_movers_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    result = CliRunner().invoke(main, ["operator"], env={"MOVER_IMAGE": None})
    assert result.exit_code == 1
    assert result.stderr.startswith("datamover operator: no image for movers: start with --mover-image IMAGE")
    assert result.stderr.count("\n") == 1


def test_the_environment_stands_for_options(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    async def serve(options: Options, **kwargs: object) -> None:
        seen.append(options)

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    given = {"MOVER_IMAGE": "x", "WATCH_NAMESPACE": "a", "POD_NAMESPACE": "b"}
    CliRunner().invoke(main, ["operator", "--metrics-bind-address", "0"], env=given)
    CliRunner().invoke(main, ["operator", "--leader-elect"], env=given | {"WATCH_NAMESPACE": ""})
    assert [(each.mover_image, each.namespace, each.leader_namespace, each.status_address) for each in seen] == [
        ("x", "a", None, None),
        ("x", None, "b", ":8082"),
    ]


def test_the_metrics_of_an_operator_are_guarded_as_options_or_environment_say(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[MetricsAccess] = []

    async def serve(options: Options, **_: object) -> None:
        seen.append(options.metrics_access)

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    files = {"METRICS_TLS_CERT": "tls.crt", "METRICS_TLS_KEY": "tls.key"}
    command = ["operator", "--mover-image", "x"]
    CliRunner().invoke(main, command, env={"METRICS_AUTH": None})
    CliRunner().invoke(main, command, env={"METRICS_AUTH": "true", **files})
    CliRunner().invoke(main, [*command, "--metrics-auth", "--metrics-auth-without-tls"])
    CliRunner().invoke(main, [*command, "--no-metrics-auth"], env={"METRICS_AUTH": "true"})
    assert seen == [
        MetricsAccess(),
        MetricsAccess(authenticated=True, certificate=Path("tls.crt"), key=Path("tls.key")),
        MetricsAccess(authenticated=True, plain_tokens=True),
        MetricsAccess(),
    ]


def test_whether_and_how_an_operator_replicates_is_as_options_or_environment_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[ReplicationOptions] = []

    async def serve(options: Options, **_: object) -> None:
        seen.append(options.replication)

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    command = ["operator", "--mover-image", "x"]
    limits = ["--replication-jitter", "5m", "--replication-max-concurrent", "20", "--replication-deadline", "1d"]
    CliRunner().invoke(main, command)
    CliRunner().invoke(main, [*command, "--replication", "--volsync-namespace", "theirs", *limits])
    environment = {
        "REPLICATION": "true",
        "VOLSYNC_NAMESPACE": "",
        "REPLICATION_JITTER": "90s",
        "REPLICATION_MAX_CONCURRENT": "1",
        "REPLICATION_DEADLINE": "0",
    }
    CliRunner().invoke(main, command, env=environment)
    assert seen == [
        ReplicationOptions(volsync_namespace="volsync-system"),
        ReplicationOptions(enabled=True, volsync_namespace="theirs", jitter=300.0, max_concurrent=20, deadline=86400.0),
        ReplicationOptions(enabled=True, volsync_namespace="volsync-system", jitter=90.0, max_concurrent=1),
    ]


def test_what_an_operator_does_about_data_volumes_is_as_options_or_environment_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[DataVolumeOptions] = []

    async def serve(options: Options, **_: object) -> None:
        seen.append(options.data_volumes)

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    command = ["operator", "--mover-image", "x"]
    wanted = ["--datavolume-collection", "--datavolume-ttl", "0", "--no-datavolume-stamp", "--datavolume-dry-run"]
    CliRunner().invoke(main, command)
    CliRunner().invoke(main, [*command, *wanted, "--leader-namespace", "movers"])
    environment = {
        "DATAVOLUME_COLLECTION": "true",
        "DATAVOLUME_TTL": "-1",
        "DATAVOLUME_VIRTUAL_MACHINES": "Collect",
        "DATAVOLUME_POPULATION": "true",
        "DATAVOLUME_DEADLINE": "12h",
        "CDI_NAMESPACE": "theirs",
    }
    CliRunner().invoke(main, command, env=environment)
    home = "datamover-operator-system"
    assert seen == [
        DataVolumeOptions(cdi_namespace="", home=home),
        DataVolumeOptions(collection=True, ttl=0, dry_run=True, stamp=False, cdi_namespace="", home="movers"),
        DataVolumeOptions(
            collection=True,
            ttl=-1,
            machines=Machines.COLLECT,
            population=True,
            deadline=43200.0,
            cdi_namespace="theirs",
            home=home,
        ),
    ]


def test_backups_of_hosted_control_planes_are_followed_where_options_or_environment_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[HostedControlPlaneOptions] = []

    async def serve(options: Options, **_: object) -> None:
        seen.append(options.hosted_control_planes)

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    command = ["operator", "--mover-image", "x"]
    CliRunner().invoke(main, command)
    CliRunner().invoke(main, [*command, "--hosted-control-planes", "--velero-namespace", "openshift-adp"])
    CliRunner().invoke(main, command, env={"HOSTED_CONTROL_PLANES": "true", "VELERO_NAMESPACE": ""})
    CliRunner().invoke(main, [*command, "--hosted-control-plane-stalled-after", "1h"])
    CliRunner().invoke(main, command, env={"HOSTED_CONTROL_PLANE_STALLED_AFTER": "90s"})
    assert seen == [
        HostedControlPlaneOptions(),
        HostedControlPlaneOptions(enabled=True, velero_namespace="openshift-adp"),
        HostedControlPlaneOptions(enabled=True),
        HostedControlPlaneOptions(stalled_after=timedelta(hours=1)),
        HostedControlPlaneOptions(stalled_after=timedelta(seconds=90)),
    ]
    assert HostedControlPlaneOptions().stalled_after == PATIENT.stall
    wrong = CliRunner().invoke(main, [*command, "--velero-namespace", "A b"])
    assert (wrong.exit_code, len(seen)) == (2, 5)
    for word in ("soon", "0", "30s", "366d"):
        wrong = CliRunner().invoke(main, [*command, "--hosted-control-plane-stalled-after", word])
        assert (wrong.exit_code, len(seen)) == (2, 5)
        assert "--hosted-control-plane-stalled-after" in wrong.output


@pytest.mark.parametrize(
    "flag", [["--datavolume-ttl", "1h"], ["--datavolume-virtual-machines", "Maybe"], ["--datavolume-deadline", "soon"]]
)
def test_a_flag_of_data_volumes_that_cannot_be_is_a_usage_error(flag: list[str]) -> None:
    assert CliRunner().invoke(main, ["operator", "--mover-image", "x", *flag]).exit_code == 2


@pytest.mark.parametrize(
    "flag", [["--replication-jitter", "soon"], ["--replication-max-concurrent", "0"], ["--volsync-namespace", ""]]
)
def test_a_flag_of_replication_that_cannot_be_is_a_usage_error(flag: list[str]) -> None:
    result = CliRunner().invoke(main, ["operator", "--mover-image", "x", "--replication", *flag])
    assert result.exit_code == 2
    assert flag[0] in result.stderr


def test_tokens_in_the_open_are_refused_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    result = CliRunner().invoke(main, ["operator", "--mover-image", "x", "--metrics-auth"])
    assert result.exit_code == 1
    assert "--metrics-tls-cert" in result.stderr
    assert "--metrics-auth-without-tls" in result.stderr


@pytest.mark.parametrize("error", [StartError("no image"), LeadershipLost("op lost the lease"), OSError(98, "in use")])
def test_an_operator_that_cannot_go_on_ends_with_one_line_and_one_so_that_it_is_started_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(options: Options, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("datamover.cli.operator.serve", serve)
    monkeypatch.setattr("datamover.cli.logs.set_up", lambda **kwargs: None)
    result = CliRunner().invoke(main, ["operator", "--mover-image", "x"])
    assert (result.exit_code, result.stderr) == (1, f"datamover operator: {error}\n")


def test_help_and_completion_load_nothing_that_is_slow() -> None:
    """A completion that takes a second is none."""
    code = (
        "import sys; from click.testing import CliRunner; from datamover.cli.main import main;"
        "CliRunner().invoke(main, ['--help']);"
        "print([name for name in ('aiohttp', 'rich', 'prometheus_client', 'localkube') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_usage_error_is_json_where_json_was_asked_for() -> None:
    for asked in (["-o", "json"], ["--output=json"], ["--output", "json"]):
        result = CliRunner().invoke(main, ["run", *asked])
        assert result.exit_code == 2
        assert json.loads(result.stdout) == {
            "exitCode": 2,
            "error": "Missing option '-f' / '--filename'.",
            "dataMovers": [],
            "dataMoverRestores": [],
            "dataVolumes": [],
            "replicationSources": [],
            "replicationDestinations": [],
        }


@pytest.mark.parametrize("error", [WorldError("in use"), KeyboardInterrupt()])
def test_json_is_printed_with_every_exit_code(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = invoke_run(tmp_path, monkeypatch, error, "-o", "json")
    document = json.loads(result.stdout)
    assert document["exitCode"] == result.exit_code
    assert document["error"] in result.stderr
    assert document["dataMovers"] == []
