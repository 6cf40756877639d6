"""What a DataVolume may ask for, and what ends in a reason and a sentence with the way out."""

from typing import Any

import msgspec
import pytest

from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import DataVolume
from datamover.reconcilers.datavolume.ask import UNSUPPORTED, Ask, Flaw, Kind, ask_of, resolve

SIZE = {"resources": {"requests": {"storage": "1Gi"}}}
PVC = {"accessModes": ["ReadWriteOnce"], **SIZE}
BLANK: dict[str, Any] = {"source": {"blank": {}}}
HTTP = {"url": "https://images.example/disk.img"}


def read(spec: dict[str, Any] | None) -> Ask | Flaw:
    manifest: dict[str, Any] = {"metadata": {"name": "disk", "namespace": "apps"}}
    if spec is not None:
        manifest["spec"] = spec
    return ask_of(msgspec.convert(manifest, DataVolume, strict=False))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ({**BLANK, "storage": SIZE}, Kind.BLANK),
        ({**BLANK, "pvc": PVC}, Kind.BLANK),
        ({"source": {"http": HTTP}, "storage": SIZE}, Kind.HTTP),
        ({"source": {"s3": {"url": "s3://bucket/key"}}, "storage": SIZE}, Kind.S3),
        ({"source": {"upload": {}}, "storage": SIZE}, Kind.UPLOAD),
        ({"source": {"pvc": {"name": "golden"}}, "storage": {}}, Kind.PVC),
        ({"source": {"snapshot": {"name": "golden"}}, "storage": {}}, Kind.SNAPSHOT),
        ({"sourceRef": {"kind": "DataSource", "name": "golden"}, "storage": {}}, Kind.REFERENCE),
        ({"storage": {**SIZE, "dataSourceRef": {"kind": "Widget", "name": "x"}}}, Kind.EXTERNAL),
        ({"source": {"registry": {"url": "docker://images.example/x"}}, "storage": SIZE}, Kind.REGISTRY),
        ({"source": {"vddk": {}}, "pvc": PVC}, Kind.VDDK),
    ],
)
def test_what_fills_it_is_the_one_field_that_is_set(spec: dict[str, Any], kind: Kind) -> None:
    found = read(spec)
    assert isinstance(found, Ask)
    assert found.kind is kind


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in UNSUPPORTED and kind is not Kind.EXTERNAL])
def test_steps_of_an_import_are_not_left_out_in_silence(kind: Kind) -> None:
    said: dict[str, Any] = {
        Kind.HTTP: {"source": {"http": HTTP}}, Kind.S3: {"source": {"s3": {"url": "s3://b/k"}}}, Kind.PVC: {"source": {"pvc": {"name": "x"}}},
        Kind.SNAPSHOT: {"source": {"snapshot": {"name": "x"}}}, Kind.REFERENCE: {"sourceRef": {"kind": "DataSource", "name": "x"}},
    }.get(kind, {"source": {kind.value: {}}})  # fmt: skip
    spec = {**said, "storage": SIZE}
    steps = {"checkpoints": [{"previous": "", "current": "one"}], "finalCheckpoint": True}
    found = read({**spec, **steps})
    assert isinstance(found, Flaw)
    assert found.reason == "UnsupportedSource"
    assert "remove spec.checkpoints" in found.message
    assert isinstance(read({**spec, "checkpoints": []}), Ask)
    assert isinstance(read({"source": {"vddk": {}}, "storage": SIZE, **steps}), Ask)


FLAWS: list[tuple[dict[str, Any] | None, str, str]] = [
    (None, "InvalidSpec", "no spec"),
    ({**BLANK}, "InvalidSpec", "neither spec.pvc nor spec.storage"),
    ({**BLANK, "pvc": PVC, "storage": SIZE}, "InvalidSpec", "both spec.pvc and spec.storage"),
    ({"storage": SIZE}, "NoSource", "nothing says what fills it"),
    ({"source": {}, "storage": SIZE}, "NoSource", "nothing says what fills it"),
    ({"source": {"blank": {}, "http": HTTP}, "storage": SIZE}, "SeveralSources", "blank, http"),
    ({**BLANK, "sourceRef": {"kind": "DataSource", "name": "x"}, "storage": SIZE}, "SeveralSources", "sourceRef"),
    ({**BLANK, "storage": {**SIZE, "dataSource": {"kind": "Widget", "name": "x"}}}, "SeveralSources", "dataSourceRef"),
    ({"sourceRef": {"kind": "Widget", "name": "x"}, "storage": SIZE}, "InvalidSpec", "Widget"),
    ({**BLANK, "pvc": SIZE}, "InvalidSpec", "accessModes has 0 entries"),
    ({**BLANK, "pvc": {**PVC, "accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}, "InvalidSpec", "2 entries"),
    ({**BLANK, "pvc": {**PVC, "accessModes": ["ReadOnlyMany"]}}, "InvalidSpec", "nobody could fill it"),
    ({**BLANK, "pvc": {"accessModes": ["ReadWriteOnce"]}}, "SizeInvalid", "is missing"),
    ({**BLANK, "storage": {}}, "SizeInvalid", "is missing"),
    ({**BLANK, "storage": {"resources": {"requests": {"storage": "0"}}}}, "SizeInvalid", "'0'"),
    ({**BLANK, "storage": {"resources": {"requests": {"storage": "-1Gi"}}}}, "SizeInvalid", "-1Gi"),
    ({**BLANK, "storage": {"resources": {"requests": {"storage": "much"}}}}, "SizeInvalid", "much"),
    ({**BLANK, "storage": {"resources": {"requests": {"storage": "9e99"}}}}, "SizeInvalid", "9e99"),
    ({**BLANK, "storage": {**SIZE, "volumeMode": "Tape"}}, "InvalidSpec", "Tape"),
    ({"source": {"http": HTTP}, "contentType": "iso", "storage": SIZE}, "InvalidSpec", "iso"),
    (
        {"source": {"http": HTTP}, "contentType": "archive", "storage": {**SIZE, "volumeMode": "Block"}},
        "InvalidSpec",
        "Filesystem",
    ),
    ({**BLANK, "contentType": "archive", "storage": SIZE}, "InvalidSpec", "blank"),
    ({"source": {"http": {"url": "file:///etc/passwd"}}, "storage": SIZE}, "InvalidSpec", "https://"),
    ({"source": {"s3": {"url": "bucket/key"}}, "storage": SIZE}, "InvalidSpec", "s3://"),
]


@pytest.mark.parametrize(("spec", "reason", "part"), FLAWS, ids=[f"{reason}: {part}" for _, reason, part in FLAWS])
def test_what_cannot_be_had_says_why_and_what_to_do(spec: dict[str, Any] | None, reason: str, part: str) -> None:
    found = read(spec)
    assert isinstance(found, Flaw)
    assert found.reason == reason
    assert part in found.message
    assert "anew" in found.message or "say in spec.source" in found.message


def test_an_address_with_a_secret_in_it_is_not_repeated_at_length() -> None:
    found = read({"source": {"http": {"url": "gopher://" + "x" * 500}}, "storage": SIZE})
    assert isinstance(found, Flaw)
    assert len(found.message) < 250


@pytest.mark.parametrize(
    "address",
    ["ftp://me:secret@a/x?token=secret", "ftp://me:sec/ret@a", "me:secret@a/x", "me:secret@a://x", "ftp:me:secret@a"],
)
def test_l8_no_word_of_an_address_is_repeated_that_may_be_a_secret(address: str) -> None:
    found = read({"source": {"http": {"url": address}}, "storage": SIZE})
    assert isinstance(found, Flaw)
    assert "sec" not in found.message.replace("spec", "")
    assert "me:s" not in found.message


@pytest.mark.parametrize(
    ("said", "words"),
    [("sha256:00", "it has 2 digits; sha256 has 64"), ("crc:00", "one of md5"), ("sha256", "one of md5")],
)
def test_a_checksum_that_can_never_fit_is_told_before_anything_is_made(said: str, words: str) -> None:
    found = read({"source": {"http": {"url": "https://a/x", "checksum": said}}, "storage": SIZE})
    assert isinstance(found, Flaw)
    assert found.message.startswith("spec.source.http.checksum cannot be used: ")
    assert words in found.message


def test_a_checksum_of_the_right_form_is_taken() -> None:
    assert isinstance(
        read({"source": {"http": {"url": "https://a/x", "checksum": f"sha256:{'aB' * 32}"}}, "storage": SIZE}), Ask
    )


def referring() -> Ask:
    found = read({"sourceRef": {"kind": "DataSource", "name": "golden", "namespace": "images"}, "storage": {}})
    assert isinstance(found, Ask)
    return found


def data_source(**parts: Any) -> DataSource:
    return msgspec.convert({"metadata": {"name": "golden", "namespace": "images"}, **parts}, DataSource, strict=False)


def test_a_datasource_says_what_the_source_is_at_the_moment() -> None:
    both = data_source(
        spec={"source": {"pvc": {"name": "old"}}}, status={"source": {"pvc": {"name": "new", "namespace": "other"}}}
    )
    found = resolve(referring(), both)
    assert isinstance(found, Ask)
    assert found.kind is Kind.PVC
    assert found.source.pvc is not None
    assert (found.source.pvc.namespace, found.source.pvc.name) == ("other", "new")


def test_what_a_datasource_names_is_of_its_own_namespace() -> None:
    found = resolve(referring(), data_source(spec={"source": {"snapshot": {"name": "daily"}}}))
    assert isinstance(found, Ask)
    assert found.source.snapshot is not None
    assert (found.kind, found.source.snapshot.namespace) == (Kind.SNAPSHOT, "images")


@pytest.mark.parametrize("found", [None, data_source(), data_source(spec={"source": {}})])
def test_a_datasource_that_stands_for_nothing_is_waited_for(found: DataSource | None) -> None:
    assert isinstance(resolve(referring(), found), str)
