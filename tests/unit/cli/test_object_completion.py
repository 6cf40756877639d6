"""Names that a shell is offered come from the cluster; where it does not answer, nothing is offered and nothing is said."""

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner, Result

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.velero.backup import BACKUPS, Backup
from datamover.cli import object_completion
from datamover.cli.main import main
from kubekit.words.meta import ObjectMeta, Resource
from support import builders, restores


def press_tab(*words: str) -> Result:
    environment = {
        "_DATAMOVER_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(("datamover", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(main, prog_name="datamover", env=environment)


def offered(*words: str) -> list[str]:
    return [line.removeprefix("plain,") for line in press_tab(*words).output.split()]


def named(name: str, status: Any = None) -> Any:
    mover = builders.data_mover(status=status)
    return mover.__class__(
        metadata=ObjectMeta(name=name, namespace="default", uid=name), spec=mover.spec, status=mover.status
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A cluster with two backups that run, one that has ended, a restore, and a Backup of Velero's; and what it was asked."""
    questions: list[dict[str, Any]] = []

    async def answer(context: Any, resource: Resource[Any], *, everywhere: bool) -> tuple[Any, ...]:
        questions.append(
            {key: context.params.get(key) for key in ("namespace", "context")} | {"everywhere": everywhere}
        )
        if resource is BACKUPS:
            return (Backup(metadata=ObjectMeta(name="clusters-nightly", namespace="velero")),)
        if resource is DATA_MOVERS:
            return named("nightly"), named("nighttime"), named("night-over", builders.status(Phase.COMPLETED))
        return (restores.restore(),)

    monkeypatch.setattr(object_completion, "_list", answer)
    return questions


@pytest.mark.usefixtures("asked")
def test_what_can_be_cancelled_is_offered_and_what_has_ended_is_not() -> None:
    assert offered("cancel", "ni") == ["nightly", "nighttime"]
    assert offered("cancel", "dm/nightl") == ["dm/nightly"]
    assert offered("cancel", "nobody") == []
    assert offered("cancel", "pod/ni") == []
    name = restores.restore().metadata.name
    assert offered("cancel", "--kind", "restore", "") == [name]
    assert offered("cancel", "dmr/") == [f"dmr/{name}"]


def test_the_cluster_and_the_namespace_are_those_that_were_typed(asked: list[dict[str, Any]]) -> None:
    offered("cancel", "-n", "apps", "--context", "far", "")
    offered("hcp", "explain", "")
    assert asked == [
        {"namespace": "apps", "context": "far", "everywhere": False},
        {"namespace": None, "context": None, "everywhere": True},
    ]


@pytest.mark.usefixtures("asked")
def test_backups_of_velero_are_offered_where_they_are_explained() -> None:
    assert offered("hcp", "explain", "") == ["clusters-nightly"]


def test_a_cluster_that_is_not_there_offers_nothing_and_says_nothing(tmp_path: Any) -> None:
    pressed = press_tab("cancel", "--kubeconfig", str(tmp_path / "none"), "")
    assert (pressed.output.strip(), pressed.exit_code) == ("", 0)


def test_a_cluster_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence(*_: Any, **__: Any) -> tuple[Any, ...]:
        await asyncio.sleep(60)
        return ()

    monkeypatch.setattr(object_completion, "_list", silence)
    monkeypatch.setattr(object_completion, "_PATIENCE", 0.05)
    assert offered("cancel", "") == []
