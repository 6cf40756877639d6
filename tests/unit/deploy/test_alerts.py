"""The alert rules, evaluated by Prometheus' own promtool over series that are made up. Skipped without it."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api import names, reasons, transfer
from datamover.api.waits import WAITS, EndedBy, Severity
from support.parsing import read_yaml
from support.prometheus import find_prometheus

FILE = Path(__file__).resolve().parents[3] / "deploy" / "charts" / "datamover" / "files" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in read_yaml(FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
}
LEADS = f'leader_election_master_status{{name="{names.LEASE_NAME}",'
FOREIGN = 'leader_election_master_status{name="9cf8bbf0.example.com",'
Labels = dict[str, str]
Series = Mapping[str, str]
Evaluate = Callable[..., None]


def expected(alert: str, labels: Labels) -> dict[str, Any]:
    """Return what promtool is to find of an alert: the rule's labels and annotations, with these labels in them."""
    rule = RULES[alert]

    def fill(text: str) -> str:
        safe = r"\1" if labels.get("data_safe") == "true" else ""
        text = re.sub(r'\{\{ if eq \$labels\.data_safe "true" \}\}(.*?)\{\{ end \}\}', safe, text)
        text = re.sub(r"\{\{ \$labels\.(\w+) \| toLower \}\}", lambda found: labels.get(found[1], "").lower(), text)
        kept = r"\1" if "namespace" in labels else ""
        text = re.sub(r"\{\{ with \$labels\.namespace \}\}(.*?)\{\{ end \}\}", kept, text)
        text = text.replace("{{ . }}", labels.get("namespace", ""))
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)

    annotations = {key: fill(text) for key, text in rule["annotations"].items()}
    return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": annotations}


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Holds an alert against series with a sample each `step`: `evaluate(alert, series, at="1h", fires=({labels}, ...))`."""
    promtool = find_prometheus() / "promtool"

    def run(alert: str, series: Series, *, at: str, fires: tuple[Labels, ...] = (), step: str = "1m") -> None:
        test = {
            "interval": step,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {"eval_time": at, "alertname": alert, "exp_alerts": [expected(alert, labels) for labels in fires]}
            ],
        }
        file = tmp_path / "test.yaml"
        document = {"rule_files": [str(FILE)], "evaluation_interval": step, "tests": [test]}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        done = subprocess.run(
            [promtool, "test", "rules", file], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_the_rules_are_rules(evaluate: Evaluate) -> None:
    done = subprocess.run(
        [find_prometheus() / "promtool", "check", "rules", FILE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(AssertionError):  # the tests below can fail
        evaluate("DataMoverOperatorNoLeader", {f'{LEADS}namespace="a",pod="p"}}': "0x20"}, at="10m")


# --- a leader -----------------------------------------------------------------------------------------------------


def test_an_operator_that_leads_is_no_alert_whatever_the_standby_says(evaluate: Evaluate) -> None:
    series = {f'{LEADS}namespace="a",pod="p"}}': "1x20", f'{LEADS}namespace="a",pod="q"}}': "0x20"}
    evaluate("DataMoverOperatorNoLeader", series, at="10m")


def test_another_operator_that_leads_does_not_hide_that_ours_does_not(evaluate: Evaluate) -> None:
    series = {
        f'{LEADS}namespace="a",pod="p"}}': "0x20",
        f'{LEADS}namespace="a",pod="q"}}': "0x20",
        f'{FOREIGN}namespace="a",pod="r"}}': "1x20",
        f'{FOREIGN}namespace="b",pod="r"}}': "1x20",
    }
    evaluate("DataMoverOperatorNoLeader", series, at="10m", fires=({"namespace": "a"},))


def test_another_operator_without_a_leader_is_not_ours_to_tell(evaluate: Evaluate) -> None:
    series = {f'{FOREIGN}namespace="b",pod="r"}}': "0x20", f'{LEADS}namespace="a",pod="p"}}': "1x20"}
    evaluate("DataMoverOperatorNoLeader", series, at="10m")


def test_of_two_releases_the_one_that_leads_does_not_hide_the_other(evaluate: Evaluate) -> None:
    series = {
        f'{LEADS}namespace="a",pod="p"}}': "1x20",
        f'{LEADS}namespace="b",pod="q"}}': "0x20",
        f'{LEADS}namespace="b",pod="r"}}': "0x20",
    }
    evaluate("DataMoverOperatorNoLeader", series, at="10m", fires=({"namespace": "b"},))


def test_a_short_while_without_a_leader_is_no_alert(evaluate: Evaluate) -> None:
    evaluate("DataMoverOperatorNoLeader", {f'{LEADS}namespace="a",pod="p"}}': "1x10 0x3 1x10"}, at="14m")


# --- there at all -------------------------------------------------------------------------------------------------


def informer(namespace: str, pod: str, resource: str = "jobs", state: str = "watching") -> str:
    return f'datamover_informer_state{{namespace="{namespace}",pod="{pod}",resource="{resource}",state="{state}"}}'


def test_an_operator_that_was_never_there_is_told(evaluate: Evaluate) -> None:
    evaluate("DataMoverOperatorAbsent", {"up": "1x60"}, at="15m", fires=({},))


def test_of_two_releases_the_one_that_is_there_does_not_hide_the_other(evaluate: Evaluate) -> None:
    series = {informer("a", "p"): "1x120", informer("b", "q"): "1x30"}
    evaluate("DataMoverOperatorAbsent", series, at="1h", fires=({"namespace": "b"},))


def test_an_operator_that_went_is_told_once_and_told_still_after_a_day(evaluate: Evaluate) -> None:
    series = {informer("a", "p"): "1x6"}
    evaluate("DataMoverOperatorAbsent", series, at="1h", step="5m", fires=({"namespace": "a"},))
    evaluate("DataMoverOperatorAbsent", series, at="26h", fires=({},), step="5m")


def test_a_new_pod_in_the_place_of_the_old_is_no_alert(evaluate: Evaluate) -> None:
    series = {informer("a", "p"): "1x30 stale", informer("a", "q"): "_x32 1x120"}
    evaluate("DataMoverOperatorAbsent", series, at="2h")


def test_a_kind_that_cannot_be_watched_is_told_across_pods(evaluate: Evaluate) -> None:
    state = "forbidden"
    series = {
        informer("a", "p", state=state): "1x8 stale",
        informer("a", "q", state=state): "_x8 1x20",
        informer("b", "r", state=state): "0x30",
        informer("a", "q", resource="volumesnapshots", state="absent"): "1x30",
    }
    labels = {"namespace": "a", "resource": "jobs", "state": state}
    evaluate("DataMoverOperatorCannotWatch", series, at="14m", fires=(labels,))


# --- backups ------------------------------------------------------------------------------------------------------


def phase(pod: str, name: str = "nightly") -> str:
    return f'datamover_current_phase{{namespace="shop",name="{name}",pod="{pod}"}}'


STUCK = ({"namespace": "shop", "name": "nightly"},)


def test_six_hours_without_an_end_are_told_and_less_is_not(evaluate: Evaluate) -> None:
    evaluate("DataMoverStuck", {phase("p"): "3x80"}, at="365m", step="5m", fires=STUCK)
    evaluate("DataMoverStuck", {phase("p"): "3x80"}, at="350m", step="5m")
    evaluate("DataMoverStuck", {phase("p"): "3x60 5x20"}, at="365m", step="5m")


def test_the_six_hours_go_on_when_another_replica_leads(evaluate: Evaluate) -> None:
    """Nobody exports the series for a few minutes, then another Pod does."""
    series = {phase("p"): "3x180 stale", phase("q"): "_x185 3x220"}
    evaluate("DataMoverStuck", series, at="365m", fires=STUCK)


def test_a_backup_that_ends_under_the_next_leader_is_not_stuck(evaluate: Evaluate) -> None:
    series = {phase("p"): "3x358 stale", phase("q"): "_x359 5x20"}
    evaluate("DataMoverStuck", series, at="365m")


def failures(pod: str, namespace: str = "shop") -> str:
    return f'datamover_data_sync_operations_total{{namespace="{namespace}",status="failure",pod="{pod}"}}'


FAILED = ({"namespace": "shop"},)


def test_a_failure_is_told_for_a_quarter_of_an_hour(evaluate: Evaluate) -> None:
    series = {failures("p"): "0x30 1x60"}
    evaluate("DataMoverSyncFailed", series, at="30m")
    evaluate("DataMoverSyncFailed", series, at="32m", fires=FAILED)
    evaluate("DataMoverSyncFailed", series, at="50m")


def test_a_failure_that_came_before_the_first_scrape_is_told(evaluate: Evaluate) -> None:
    """The first DataMover of a namespace may fail within seconds: nobody has seen the counter at 0."""
    series = {failures("p", "other"): "0x90", failures("p"): "_x30 1x60"}
    evaluate("DataMoverSyncFailed", series, at="31m", fires=FAILED)
    evaluate("DataMoverSyncFailed", series, at="50m")


def test_a_gap_in_the_scrapes_makes_no_old_failure_new(evaluate: Evaluate) -> None:
    evaluate("DataMoverSyncFailed", {failures("p"): "0x30 3x570 _x20 3x100"}, at="625m")


def test_another_replica_that_leads_is_no_failure(evaluate: Evaluate) -> None:
    series = {failures("p"): "0x10 3x30 stale", failures("q"): "_x42 0x60"}
    evaluate("DataMoverSyncFailed", series, at="44m")
    evaluate("DataMoverSyncFailed", series, at="70m")


def test_a_claim_without_a_backup_for_26_hours_is_told(evaluate: Evaluate) -> None:
    series = {
        'datamover_source_last_success_timestamp_seconds{namespace="shop",source="app-data",pod="p"}': "0x320",
        'datamover_source_last_success_timestamp_seconds{namespace="shop",source="fresh",pod="p"}': "90000x320",
    }
    alert = "DataMoverNoRecentSuccess"
    evaluate(alert, series, at="25h", step="5m")
    evaluate(alert, series, at="1565m", step="5m", fires=({"namespace": "shop", "source": "app-data"},))


def test_a_claim_whose_first_backups_do_not_complete_is_told_as_one_whose_last_ones_do_not(evaluate: Evaluate) -> None:
    first = 'datamover_source_first_attempt_timestamp_seconds{namespace="shop",source="app-data",pod="p"}'
    last = 'datamover_source_last_success_timestamp_seconds{namespace="shop",source="app-data",pod="p"}'
    told = ({"namespace": "shop", "source": "app-data"},)
    alert = "DataMoverNoRecentSuccess"
    evaluate(alert, {first: "0x320"}, at="25h", step="5m")
    evaluate(alert, {first: "0x320"}, at="1565m", step="5m", fires=told)
    evaluate(alert, {first: "0x300 stale", last: "_x301 90000x30"}, at="1565m", step="5m")


def test_a_claim_whose_last_verified_backup_is_old_is_told_and_one_that_never_had_one_is_not(
    evaluate: Evaluate,
) -> None:
    def verified(source: str) -> str:
        return f'datamover_source_last_verified_timestamp_seconds{{namespace="shop",source="{source}",pod="p"}}'

    unverified = 'datamover_source_last_success_timestamp_seconds{namespace="shop",source="unverified",pod="p"}'
    series = {verified("app-data"): "0x36", verified("fresh"): "0x20 1728000x16", unverified: "0x36"}
    evaluate("DataMoverVerificationOld", series, at="34d", step="1d")
    evaluate(
        "DataMoverVerificationOld", series, at="36d", step="1d", fires=({"namespace": "shop", "source": "app-data"},)
    )


def test_a_backup_that_was_found_damaged_is_told_until_it_is_whole(evaluate: Evaluate) -> None:
    labels = 'namespace="shop",name="nightly",reason="BackupDamaged",pod="p"'
    series = {f"datamover_backup_damaged_timestamp_seconds{{{labels}}}": "1722954652x30 stale"}
    told = {"namespace": "shop", "name": "nightly", "reason": "BackupDamaged"}
    evaluate("DataMoverBackupDamaged", series, at="1m", fires=(told,))
    evaluate("DataMoverBackupDamaged", series, at="45m")
    assert RULES["DataMoverBackupDamaged"]["labels"]["severity"] == "critical"


def failed(pod: str, *, name: str = "nightly", reason: str = "AccessDenied") -> str:
    labels = f'namespace="shop",name="{name}",source="app-data",reason="{reason}",pod="{pod}"'
    return f"datamover_failed_timestamp_seconds{{{labels}}}"


REFUSED = {"namespace": "shop", "name": "nightly", "source": "app-data", "reason": "AccessDenied"}


def test_a_failed_one_is_named_until_its_series_goes(evaluate: Evaluate) -> None:
    series = {failed("p"): "1722954652x600 stale", failed("p", name="weekly"): "1722954652x900"}
    other = {**REFUSED, "name": "weekly"}
    evaluate("DataMoverFailed", series, at="1m", fires=(REFUSED, other))
    evaluate("DataMoverFailed", series, at="10h", fires=(REFUSED, other))
    evaluate("DataMoverFailed", series, at="615m", fires=(other,))


def test_a_failed_one_is_named_once_across_replicas(evaluate: Evaluate) -> None:
    """Nobody exports the series for a few minutes, then another Pod does."""
    series = {failed("p"): "1722954652x30 stale", failed("q"): "_x36 1722954652x60"}
    for moment in ("31m", "34m", "38m"):
        evaluate("DataMoverFailed", series, at=moment, fires=(REFUSED,))


def waits(reason: str, severity: str, *, safe: str = "false", pod: str = "p") -> str:
    labels = f'namespace="shop",name="nightly",reason="{reason}",data_safe="{safe}",severity="{severity}",pod="{pod}"'
    return f"datamover_waiting_since_timestamp_seconds{{{labels}}}"


def wait_labels(reason: str, *, safe: str = "false") -> Labels:
    return {"namespace": "shop", "name": "nightly", "reason": reason, "data_safe": safe}


def test_what_somebody_must_do_is_told_after_a_quarter_of_an_hour(evaluate: Evaluate) -> None:
    series = {waits("SecretNotFound", "warning"): "0x60"}
    evaluate("DataMoverBlocked", series, at="14m")
    evaluate("DataMoverBlocked", series, at="16m", fires=(wait_labels("SecretNotFound"),))
    evaluate("DataMoverWaiting", series, at="61m")


def test_a_wait_is_as_old_as_it_is_however_often_the_operator_begins_anew(evaluate: Evaluate) -> None:
    """Each Pod exports since when it is; an operator that ends every ten minutes would otherwise never tell."""
    told = wait_labels("SecretNotFound")
    series = {
        waits("SecretNotFound", "warning", pod="p"): "0x8 stale",
        waits("SecretNotFound", "warning", pod="q"): "_x10 0x4 stale",
        waits("SecretNotFound", "warning", pod="r"): "_x16 0x3 stale",
    }
    evaluate("DataMoverBlocked", series, at="12m")
    evaluate("DataMoverBlocked", series, at="17m", fires=(told,))
    evaluate("DataMoverBlocked", series, at="26m")


def test_what_may_come_right_by_itself_is_told_after_an_hour_and_says_when_the_data_are_safe(
    evaluate: Evaluate,
) -> None:
    series = {waits("WaitingForCloneRemoval", "info", safe="true"): "0x90"}
    evaluate("DataMoverWaiting", series, at="59m")
    evaluate("DataMoverWaiting", series, at="61m", fires=(wait_labels("WaitingForCloneRemoval", safe="true"),))
    evaluate("DataMoverBlocked", series, at="61m")
    expectation = expected("DataMoverWaiting", wait_labels("WaitingForCloneRemoval", safe="true"))
    assert "Its data are safe" in expectation["exp_annotations"]["description"]


def test_each_severity_of_a_wait_has_one_alert_of_the_same() -> None:
    selected = {
        severity: name
        for name, rule in RULES.items()
        for severity in re.findall(r'datamover_waiting_since_timestamp_seconds\{severity="(\w+)"\}', rule["expr"])
    }
    assert selected == {"warning": "DataMoverBlocked", "info": "DataMoverWaiting"}
    assert {severity.value for severity in Severity} == set(selected)
    assert all(RULES[name]["labels"]["severity"] == severity for severity, name in selected.items())
    assert {WAITS[reason].ended_by for reason in (reasons.SECRET_NOT_FOUND, reasons.NAME_TAKEN)} == {EndedBy.PERSON}


# --- restores -----------------------------------------------------------------------------------------------------


def of_restore(family: str, pod: str = "p", **more: str) -> str:
    labels = {"namespace": "shop", "name": "back", **more, "pod": pod}
    return f"datamover_restore_{family}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


BACK = {"namespace": "shop", "name": "back"}
LOST = {"claim": "app-data", "reason": "TargetTooSmall"}


def test_a_restore_that_failed_is_named_until_its_series_goes_also_when_another_replica_leads(
    evaluate: Evaluate,
) -> None:
    series = {
        of_restore("failed_timestamp_seconds", **LOST): "1722954652x30 stale",
        of_restore("failed_timestamp_seconds", "q", **LOST): "_x36 1722954652x60 stale",
    }
    for moment in ("1m", "34m", "60m"):
        evaluate("DataMoverRestoreFailed", series, at=moment, fires=({**BACK, **LOST},))
    evaluate("DataMoverRestoreFailed", series, at="115m")


def test_a_claim_that_may_be_half_restored_is_told_at_once_and_urgently(evaluate: Evaluate) -> None:
    alert, half = "DataMoverRestoreLeftHalf", of_restore("half_restored_timestamp_seconds", claim="app-data")
    evaluate(alert, {half: "1722954652x30 stale"}, at="1m", fires=({**BACK, "claim": "app-data"},))
    evaluate(alert, {half: "1722954652x30 stale"}, at="45m")
    assert RULES[alert]["labels"]["severity"] == "critical"


def test_a_restore_that_stands_still_is_told_by_how_urgent_it_is(evaluate: Evaluate) -> None:
    urgent = of_restore("waiting_since_timestamp_seconds", reason="TargetInUse", severity="warning")
    other = of_restore("waiting_since_timestamp_seconds", reason="TargetNotBound", severity="info")
    evaluate("DataMoverRestoreBlocked", {urgent: "0x90", other: "0x90"}, at="14m")
    evaluate(
        "DataMoverRestoreBlocked", {urgent: "0x90", other: "0x90"}, at="16m", fires=({**BACK, "reason": "TargetInUse"},)
    )
    evaluate("DataMoverRestoreWaiting", {urgent: "0x90", other: "0x90"}, at="59m")
    evaluate(
        "DataMoverRestoreWaiting",
        {urgent: "0x90", other: "0x90"},
        at="61m",
        fires=({**BACK, "reason": "TargetNotBound"},),
    )


# --- replication ----------------------------------------------------------------------------------------------------

REPLICA = {"obj_name": "nightly", "obj_namespace": "shop", "role": "source", "method": "restic"}
WAITS_SINCE = "datamover_replication_copy_trigger_waiting_since_timestamp_seconds"


def of_replica(family: str, pod: str = "p", **more: str) -> str:
    labels = {**REPLICA, **more, "namespace": "datamover-operator-system", "pod": pod}
    return f"{family}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


def test_an_hour_out_of_sync_is_told_also_when_another_replica_leads_meanwhile(evaluate: Evaluate) -> None:
    late, alert = "volsync_volume_out_of_sync", "DataMoverReplicationOutOfSync"
    series = {of_replica(late, "p"): "1x30 stale", of_replica(late, "q"): "_x35 1x60"}
    evaluate(alert, series, at="59m")
    evaluate(alert, series, at="61m", fires=(REPLICA,))
    evaluate(alert, {of_replica(late): "1x20 0x5 1x50"}, at="61m")


def test_the_third_failure_in_a_row_is_told_with_its_reason_until_one_succeeds(evaluate: Evaluate) -> None:
    failing, alert = "datamover_replication_consecutive_failures", "DataMoverReplicationFailing"
    series = {
        of_replica(failing, reason="ServerUnreachable"): "1x5 2x5 stale",
        of_replica(failing, reason="AccessDenied"): "_x12 3x10 stale",
    }
    evaluate(alert, series, at="11m")
    evaluate(alert, series, at="14m", fires=({**REPLICA, "reason": "AccessDenied"},))
    evaluate(alert, series, at="24m")


def test_a_copy_that_waits_for_its_trigger_is_told_after_a_quarter_of_an_hour(evaluate: Evaluate) -> None:
    alert = "DataMoverReplicationWaitsForTrigger"
    series = {of_replica(WAITS_SINCE): "0x20 stale"}
    evaluate(alert, series, at="14m")
    evaluate(alert, series, at="16m", fires=(REPLICA,))
    evaluate(alert, series, at="22m")


@pytest.mark.parametrize(
    ("alert", "severity", "before", "after"),
    [("DataMoverReplicationBlocked", "warning", "14m", "16m"), ("DataMoverReplicationWaiting", "info", "59m", "61m")],
)
def test_a_synchronisation_that_waits_is_told_by_its_reason_and_that_of_a_trigger_by_its_own_alert(
    alert: str, severity: str, before: str, after: str, evaluate: Evaluate
) -> None:
    family = "datamover_replication_waiting_since_timestamp_seconds"
    series = {
        of_replica(family, reason="NameTaken", severity=severity): "0x70 stale",
        of_replica(family, reason="SrcPVCWaitingForCopyTrigger", severity=severity): "0x70 stale",
        of_replica(family, reason="Other", severity="another"): "0x70 stale",
    }
    evaluate(alert, series, at=before)
    evaluate(alert, series, at=after, fires=({**REPLICA, "reason": "NameTaken"},))
    evaluate(alert, series, at="72m")


CONTROLLERS = ("replicationsource", "replicationdestination", "populated-claim", "image-in-use", "volume-populator")


def asleep(controller: str, gate: str, pod: str = "p") -> str:
    labels = f'namespace="system",pod="{pod}",controller="{controller}",gate="{gate}"'
    return f"datamover_controller_asleep{{{labels}}}"


def test_controllers_that_sleep_are_one_alert_for_each_cause(evaluate: Evaluate) -> None:
    alert = "DataMoverReplicationAsleep"
    series = {asleep(each, "lease", pod): "1x30 0x30" for each in CONTROLLERS for pod in ("p", "q")}
    series |= {asleep(each, "definition"): "0x60" for each in CONTROLLERS}
    evaluate(alert, series, at="14m")
    evaluate(alert, series, at="16m", fires=({"namespace": "system", "gate": "lease"},))
    evaluate(alert, series, at="40m")


@pytest.mark.parametrize("missing", [CONTROLLERS[:1], CONTROLLERS[1:], CONTROLLERS])
def test_definitions_that_are_missing_are_one_alert_however_many(missing: tuple[str, ...], evaluate: Evaluate) -> None:
    series = {asleep(each, "definition"): "1x30" if each in missing else "0x30" for each in CONTROLLERS}
    evaluate("DataMoverReplicationAsleep", series, at="16m", fires=({"namespace": "system", "gate": "definition"},))


def test_a_cluster_that_registers_no_populators_is_no_cause_to_be_told(evaluate: Evaluate) -> None:
    series = {
        asleep("volume-populator", "definition"): "1x30",
        informer("system", "p", resource="volumepopulators.populator.storage.k8s.io", state="absent"): "1x30",
    }
    evaluate("DataMoverReplicationAsleep", series, at="20m")
    evaluate("DataMoverOperatorCannotWatch", series, at="20m")


OTHERS = (
    *(f"{plural}.velero.io" for plural in ("backups", "datauploads", "podvolumebackups")),
    "hostedcontrolplanes.hypershift.openshift.io",
)
"""Kinds of projects that may simply not be installed."""


def test_a_cluster_without_velero_or_hypershift_is_no_cause_to_be_told(evaluate: Evaluate) -> None:
    series = {informer("system", "p", resource=each, state="absent"): "1x30" for each in OTHERS}
    evaluate("DataMoverOperatorCannotWatch", series, at="20m")


@pytest.mark.parametrize("state", ["forbidden", "waiting", "listing"])
def test_what_of_velero_or_hypershift_is_there_and_cannot_be_read_is_told(state: str, evaluate: Evaluate) -> None:
    series = {informer("system", "p", resource=each, state=state): "1x30" for each in OTHERS}
    fires = tuple({"namespace": "system", "resource": each, "state": state} for each in OTHERS)
    evaluate("DataMoverOperatorCannotWatch", series, at="14m", fires=fires)


def test_a_kind_that_every_cluster_of_ours_has_is_told_when_it_is_absent(evaluate: Evaluate) -> None:
    kind = "datamovers.datamover.a-cup-of.coffee"
    labels = {"namespace": "system", "resource": kind, "state": "absent"}
    evaluate(
        "DataMoverOperatorCannotWatch", {informer("system", "p", kind, "absent"): "1x30"}, at="14m", fires=(labels,)
    )


# --- where to read on ---------------------------------------------------------------------------------------------

PAGE = "docs/failures.md"
HEADINGS = re.findall(r"^#+ (.+)$", (FILE.parents[4] / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
ANCHORS = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADINGS}
FAILURES = {value for name, value in vars(transfer).items() if name.startswith("REASON_")} - {
    transfer.REASON_SUCCEEDED
} | {
    *(reasons.CLASS_CANNOT_CLONE, reasons.CLONE_LOST, reasons.CLONE_VOLUME_LOST, reasons.DEADLINE_EXCEEDED),
    *(reasons.BACKOFF_LIMIT_EXCEEDED, reasons.MOVER_FAILED, reasons.RETRYING),
}
"""Reasons that a failure which stands may give."""


@pytest.mark.parametrize("alert", RULES)
def test_a_runbook_leads_to_an_entry_of_the_failures_page(alert: str) -> None:
    page, _, anchor = RULES[alert]["annotations"]["runbook_url"].partition("#")
    assert page == PAGE
    label = re.fullmatch(r"\{\{ \$labels\.(\w+) \| toLower \}\}", anchor)
    told = {anchor} if label is None else {reason.lower() for reason in {*WAITS, *FAILURES}}
    assert told <= ANCHORS
    assert label is None or label[1] in {"reason", "error_type"}
    assert label is None or re.search(rf"by \([^)]*{label[1]}", RULES[alert]["expr"])


# --- DataVolumes and their webhook ---------------------------------------------------------------------------------


def pending(reason: str, pod: str = "p") -> str:
    return f'datamover_datavolume_collections_pending{{namespace="system", pod="{pod}", reason="{reason}"}}'


def test_a_collection_that_does_not_end_is_told_and_others_that_follow_each_other_are_not(evaluate: Evaluate) -> None:
    fires = ({"namespace": "system"},)
    evaluate("DataMoverDataVolumeCollectionStuck", {pending("UnderWay"): "1x70"}, at="65m", fires=fires)
    evaluate("DataMoverDataVolumeCollectionStuck", {pending("UnderWay"): "1 0 " * 40}, at="65m")


def test_a_collection_that_somebody_must_make_possible_is_told_after_an_hour_and_a_users_choice_is_not(evaluate: Evaluate) -> None:  # fmt: skip
    fires = ({"namespace": "system", "reason": "FinalizerForbidden"},)
    series = {pending(each): "2x70" for each in ("FinalizerForbidden", "Refused", "VirtualMachineOwned", "TTL")}
    evaluate("DataMoverDataVolumesRefused", series, at="65m", fires=fires)
    evaluate("DataMoverDataVolumesRefused", series, at="50m")


def test_what_is_left_of_a_filling_and_does_not_go_is_told(evaluate: Evaluate) -> None:
    fires = ({"namespace": "system", "reason": "Leftovers"},)
    evaluate("DataMoverDataVolumesRefused", {pending("Leftovers"): "1x70"}, at="65m", fires=fires)
    evaluate("DataMoverDataVolumesRefused", {pending("Leftovers"): "1x10 0x60"}, at="65m")


def test_refusals_that_cannot_be_told_on_a_datavolume_are_told_and_a_few_or_others_are_not(evaluate: Evaluate) -> None:
    name = 'datamover_datavolume_collections_total{{namespace="system", pod="p", result="{}"}}'
    fires, again = ({"namespace": "system"},), "0+1x70"
    evaluate("DataMoverDataVolumeStepRefused", {name.format("RequestRefused"): again}, at="65m", fires=fires)
    evaluate("DataMoverDataVolumeStepRefused", {name.format("RequestRefused"): "0 3x70"}, at="65m")
    evaluate("DataMoverDataVolumeStepRefused", {name.format("Collected"): again}, at="65m")
    told = {name.format("RequestRefused"): again, pending("RequestRefused"): "1x70"}
    evaluate("DataMoverDataVolumeStepRefused", told, at="65m")


def test_what_was_collected_and_is_made_again_is_told(evaluate: Evaluate) -> None:
    fires = ({"namespace": "system"},)
    evaluate("DataMoverDataVolumesMadeAgain", {pending("AlreadyCollectedOnce"): "1x30"}, at="20m", fires=fires)
    evaluate("DataMoverDataVolumesMadeAgain", {pending("AlreadyCollectedOnce"): "0x30"}, at="20m")


def test_an_image_that_is_out_of_date_or_cannot_be_asked_about_for_a_day_is_told_and_others_are_not(evaluate: Evaluate) -> None:  # fmt: skip
    name = 'datamover_image_{}{{namespace="images", pod="p", name="{}"}}'
    series = {
        name.format("up_to_date", each): value
        for each, value in (("old", "0x200"), ("new", "1x200"), ("silent", "1x200"))
    }
    series |= {name.format("poll_failing", "silent"): "1x200", name.format("poll_failing", "new"): "0x200"}
    fires = ({"namespace": "images", "name": "old"}, {"namespace": "images", "name": "silent"})
    evaluate("DataMoverImageOutOfDate", series, at="25h", fires=fires, step="10m")
    evaluate("DataMoverImageOutOfDate", series, at="23h", step="10m")


def test_the_first_failure_of_a_hosted_control_planes_backup_is_told_and_an_old_one_is_not(evaluate: Evaluate) -> None:
    name = 'datamover_hosted_control_plane_errors_total{namespace="system", pod="p", platform="AWS", reason="TimedOut"}'
    fires = ({"platform": "AWS", "reason": "TimedOut"},)
    evaluate("DataMoverHostedControlPlaneBackupFailed", {name: "_x20 1x40"}, at="25m", fires=fires)
    evaluate("DataMoverHostedControlPlaneBackupFailed", {name: "1x40 2x20"}, at="45m", fires=fires)
    evaluate("DataMoverHostedControlPlaneBackupFailed", {name: "1x60"}, at="45m")


def test_a_backup_of_a_hosted_control_plane_that_stands_still_is_told(evaluate: Evaluate) -> None:
    name = 'datamover_hosted_control_plane_volumes_stalled{namespace="clusters-a", backup="nightly", pod="p"}'
    fires = ({"namespace": "clusters-a", "backup": "nightly"},)
    evaluate("DataMoverHostedControlPlaneBackupStalled", {name: "0x5 1x30"}, at="20m", fires=fires)
    evaluate("DataMoverHostedControlPlaneBackupStalled", {name: "0x5 1x30"}, at="10m")
    evaluate("DataMoverHostedControlPlaneBackupStalled", {name: "1x5 0x30"}, at="20m")


def test_a_certificate_that_was_not_renewed_is_told_a_week_before_its_end_and_one_that_is_not_there_is_not(evaluate: Evaluate) -> None:  # fmt: skip
    name = 'datamover_webhook_certificate_expiry_timestamp_seconds{{namespace="system", pod="{}"}}'
    day = 86400
    fires = ({"namespace": "system"},)
    evaluate("DataMoverWebhookCertificateExpiring", {name.format("p"): f"{6 * day}x90"}, at="80m", fires=fires)
    evaluate("DataMoverWebhookCertificateExpiring", {name.format("p"): f"{8 * day}x90", name.format("q"): "0x90"}, at="80m")  # fmt: skip


def test_a_webhook_that_does_not_work_for_half_an_hour_is_told_once_across_replicas(evaluate: Evaluate) -> None:
    name = 'datamover_webhook_problem{{namespace="system", pod="{}", reason="Configuration"}}'
    fires = ({"namespace": "system", "reason": "Configuration"},)
    evaluate("DataMoverWebhookProblem", {name.format("p"): "1x60", name.format("q"): "1x60"}, at="40m", fires=fires)
    evaluate("DataMoverWebhookProblem", {name.format("p"): "1x10 0x50"}, at="40m")


def waiting(reason: str, severity: str) -> str:
    labels = f'namespace="shop", name="disk", reason="{reason}", severity="{severity}"'
    return f"datamover_datavolume_waiting_since_timestamp_seconds{{{labels}}}"


@pytest.mark.parametrize(
    ("alert", "reason", "severity", "quiet", "told"),
    [
        ("DataMoverDataVolumeBlocked", "ClaimExists", "warning", "14m", "16m"),
        ("DataMoverDataVolumeWaiting", "ClaimPending", "info", "59m", "61m"),
    ],
)
def test_a_datavolume_that_is_stuck_is_told_by_name_when_its_time_has_come(
    alert: str, reason: str, severity: str, quiet: str, told: str, evaluate: Evaluate
) -> None:
    series = {waiting(reason, severity): "0x70"}
    evaluate(alert, series, at=quiet)
    evaluate(alert, series, at=told, fires=({"namespace": "shop", "name": "disk", "reason": reason},))


def test_a_datavolume_that_waits_for_its_first_pod_is_nobodys_business(evaluate: Evaluate) -> None:
    for alert in ("DataMoverDataVolumeBlocked", "DataMoverDataVolumeWaiting"):
        evaluate(alert, {waiting("WaitForFirstConsumer", "info"): "0x200"}, at="180m")


def test_workers_that_fail_again_and_again_are_told_and_one_that_failed_once_is_not(evaluate: Evaluate) -> None:
    labels = {"namespace": "system", "source": "http", "reason": "ChecksumMismatch"}
    said = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    name = f'datamover_datavolume_population_failures_total{{pod="p", {said}}}'
    evaluate("DataMoverDataVolumesFailing", {name: "0x10 1x10 2x10 3x10 4x30"}, at="50m", fires=(labels,))
    evaluate("DataMoverDataVolumesFailing", {name: "0x10 1x60"}, at="50m")


def test_a_cdi_beside_definitions_of_ours_is_told(evaluate: Evaluate) -> None:
    name = 'datamover_datavolume_mode{{namespace="system", pod="p", mode="{}"}}'
    fires = ({"namespace": "system"},)
    evaluate("DataMoverDataVolumesUnfilled", {name.format("Refused"): "1x30"}, at="20m", fires=fires)
    evaluate("DataMoverDataVolumesUnfilled", {name.format("Companion"): "1x30", name.format("Refused"): "0x30"}, at="20m")  # fmt: skip
