"""How much one look asks for, what looks share, and what becomes of what cannot be read. The server is a client that answers by rule."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from datamover.api.velero.backup import Backup
from datamover.survey import control_plane as module
from datamover.survey.control_plane import Look, Survey
from datamover.verdicts.verdict import State
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden, NotFound
from kubekit.client.transport import Request, Response
from kubekit.words.meta import Resource
from support.control_planes import HOSTED, VELERO, backup, content, judge, snapshot, upload
from support.scripted_transport import answer, failure


class Answers:
    """In the place of a client."""

    def __init__(self, *objects: Any) -> None:
        self.objects = objects
        self.asked: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.moment = 0.0

    def _answer(self, resource: Resource[Any]) -> list[Any]:
        if resource.plural in self.refused:
            raise Forbidden(f"you may not see {resource.plural}")
        return [each for each in self.objects if isinstance(each, resource.type)]

    async def list(
        self, resource: Resource[Any], *, namespace: str | None, label_selector: str | None, whole: bool
    ) -> Any:
        assert whole
        self.asked[resource.plural] += 1
        return tuple(each for each in self._answer(resource) if namespace in (None, each.metadata.namespace))

    async def get(self, resource: Resource[Any], name: str) -> Any:
        self.asked[f"{resource.plural}/"] += 1
        for each in self._answer(resource):
            if each.metadata.name == name:
                return each
        raise NotFound("gone")


def survey(answers: Answers) -> Survey:
    return Survey(answers, monotonic=lambda: answers.moment)  # type: ignore[arg-type]


async def test_control_planes_of_one_backup_share_what_is_about_the_backup() -> None:
    answers = Answers(upload(), upload("x", "InProgress", namespace="clusters-7"))
    looking = survey(answers)
    for number in range(500):
        found = await looking.look(backup(), velero=VELERO, namespace=f"clusters-{number}")
        assert len(found.seen.data_uploads) == 2
    assert answers.asked == {
        "datauploads": 1,
        "podvolumebackups": 1,
        "pods": 2,
        "volumesnapshots": 500,
        "persistentvolumeclaims": 500,
    }


@pytest.mark.parametrize(
    ("later", "of", "velero"),
    [(5.0, backup(), VELERO), (0.0, backup(name="other"), VELERO), (0.0, backup(), "velero2"), (0.0, backup("InProgress"), VELERO)],
    ids=["later", "another backup", "another Velero", "while Velero collects"],
)  # fmt: skip
async def test_nothing_else_is_shared(later: float, of: Backup, velero: str) -> None:
    answers = Answers()
    looking = survey(answers)
    await looking.look(backup(), velero=VELERO, namespace=HOSTED)
    answers.moment += later
    await looking.look(of, velero=velero, namespace="clusters-b")
    assert answers.asked["datauploads"] == 2


async def test_who_looks_again_gets_new_answers() -> None:
    answers = Answers(upload(phase="InProgress"))
    looking = survey(answers)
    for namespace in (HOSTED, "clusters-b", HOSTED, "clusters-b"):
        await looking.look(backup(), velero=VELERO, namespace=namespace)
    assert answers.asked["datauploads"] == 2


async def test_what_was_refused_is_told_of_each_control_plane() -> None:
    answers = Answers()
    answers.refused = {"datauploads"}
    looking = survey(answers)
    for namespace in (HOSTED, "clusters-b"):
        found = await looking.look(backup(), velero=VELERO, namespace=namespace)
        assert found.seen.unread == (("DataUpload", "you may not see datauploads"),)
        assert not found.passing
    assert answers.asked["datauploads"] == 1


@pytest.mark.parametrize("number", [1, 32, 33, 300])
async def test_however_many_contents_there_are_none_is_taken_for_missing(number: int) -> None:
    claims = [f"c-{index}" for index in range(number)]
    answers = Answers(*map(snapshot, claims), *map(content, claims))
    found = await survey(answers).look(backup(move=False), velero=VELERO, namespace=HOSTED)
    assert judge(*found.seen.snapshots, *found.seen.contents, of=backup(move=False)).state is State.MOVED
    assert answers.asked["volumesnapshotcontents/"] + answers.asked["volumesnapshotcontents"] == (
        number if number <= 32 else 1
    )


# --- a server that lies -------------------------------------------------------------------------------------------


class Lying:
    """In the place of an API server, below the client: `lies` are answers by plural, each of them to every question for it."""

    def __init__(self, **lies: Any) -> None:
        self.lies = lies
        self.asked: Counter[str] = Counter()

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        del timeout
        await asyncio.sleep(0)
        plural = request.path.rpartition("/")[2]
        self.asked[plural] += 1
        lie = self.lies.get(plural, {"metadata": {}, "items": []})
        lie = lie(request) if callable(lie) else lie
        return lie if isinstance(lie, Response) else answer(body=lie)

    async def close(self) -> None: ...


async def look_at(server: Lying, of: Backup) -> Look:
    client = Client(server)  # type: ignore[arg-type]
    return await Survey(client).look(of, velero=VELERO, namespace=HOSTED)


def shaped(obj: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(obj))


async def test_an_upload_that_cannot_be_understood_is_not_none() -> None:
    """It is left out of lists; whoever says that all is moved has to know of it."""
    odd = shaped(upload("data-etcd-1", "InProgress"))
    odd["status"]["progress"] = {"bytesDone": "half"}
    found = await look_at(Lying(datauploads={"metadata": {}, "items": [shaped(upload()), odd]}), backup())
    assert [each.kind for each in found.seen.unread] == ["DataUpload"]
    assert not found.passing
    assert judge(of=backup(), unread=found.seen.unread).state is State.UNKNOWN


@pytest.mark.parametrize(
    "lie",
    [
        Response(200, {}, b"<!DOCTYPE html><html>Sign in</html>"),
        Response(200, {}, b'{"kind":"DataUploadList","items":[{"metadata":{"na'),
        failure(401, "Unauthorized"),
        failure(410, "Expired"),
    ],
    ids=["a web page", "a part of it", "no credentials any more", "too old"],
)
async def test_a_server_in_trouble_is_asked_again(lie: Response) -> None:
    found = await look_at(Lying(datauploads=lie), backup())
    assert [each.kind for each in found.seen.unread] == ["DataUpload"]
    assert found.passing


async def test_a_list_that_expires_between_two_pages_is_read_anew() -> None:
    def pages(request: Request) -> Any:
        query = dict(request.query)
        if "continue" in query:
            return failure(410, "Expired")
        if "limit" in query:
            return {"metadata": {"continue": "more"}, "items": [shaped(upload())]}
        return {"metadata": {}, "items": [shaped(upload()), shaped(upload("data-etcd-1", "InProgress"))]}

    found = await look_at(Lying(datauploads=pages), backup())
    assert len(found.seen.data_uploads) == 2
    assert found.seen.unread == ()


async def test_a_list_without_an_end_is_unread_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 0.2)
    for endless in (
        {"metadata": {"continue": "more"}, "items": []},
        {"metadata": {"continue": "more"}, "items": [shaped(upload())]},
    ):
        found = await look_at(Lying(datauploads=endless), backup())
        assert [each.kind for each in found.seen.unread] == ["DataUpload"]
        assert found.passing
