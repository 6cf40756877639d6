"""docs/hosted-control-planes.md says what the verdicts are."""

import re
from pathlib import Path
from typing import Any

import pytest

from datamover.api.hosted_control_plane import COMPONENT, NAME_PREFIX, DataKey, Reason
from datamover.api.hypershift import CONFIG_MAP, Key
from datamover.api.velero.phases import ENDED, UploadPhase
from datamover.reconcilers.hosted_control_plane.facts import PATIENT
from datamover.reconcilers.hosted_control_plane.record import PLANES
from datamover.verdicts import stages, validate
from datamover.verdicts.configuration import DEFAULT_PACE, DEFAULT_TIMEOUT, LARGEST_PACE, LARGEST_TIMEOUT
from datamover.verdicts.platform import PLATFORMS, UNSUPPORTED
from datamover.verdicts.verdict import State
from support.control_planes import at, backup, content, hcp, judge, pod_volume_backup, snapshot, upload

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/hosted-control-planes.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    return [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| `")]


def test_every_verdict_has_a_row() -> None:
    assert first_cells(section("Verdicts")) == [
        f"`{state.name}`"
        for state in (State.WAITING, State.MOVED, State.NOTHING_TO_MOVE, State.FAILED, State.UNSUPPORTED, State.UNKNOWN)
    ]
    assert len(State) == 6


def test_the_platforms_are_the_tables() -> None:
    rows = {
        name: [cell.strip() for cell in row.split("|")[2:5]]
        for row in section("Platforms").splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    said = {True: "yes", False: "no"}
    assert rows == {
        name: [said[rule.pv_required], said[rule.du_required], rule.strategy.value] for name, rule in PLATFORMS.items()
    }
    assert all(f"`{name}`" in section("Platforms") for name in UNSUPPORTED)


def test_the_keys_are_those_of_the_configuration() -> None:
    text = section("Configuration")
    keys = [value for name, value in vars(Key).items() if name.isupper()]
    assert first_cells(text) == [f"`{key}`" for key in keys]
    assert f"`{CONFIG_MAP}`" in text
    assert f"| minutes | {int(DEFAULT_TIMEOUT.total_seconds() // 60)}" in text
    assert f"| seconds | {int(DEFAULT_PACE.total_seconds())} |" in text
    assert f"0 to {LARGEST_TIMEOUT}" in text
    assert f"0 to {LARGEST_PACE}" in text


WAITS: list[tuple[Any, ...]] = [
    *((upload(phase=phase),) for phase in vars(UploadPhase).values() if isinstance(phase, str) and phase in set(re.findall(r"`(\w+)`", PAGE)) - ENDED),
    (pod_volume_backup(phase="New", of=backup()),),
    (snapshot(ready=None, bound=False),),
    (snapshot(),),
    (snapshot(ready=False), content()),
    (snapshot(ready=False), content(ready=False)),
    (snapshot(ready=False, error="x"), content(ready=False, error="x")),
]  # fmt: skip


@pytest.mark.parametrize("objects", WAITS)
@pytest.mark.parametrize("phase", ["InProgress", "WaitingForPluginOperations"])
def test_every_wait_has_a_row(objects: Any, phase: str) -> None:
    for wait in judge(*objects, of=backup(phase)).waits:
        rows = [
            row for row in section("What each wait means").splitlines() if re.match(rf"\|[^|]*\b{wait.kind}\b", row)
        ]
        assert any(f"`{wait.phase}`" in row.split("|")[2] for row in rows), wait


def test_every_phase_of_an_upload_that_has_not_ended_has_a_row() -> None:
    phases = {value for name, value in vars(UploadPhase).items() if name.isupper()} - ENDED
    assert all(f"| `{phase}` |" in section("What each wait means") for phase in phases)


ERRORS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {"plane": hcp("GCP")}),
    ((upload(phase="Failed"),), {}),
    ((upload(phase="InProgress"),), {"now": at(15)}),
    ((snapshot(ready=False), content(ready=False)), {"now": at(15), "of": backup(move=False)}),
    ((snapshot(ready=False), content(ready=False, error="x")), {"now": at(15), "of": backup(move=False)}),
    ((pod_volume_backup(phase="Failed"),), {"of": backup(fs=True)}),
    ((pod_volume_backup(phase="New"),), {"of": backup(fs=True), "now": at(15)}),
    ((), {"of": backup("Failed")}),
]


def pattern(text: str) -> str:
    """Return what a documented error stands for: single capitals and the ellipsis are anything."""
    parts = re.split(r"(\b[A-Z]\b|…)", text)
    return "".join(".+" if index % 2 else re.escape(part) for index, part in enumerate(parts))


@pytest.mark.parametrize(("objects", "around"), ERRORS)
def test_every_error_has_a_row(objects: Any, around: dict[str, Any]) -> None:
    texts = [
        cell.strip("`").replace("dataUpload was", "volumeSnapshotContent was")
        for cell in first_cells(section("Errors"))
    ]
    error = judge(*objects, **around).error.replace("dataUpload was", "volumeSnapshotContent was")
    assert any(re.search(f"{pattern(text)}$", error) for text in texts), error


def test_what_is_kept_and_told_of_a_followed_backup_has_a_row() -> None:
    text = section("Followed by the operator")
    rows = first_cells(text)
    assert rows[:3] == [f"`{value}`" for name, value in vars(DataKey).items() if name.isupper()]
    assert rows[3:] == [f"`{each.value}`" for each in Reason]
    assert f"`{NAME_PREFIX}NAME`" in text
    assert f"component={COMPONENT} " in text
    assert f"It holds {PLANES} control planes" in text


def test_every_reason_has_a_row_among_the_reasons_and_a_word_among_the_failures() -> None:
    text = (ROOT / "docs/reasons.md").read_text(encoding="utf-8")
    of_backups = text.partition("## Of backups of hosted control planes\n")[2].partition("\n## ")[0]
    assert first_cells(of_backups) == [f"`{each.value}`" for each in Reason]
    failures = (ROOT / "docs/failures.md").read_text(encoding="utf-8")
    told = failures.partition("\n## Backups of hosted control planes\n")[2].partition("\n## ")[0]
    harmless = {Reason.MOVED, Reason.NOTHING_TO_MOVE, Reason.DEFECT}
    assert not [each for each in Reason if each not in harmless and f"`{each.value}`" not in told]


def test_the_moments_of_the_page_are_those_that_hold() -> None:
    text = section("Followed by the operator")
    assert (PATIENT.soon.seconds, PATIENT.interval.seconds) == (5, 30)
    assert "five seconds after the last write" in text
    assert "twice a minute" in text
    assert PATIENT.stall.seconds == 600
    assert "for ten minutes" in text
    assert PATIENT.recent.seconds == 3600
    assert "within an hour of its end" in text


def test_the_functions_are_there() -> None:
    names = re.findall(r"`(validate|stages)\.(\w+)`", section("In the code"))
    assert len(names) == 7
    for module, name in names:
        assert callable(getattr({"validate": validate, "stages": stages}[module], name))
