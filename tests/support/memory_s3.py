"""An S3 server in memory that takes every key and keeps every version, with levers for stores that do not do what they say.

The stores that are run as programs keep objects as files, so no key of theirs has an empty segment, and none can be made to lose what it took.
Signatures are not looked at.
"""

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from support.s3 import BUCKET

_DATE = "2024-08-06T14:30:52.000Z"
_HTTP_DATE = "Tue, 06 Aug 2024 14:30:52 GMT"


@dataclass
class Version:
    """What lies under a key. Without `content` it is a delete marker."""

    id: str
    content: bytes | None
    etag: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


class MemoryS3:
    """The bucket `backups`; a context. `seen` are the requests, as method and key.

    `versioned`: nothing that was there is ever gone. `loses` says of which keys an upload is taken and forgotten, `changes` what becomes of
    the bytes of one, `copies` what of one that it copies itself (None: it cannot), `marks` which ETag such a copy gets, made of the bytes and of the ETag of what it was copied from; `etag` what the store calls contents; `busy` is called with method
    and key before each request is served. `gives` may return pieces that are given of an object in the place of its contents, without a length.
    """

    def __init__(self, *, versioned: bool = False) -> None:
        self.versioned = versioned
        self.loses: Callable[[str], bool] = lambda _: False
        self.changes: Callable[[str, bytes], bytes] = lambda _, content: content
        self.copies: Callable[[str, bytes], bytes | None] = lambda _, content: content
        self.marks: Callable[[bytes, str], str] = lambda content, _: self.etag(content)
        self.etag: Callable[[bytes], str] = lambda content: hashlib.md5(content).hexdigest()
        self.busy: Callable[[str, str], None] = lambda _, __: None
        self.gives: Callable[[str], Iterable[bytes] | None] = lambda _: None
        self.seen: list[tuple[str, str]] = []
        self.versions: dict[str, list[Version]] = {}
        self._uploads: dict[str, tuple[str, dict[int, bytes], dict[str, str]]] = {}
        self._count = 0
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def secret(self, **changes: str) -> dict[str, str]:
        """Return the documents' Secret for this server, changed as told."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIAMEMORY",
            "AWS_SECRET_ACCESS_KEY": "never-looked-at",
            "BUCKET_HOST": "127.0.0.1",
            "BUCKET_NAME": BUCKET,
            "BUCKET_PORT": str(self._server.server_address[1]),
            "TLS_HOST": "false",
        } | changes

    def put(self, objects: dict[str, str | bytes]) -> None:
        """Put objects there as somebody else would."""
        for key, content in objects.items():
            self.store(key, content.encode() if isinstance(content, str) else content, {})

    def objects(self, *, records: bool = False) -> dict[str, bytes]:
        """Return key to content of what is there now; datamover's own records only when asked for."""
        with self._lock:
            found = {key: versions[-1].content for key, versions in self.versions.items() if versions}
        return {
            key: content
            for key, content in found.items()
            if content is not None and (records or not key.startswith(".datamover/"))
        }

    # --- what requests do ------------------------------------------------------------------------------------------------

    def _next(self) -> str:
        self._count += 1
        return f"{self._count:08d}"

    def store(self, key: str, content: bytes, metadata: dict[str, str]) -> str:
        """Take an object; return its ETag."""
        with self._lock:
            etag = self.etag(content)
            if not self.loses(key):
                version = Version(self._next(), self.changes(key, content), etag, metadata)
                self.versions[key] = [*(self.versions.get(key, []) if self.versioned else []), version]
            return etag

    def find(self, key: str, version: str | None = None) -> Version | None:
        with self._lock:
            found = [v for v in self.versions.get(key, []) if version in (None, v.id)]
            return found[-1] if found and found[-1].content is not None else None

    def remove(self, key: str, version: str | None = None) -> None:
        with self._lock:
            if version:
                self.versions[key] = [v for v in self.versions.get(key, []) if v.id != version]
            elif self.versioned:
                self.versions.setdefault(key, []).append(Version(self._next(), None))
            else:
                self.versions.pop(key, None)

    def begin(self, key: str, metadata: dict[str, str]) -> str:
        with self._lock:
            upload = self._next()
            self._uploads[upload] = (key, {}, metadata)
            return upload

    def part(self, upload: str, number: int, content: bytes) -> None:
        with self._lock:
            self._uploads[upload][1][number] = content

    def finish(self, upload: str) -> str:
        with self._lock:
            key, parts, metadata = self._uploads.pop(upload)
            digests = b"".join(hashlib.md5(parts[number]).digest() for number in sorted(parts))
            self.store(key, b"".join(parts[number] for number in sorted(parts)), metadata)
            etag = f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"
            if (found := self.find(key)) and not self.loses(key):
                found.etag = etag
            return etag

    def abort(self, upload: str) -> None:
        with self._lock:
            self._uploads.pop(upload, None)

    def listing(self, query: dict[str, str]) -> str:
        """Return the answer to a listing, as XML."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        encode = quote if query.get("encoding-type") == "url" else _escape
        items, folders = [], set()
        with self._lock:
            keys = sorted(key for key in self.versions if key.startswith(prefix))
            for key in keys:
                rest = key[len(prefix) :]
                if delimiter and delimiter in rest:
                    folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                    continue
                versions = self.versions[key]
                shown = reversed(versions) if "versions" in query else versions[-1:]
                for version in shown:
                    if version.content is None and "versions" not in query:
                        continue
                    kind = (
                        "Contents"
                        if "versions" not in query
                        else "Version"
                        if version.content is not None
                        else "DeleteMarker"
                    )
                    about = f"<VersionId>{version.id}</VersionId><IsLatest>{str(version is versions[-1]).lower()}</IsLatest>"
                    size = "" if version.content is None else f"<Size>{len(version.content)}</Size>"
                    items.append(
                        f"<{kind}><Key>{encode(key)}</Key>{about if 'versions' in query else ''}<LastModified>{_DATE}</LastModified>"
                        f"<ETag>&quot;{version.etag}&quot;</ETag>{size}<StorageClass>STANDARD</StorageClass></{kind}>"
                    )
        items += [f"<CommonPrefixes><Prefix>{encode(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
        name = "ListVersionsResult" if "versions" in query else "ListBucketResult"
        coding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        return (
            f"<{name}><Name>{BUCKET}</Name><Prefix>{encode(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount><MaxKeys>100000</MaxKeys>"
            f"<IsTruncated>false</IsTruncated>{coding}{''.join(items)}</{name}>"
        )


def _escape(key: str) -> str:
    return escape(key, {"\r": "&#13;"})


def _handler(store: MemoryS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

        def _answer(self, code: int, body: str | bytes = b"", **headers: str) -> None:
            raw = body.encode() if isinstance(body, str) else body
            self.send_response(code)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(raw)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(raw)

        def _fail(self, code: int, word: str) -> None:
            self._answer(
                code, f"<Error><Code>{word}</Code><Message>{word}</Message></Error>", Content_Type="application/xml"
            )

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            bucket, _, raw = parts.path.lstrip("/").partition("/") if parts.path.startswith("/") else ("", "", "")
            key = unquote(raw)
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            store.seen.append((self.command, key))
            store.busy(self.command, key)
            if bucket != BUCKET:
                self._fail(404, "NoSuchBucket")
                return
            if (
                self.headers.get("Content-MD5")
                and base64.b64decode(self.headers["Content-MD5"]) != hashlib.md5(body).digest()
            ):
                self._fail(400, "BadDigest")
                return
            metadata = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}
            getattr(self, f"_{self.command.lower()}")(key, query, body, metadata)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

        def _get(self, key: str, query: dict[str, str], _body: bytes, _metadata: dict[str, str]) -> None:
            if not key and "uploads" in query:
                self._answer(200, f"<ListMultipartUploadsResult><Bucket>{BUCKET}</Bucket></ListMultipartUploadsResult>")
                return
            if not key:
                self._answer(200, store.listing(query), Content_Type="application/xml")
                return
            self._object(key, query)

        def _head(self, key: str, query: dict[str, str], _body: bytes, _metadata: dict[str, str]) -> None:
            if key:
                self._object(key, query)
            else:
                self._answer(200)

        def _object(self, key: str, query: dict[str, str]) -> None:
            found = store.find(key, query.get("versionId"))
            if found is None or found.content is None:
                self._fail(404, "NoSuchKey")
                return
            pieces = store.gives(key) if self.command == "GET" else None
            if pieces is not None:
                self._pour(pieces, found.etag)
                return
            content, code = found.content, 200
            if wanted := self.headers.get("Range"):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                content, code = content[int(first) : int(last) + 1 if last else None], 206
            self._answer(
                code,
                content,
                Content_Length=str(len(content)),
                ETag=f'"{found.etag}"',
                Last_Modified=_HTTP_DATE,
                **{name.replace("-", "_"): value for name, value in found.metadata.items()},
            )

        def _pour(self, pieces: Iterable[bytes], etag: str) -> None:
            self.close_connection = True
            self.send_response(200)
            for name, value in (("ETag", f'"{etag}"'), ("Last-Modified", _HTTP_DATE), ("Connection", "close")):
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked has had enough
                for piece in pieces:
                    self.wfile.write(piece)

        def _put(self, key: str, query: dict[str, str], body: bytes, metadata: dict[str, str]) -> None:
            if source := self.headers.get("x-amz-copy-source"):
                found = store.find(unquote(source).lstrip("/").partition("/")[2])
                if found is None or found.content is None:
                    self._fail(404, "NoSuchKey")
                    return
                copied = store.copies(key, found.content)
                if copied is None:
                    self._fail(501, "NotImplemented")
                    return
                etag = store.store(key, copied, metadata or found.metadata)
                if (arrived := store.find(key)) and not store.loses(key):
                    etag = arrived.etag = store.marks(copied, found.etag)
                self._answer(
                    200,
                    f"<CopyObjectResult><ETag>&quot;{etag}&quot;</ETag><LastModified>{_DATE}</LastModified></CopyObjectResult>",
                )
                return
            if "partNumber" in query:
                store.part(query["uploadId"], int(query["partNumber"]), body)
                self._answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')
                return
            self._answer(200, ETag=f'"{store.store(key, body, metadata)}"')

        def _post(self, key: str, query: dict[str, str], _body: bytes, metadata: dict[str, str]) -> None:
            if "uploads" in query:
                upload = store.begin(key, metadata)
                self._answer(
                    200,
                    f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>",
                )
                return
            etag = store.finish(query["uploadId"])
            self._answer(
                200,
                f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>",
            )

        def _delete(self, key: str, query: dict[str, str], _body: bytes, _metadata: dict[str, str]) -> None:
            if "uploadId" in query:
                store.abort(query["uploadId"])
            else:
                store.remove(key, query.get("versionId"))
            self._answer(204)

    return Handler
