"""Destinations that cannot be reached, do not exist, or are somebody else's: what is there stays, and the ways out are named."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from datamover.api import names, transfer
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from support.programs import free_ports
from support.s3 import S3Server, run_server
from support.scenario import TREE
from support.stage import IMPATIENT, PRECIOUS, SECRET, SOURCE, Act, Stage, env, run_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad destinations")]

CONFIG = transfer.REASON_INVALID_CONFIGURATION
NOT_OWNED = transfer.REASON_DESTINATION_NOT_OWNED
WAYS = ("CUSTOM_PATH_PREFIX", "addTimestampPrefix", "spec.guards.adoptDestination")
MIRROR = {"addTimestampPrefix": False}


@dataclass(frozen=True)
class Row:
    """What is otherwise in the Secret and in the spec, the reason, and words of the sentence."""

    reason: str
    words: tuple[str, ...]
    secret: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


def prefix(text: str, *words: str) -> Row:
    return Row(CONFIG, ("CUSTOM_PATH_PREFIX is ", *words), spec={"additionalEnv": env(CUSTOM_PATH_PREFIX=text)})


UNREACHABLE = {
    "a bucket that is not there": Row(
        transfer.REASON_BUCKET_NOT_FOUND,
        ("no bucket 'misspelt'", "create it, or mend BUCKET_NAME"),
        {"BUCKET_NAME": "misspelt"},
    ),
    "a name that does not resolve": Row(
        transfer.REASON_SERVER_UNREACHABLE,
        ("http://s3.invalid:", "cannot be reached", "check BUCKET_HOST"),
        {"BUCKET_HOST": "s3.invalid"},
        {"image": {"repository": IMPATIENT}},
    ),
    "a port that refuses": Row(
        transfer.REASON_SERVER_UNREACHABLE,
        ("connection refused", "check BUCKET_HOST, BUCKET_PORT"),
        {"BUCKET_PORT": "1"},
        {"image": {"repository": IMPATIENT}},
    ),
    "TLS on a plain port": Row(
        transfer.REASON_TLS_MISMATCH, ('set TLS_HOST to "false" for plain HTTP',), {"TLS_HOST": "true"}
    ),
    "a prefix that leads out of the bucket": prefix("../other", "'..'", "object stores do not resolve"),
    "a prefix that leads out further down": prefix("a/../../other", "'..'"),
    "a prefix that is here": prefix("a/./b", "'.'"),
    "a prefix with an empty segment": prefix("a//b", "empty segment", "two slashes"),
    "a prefix with a line break": prefix("a\nb", "control character"),
    "a prefix that is ours": prefix(".datamover", "keeps its own records"),
    "a prefix that is ours further down": prefix("a/.datamover/runs", "keeps its own records"),
    "a switch that is none": Row(
        CONFIG, ("VERIFY_BACKUP is 'on'", 'write "true"', '"download"'), {"VERIFY_BACKUP": "on"}
    ),
    "an engine that would only pretend": Row(
        CONFIG,
        ("RCLONE_DRY_RUN is set: nothing would be moved", "Remove it"),
        spec={"additionalEnv": env(RCLONE_DRY_RUN="true")},
    ),
    "an engine that takes other places for this one": Row(
        CONFIG,
        ("RCLONE_COMPARE_DEST is set", "the destination would not be whole", "Remove it"),
        spec={"additionalEnv": env(RCLONE_COMPARE_DEST="s3generic:backups/old")},
    ),
}

HARMLESS_PREFIXES = {
    "slashes at both ends": ("/nightly/", "nightly"),
    "several segments": ("a/b c/ü", "a/b c/ü"),
    "dots in a name": ("..hidden/v1..2", "..hidden/v1..2"),
    "a flag": ("--delete", "--delete"),
    "only slashes": ("//", ""),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server with a certificate that it signed itself."""
    place = tmp_path_factory.mktemp("secured")
    for server in run_server("rclone", place, tls=self_signed(place)):
        server.bucket()
        yield server


def self_signed(place: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pair = place / "server.pem", place / "server.key"
    pair[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair


@pytest.mark.parametrize("case", UNREACHABLE)
async def test_a_destination_that_cannot_serve(case: str, stage: Stage) -> None:
    row = UNREACHABLE[case]
    async with stage.act(case) as act:
        await act.create_secret(**row.secret)
        await act.start(**row.spec)
        failed = await act.expect_failed(row.reason, *row.words)
        terminal = row.reason != transfer.REASON_SERVER_UNREACHABLE
        assert run_of(failed).attempts == (1 if terminal else 3)


@pytest.mark.parametrize("case", HARMLESS_PREFIXES)
async def test_a_prefix_that_only_looks_bad(case: str, stage: Stage) -> None:
    given, place = HARMLESS_PREFIXES[case]
    async with stage.act(case) as act:
        await act.create_secret()
        await act.start(additionalEnv=env(CUSTOM_PATH_PREFIX=given))
        mover = await act.expect_completed()
        where = "/".join(part for part in (place, run_of(mover).timestamp) if part)
        assert act.s3.objects(where, bucket=act.bucket) == TREE


async def test_a_certificate_that_nobody_signed(secured: S3Server, stage: Stage) -> None:
    async with stage.act("a certificate that nobody signed") as act:
        await act.cluster.create_secret(SECRET, secured.secret())
        await act.start()
        await act.expect_failed(transfer.REASON_TLS_UNTRUSTED, "is not trusted", "authority", "key CA_CERT")
        assert secured.objects(records=True) == {}


async def test_a_certificate_that_is_trusted_explicitly(secured: S3Server, stage: Stage) -> None:
    async with stage.act("a certificate that is trusted") as act:
        await act.cluster.create_secret(SECRET, secured.secret())
        assert secured.tls is not None
        await act.start(additionalEnv=env(CA_CERT=Path(secured.tls[0]).read_text()))
        mover = await act.expect_completed()
        assert secured.objects(run_of(mover).timestamp) == TREE


async def test_plain_http_on_a_tls_port(secured: S3Server, stage: Stage) -> None:
    async with stage.act("plain on TLS") as act:
        await act.cluster.create_secret(SECRET, secured.secret(TLS_HOST="false"))
        await act.start()
        await act.expect_failed(transfer.REASON_TLS_MISMATCH, '"true" for HTTPS', "BUCKET_PORT")


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """Listen on a port, take what comes, and never answer."""
    open_: set[asyncio.StreamWriter] = set()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.add(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in open_:
            writer.close()
        await server.wait_closed()


async def test_a_server_that_never_answers_meets_the_deadline(stage: Stage) -> None:
    async with silence() as port, stage.act("a server that hangs") as act:
        await act.create_secret(BUCKET_PORT=str(port))
        begun = time.monotonic()
        await act.start(deadlineSeconds=3)
        failed = await act.expect_failed("DeadlineExceeded", "spec.deadlineSeconds (3 s)")
        assert time.monotonic() - begun < 20
        assert run_of(failed).attempts == 1


async def test_something_else_than_an_s3_server_answers(stage: Stage) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot here\n")
        await writer.drain()
        writer.close()

    port = free_ports(1)[0]
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    try:
        async with stage.act("not an S3 server") as act:
            await act.create_secret(BUCKET_PORT=str(port))
            await act.start()
            await act.expect_failed(transfer.REASON_BUCKET_NOT_FOUND, "not an S3 server", "BUCKET_HOST")
    finally:
        server.close()
        await server.wait_closed()


# --- whose is it? -----------------------------------------------------------------------------------------------------


async def annotate(act: Act, name: str, **annotations: str) -> None:
    wish = {"metadata": {"annotations": annotations}}
    await act.client.patch(DATA_MOVERS, name, wish, namespace=act.namespace, field_manager="test")


async def test_a_mirror_into_somebodys_files_is_refused(stage: Stage) -> None:
    async with stage.act("somebody's files") as act:
        await act.create_secret()
        await act.start(**MIRROR)
        await act.expect_failed(NOT_OWNED, "holds 2 objects", "theirs/photo.jpg", "Nothing was moved or deleted", *WAYS)


async def test_a_mirror_over_anothers_mirror_is_refused_and_the_other_goes_on(stage: Stage) -> None:
    async with stage.act("another volume's mirror", shared=False) as act:
        await act.create_secret()
        await act.create_volume("other-data", {"other.txt": b"other"})
        await act.start("other", sourcePvc="other-data", **MIRROR)
        await act.expect_completed(name="other")
        await act.client.delete(DATA_MOVERS, "other", namespace=act.namespace)
        await gone(act)
        await act.start(**MIRROR)
        await act.expect_failed(NOT_OWNED, f"is the mirror of {act.namespace}/other-data", "Nothing was moved", *WAYS)
        assert act.objects(records=False) == {"other.txt": b"other"}


async def test_a_mirror_over_timestamped_copies_is_refused(stage: Stage) -> None:
    async with stage.act("timestamped copies of others", shared=False) as act:
        await act.create_secret()
        await act.create_volume("other-data", {"other.txt": b"other"})
        await act.start("other", sourcePvc="other-data")
        copy = await act.copied("other")
        await act.client.delete(DATA_MOVERS, "other", namespace=act.namespace)
        await gone(act)
        await act.start(**MIRROR)
        await act.expect_failed(NOT_OWNED, "no run of this mirror wrote", "other.txt", *WAYS)
        assert copy == {"other.txt": b"other"}


@pytest.mark.parametrize("way", ["field", "annotation"])
async def test_adoption_has_to_be_asked_for_and_then_takes_over(way: str, stage: Stage) -> None:
    async with stage.act(f"adoption by {way}") as act:
        await act.create_secret()
        await act.start(**MIRROR)
        await act.expect_failed(NOT_OWNED, *WAYS)
        if way == "field":
            adopt = {"spec": {"guards": {"adoptDestination": True}}}
            await act.client.patch(DATA_MOVERS, "mover", adopt, namespace=act.namespace, field_manager="test")
            await annotate(act, "mover", **{names.RETRY_ANNOTATION: "1"})
        else:
            await annotate(act, "mover", **{names.ADOPT_ANNOTATION: "true", names.RETRY_ANNOTATION: "1"})
        await act.cluster.wait_phase("mover", "Completed")
        assert act.objects(records=False) == TREE, "what lay there was to be replaced and deleted"
        act.remember()


async def test_an_annotation_that_is_not_true_adopts_nothing(stage: Stage) -> None:
    async with stage.act("adoption by a wrong word") as act:
        await act.create_secret()
        act.remember()
        await act.cluster.create(
            DATA_MOVERS,
            "mover",
            metadata={"annotations": {names.ADOPT_ANNOTATION: "True"}},
            spec={"sourcePvc": SOURCE, "secretName": SECRET},
        )
        await act.expect_failed(NOT_OWNED, *WAYS)
        assert act.objects() == PRECIOUS


async def mirror_once(act: Act, **spec: Any) -> None:
    """Let a first mirror complete and go, so that a second one finds it."""
    await act.create_secret()
    await act.start("first", **MIRROR, **spec)
    await act.expect_completed(name="first")
    await act.client.delete(DATA_MOVERS, "first", namespace=act.namespace)
    await gone(act)


async def gone(act: Act) -> None:
    async def nothing() -> bool:
        return not await act.cluster.children()

    await act.cluster.wait_for(nothing, seconds=40)


async def test_an_empty_source_does_not_empty_its_mirror_unless_that_is_allowed(stage: Stage) -> None:
    async with stage.act("an empty source", {"a": b"1", "b": b"2"}, shared=False) as act:
        await mirror_once(act)
        for path in (act.source / "a", act.source / "b"):
            path.unlink()
        await act.start(**MIRROR)
        await act.expect_failed(
            transfer.REASON_EMPTY_SOURCE, "no files", "holds 2", "Nothing was deleted", "allow it explicitly"
        )
        await annotate(act, "mover", **{names.ALLOW_EMPTY_ANNOTATION: "true", names.RETRY_ANNOTATION: "1"})
        await act.cluster.wait_phase("mover", "Completed")
        assert act.objects(records=False) == {}
        act.remember()


async def test_a_shrunken_source_does_not_shrink_its_mirror_unless_that_is_allowed(stage: Stage) -> None:
    async with stage.act("a shrunken source", {f"{n}": bytes([n]) for n in range(10)}, shared=False) as act:
        await mirror_once(act)
        for number in range(6):
            (act.source / f"{number}").unlink()
        await act.start(**MIRROR)
        await act.expect_failed(transfer.REASON_SOURCE_SHRUNK, "4 files", "10", "60 %", "50 % is allowed", "raise")
        allow = {"spec": {"guards": {"maxDeletePercent": 60}}}
        await act.client.patch(DATA_MOVERS, "mover", allow, namespace=act.namespace, field_manager="test")
        await annotate(act, "mover", **{names.RETRY_ANNOTATION: "1"})
        await act.cluster.wait_phase("mover", "Completed")
        assert act.objects(records=False).keys() == {"6", "7", "8", "9"}
        act.remember()


async def test_a_stray_object_in_a_mirror_stops_the_next_run_and_stays(stage: Stage) -> None:
    async with stage.act("a stray object", shared=False) as act:
        await mirror_once(act)
        act.put({"stray.txt": "somebody's"})
        await act.start(**MIRROR)
        await act.expect_failed(NOT_OWNED, "holds 1 object ", "stray.txt", *WAYS)
        assert act.objects()["stray.txt"] == b"somebody's"


async def test_a_damaged_owner_record_stops_the_next_run(stage: Stage) -> None:
    async with stage.act("a damaged owner record", shared=False) as act:
        await mirror_once(act)
        act.put({".datamover/owner.json": "{"})
        await act.start(**MIRROR)
        await act.expect_failed(
            NOT_OWNED, "owner.json cannot be read", "Restore the object, or delete it", "or use another prefix"
        )
