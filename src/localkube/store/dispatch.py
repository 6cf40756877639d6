"""From a call to its answer, for everything that is not a stream."""

from datetime import datetime

from kubekit.client.transport import Response
from localkube.store import answers
from localkube.store.calls import Call
from localkube.store.decoding import read_object
from localkube.store.deletion import Deleter, read_options
from localkube.store.reading import Reader
from localkube.store.reviews import REVIEW_VERBS, review
from localkube.store.statuses import StatusError, no_route, success
from localkube.store.storage import Record
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, encode
from localkube.store.writing import Writer


class Dispatcher:
    """Hands calls to the reader, the writer or the deleter, and puts what they return into the form that was asked for."""

    def __init__(self, *, reader: Reader, writer: Writer, deleter: Deleter, server: ServerView) -> None:
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self._server = server

    def answer(self, call: Call) -> Response:
        """Return the answer of a call. Raises StatusError."""
        form = answers.read_format(call.headers.get("accept", ""))
        match call.verb:
            case "get":
                return self._object(200, call, self._reader.get(call), form)
            case "list":
                page = self._reader.page(call)
                return answers.respond(200, self._many(call, page.records, page.metadata(), form), form=form)
            case "create" if call.kind.verbs == REVIEW_VERBS:
                tree, _ = read_object(call, expected=call.kind)
                return answers.respond(201, encode(review(tree)))
            case "create" if call.subresource == "binding":
                self._writer.bind(call)
                return answers.respond(201, encode({**success({}), "code": 201}))
            case "create":
                return self._object(201, call, self._writer.create(call).record, form)
            case "update" | "patch" | "apply":
                write = {"update": self._writer.update, "patch": self._writer.patch, "apply": self._writer.apply}
                outcome = write[call.verb](call)
                return self._object(201 if outcome.created else 200, call, outcome.record, form)
            case "delete":
                return self._delete(call, form)
            case "deletecollection":
                return self._delete_collection(call, form)
            case _:
                raise no_route()

    @property
    def _now(self) -> datetime:
        return self._server.now()

    def _object(self, status: int, call: Call, record: Record, form: answers.Format) -> Response:
        include = call.query.get("includeObject", "")
        body = answers.one(call.kind, record, form, include=include, now=self._now)
        return answers.respond(status, body, warnings=call.warnings, form=form)

    def _many(self, call: Call, records: list[Record], metadata: Tree, form: answers.Format) -> bytes:
        include = call.query.get("includeObject", "")
        return answers.many(call.kind, records, metadata, form, include=include, now=self._now)

    def _delete(self, call: Call, form: answers.Format) -> Response:
        deletion = self._deleter.delete(call.kind, call.namespace, call.name, read_options(call))
        if not deletion.gone or call.kind.strategy.returns_deleted:
            return self._object(200, call, deletion.record, form)
        details: Tree = {"name": call.name}
        if call.kind.group:
            details["group"] = call.kind.group
        details |= {"kind": call.kind.plural, "uid": deletion.record.uid}
        return answers.respond(200, encode(success(details)), warnings=call.warnings)

    def _delete_collection(self, call: Call, form: answers.Format) -> Response:
        options = read_options(call)
        page = self._reader.page(call)
        for record in page.records:
            try:
                self._deleter.delete(call.kind, record.namespace, record.name, options)
            except StatusError as error:
                if error.code != 404:
                    raise
        return answers.respond(200, self._many(call, page.records, page.metadata(), form), form=form)
