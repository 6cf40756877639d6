"""What the plugin asks of an API server, how much, and what it makes of answers that do not come. The server is a client that answers by rule."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from datamover.api.velero.backup import Backup
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS, DataUpload
from datamover.survey import control_plane as module
from datamover.velero.cluster import Cluster, Target, UnreadableError
from kubekit.client.errors import ConfigError, Conflict, Forbidden, Invalid, NotFound, ServerError, TransportError
from kubekit.words.meta import ObjectMeta, Resource
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent, VolumeSnapshotStatus

BACKUP = Backup(metadata=ObjectMeta(name="n" * 80, namespace="velero", uid="u"))


def refusal(kind: Any, status: int, message: str) -> Exception:
    return kind(message, status=status, reason=kind.__name__, details={})


class Answers:
    """In the place of a client."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.objects: dict[str, tuple[Any, ...]] = {}
        self.errors: dict[str, Exception] = {}
        self.hangs: set[str] = set()
        self.threads: set[str] = set()

    async def _answer(self, plural: str) -> tuple[Any, ...]:
        self.threads.add(threading.current_thread().name)
        if plural in self.hangs:
            await asyncio.sleep(600)
        if plural in self.errors:
            raise self.errors[plural]
        return self.objects.get(plural, ())

    async def get(self, resource: Resource[Any], name: str, *, namespace: str | None = None) -> Any:
        self.asked.append(("get", resource.plural, namespace or "", name))
        found = [each for each in await self._answer(resource.plural) if each.metadata.name == name]
        if not found:
            raise refusal(NotFound, 404, "gone")
        return found[0]

    async def list(
        self, resource: Resource[Any], *, namespace: str | None = None, label_selector: str | None = None, whole: bool
    ) -> Any:
        self.asked.append(("list", resource.plural, namespace or "", label_selector or ""))
        return await self._answer(resource.plural)

    async def patch(self, resource: Resource[Any], name: str, patch: Any, *, namespace: str, field_manager: str) -> Any:
        self.asked.append(("patch", resource.plural, namespace, name, str(patch)))
        await self._answer(f"{resource.plural}/{name}")

    async def close(self) -> None: ...


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def cluster(answers: Answers) -> Iterator[Cluster]:
    found = Cluster(lambda: answers)  # type: ignore[arg-type, return-value]
    yield found
    found.close()


def look(cluster: Cluster) -> Any:
    return cluster.look(BACKUP, velero="velero", namespace="clusters-a")


def snapshot(name: str, content: str | None) -> VolumeSnapshot:
    status = VolumeSnapshotStatus(bound_volume_snapshot_content_name=content)
    return VolumeSnapshot(metadata=ObjectMeta(name=name, namespace="clusters-a"), status=status)


def test_nothing_is_connected_or_started_before_the_first_question():
    def connect() -> Any:
        raise AssertionError("nobody has asked")

    before = threading.active_count()
    Cluster(connect).close()
    assert threading.active_count() == before


def test_one_look_asks_for_what_a_verdict_needs_and_no_more(cluster: Cluster, answers: Answers):
    content = VolumeSnapshotContent(metadata=ObjectMeta(name="c1"))
    answers.objects = {
        "volumesnapshots": (snapshot("s1", "c1"), snapshot("s2", "c1"), snapshot("s3", None), snapshot("s4", "gone")),
        "volumesnapshotcontents": (content,),
    }
    found = look(cluster)
    label = "velero.io/backup-name=" + "n" * 57
    assert {each[:3] for each in answers.asked} == {
        ("list", "volumesnapshots", "clusters-a"),
        ("list", "persistentvolumeclaims", "clusters-a"),
        ("list", "datauploads", "velero"),
        ("list", "podvolumebackups", "velero"),
        ("list", "pods", "velero"),
        ("get", "volumesnapshotcontents", ""),
    }
    assert len(answers.asked) == 8
    assert next(each[3] for each in answers.asked if each[1] == "datauploads").startswith(label)
    assert len(found.seen.snapshots) == 4
    assert found.seen.contents == (content,)
    assert found.seen.unread == ()
    assert not found.passing
    assert answers.threads == {"cluster"}


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (refusal(Forbidden, 403, "no"), False),
        (refusal(NotFound, 404, "no such kind"), False),
        (refusal(ServerError, 500, "trouble"), True),
        (TransportError("reset"), True),
    ],
)
def test_a_kind_that_cannot_be_read_is_told_and_is_not_none(
    cluster: Cluster, answers: Answers, error: Exception, passing: bool
):
    answers.errors["datauploads"] = error
    found = look(cluster)
    assert [each.kind for each in found.seen.unread] == ["DataUpload"]
    assert str(error)[:2] in found.seen.unread[0].reason
    assert found.passing is passing


def test_a_kind_that_does_not_answer_is_unread_in_time(
    cluster: Cluster, answers: Answers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "ANSWER_LIMIT", 0.2)
    answers.hangs.add("volumesnapshots")
    begun = time.monotonic()
    found = look(cluster)
    assert time.monotonic() - begun < 15
    assert found.seen.unread == (("VolumeSnapshot", "the API server did not answer in time"),)
    assert found.passing


def test_a_configuration_and_a_control_plane_that_are_not_there_are_none(cluster: Cluster):
    assert cluster.configuration("velero") == {}
    assert cluster.control_plane("clusters-a", "hosted") is None


@pytest.mark.parametrize(
    ("error", "passing"), [(ConfigError("no kubeconfig"), False), (TransportError("refused"), True)]
)
def test_what_cannot_be_read_says_why(cluster: Cluster, answers: Answers, error: Exception, passing: bool):
    answers.errors["configmaps"] = error
    with pytest.raises(UnreadableError, match=str(error)) as caught:
        cluster.configuration("velero")
    assert caught.value.passing is passing


@pytest.mark.parametrize(
    "error", [PermissionError(13, "no", "/kubeconfig"), ValueError("no certificate"), KeyError("x")]
)
def test_whatever_goes_wrong_on_the_way_is_something_that_cannot_be_read(error: Exception):
    def connect() -> Any:
        raise error

    cluster = Cluster(connect)
    with pytest.raises(UnreadableError, match=type(error).__name__):
        cluster.configuration("velero")
    cluster.close()


def test_without_credentials_each_question_says_so():
    def connect() -> Any:
        raise ConfigError("no kubeconfig here")

    cluster = Cluster(connect)
    for _ in range(2):
        with pytest.raises(UnreadableError, match="no kubeconfig here"):
            cluster.control_plane("a", "b")
    cluster.close()


def test_cancelling_names_the_uid_and_tells_of_each_that_failed(cluster: Cluster, answers: Answers):
    answers.errors = {
        "datauploads/b": refusal(Forbidden, 403, "not allowed"),
        "podvolumebackups/c": refusal(NotFound, 404, "gone"),
    }
    targets = [
        Target(DATA_UPLOADS, "velero", "a", "uid-a"),
        Target(DATA_UPLOADS, "velero", "b", "uid-b"),
        Target(POD_VOLUME_BACKUPS, "velero", "c", "uid-c"),
    ]
    (said,) = cluster.cancel(targets)
    assert said.startswith("DataUpload b could not be cancelled: ")
    assert "not allowed" in said
    assert answers.asked[0] == (
        "patch", "datauploads", "velero", "a", str({"metadata": {"uid": "uid-a"}, "spec": {"cancel": True}}),
    )  # fmt: skip


@pytest.mark.parametrize("refused", [Conflict, Invalid])
def test_an_upload_that_is_another_one_by_now_needs_no_cancelling(cluster: Cluster, answers: Answers, refused: Any):
    later = DataUpload(metadata=ObjectMeta(name="b", namespace="velero", uid="later"))
    same = DataUpload(metadata=ObjectMeta(name="c", namespace="velero", uid="uid-c"))
    answers.objects = {"datauploads": (later, same)}
    answers.errors = {f"datauploads/{name}": refusal(refused, refused.status, "metadata.uid") for name in "abc"}
    (said,) = cluster.cancel([Target(DATA_UPLOADS, "velero", name, f"uid-{name}") for name in "abc"])
    assert said.startswith("DataUpload c could not be cancelled: ")
