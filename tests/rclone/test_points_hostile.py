"""What lies in a bucket is not believed: records, manifests and listings that no honest store gives end in one sentence, in little memory."""

import base64
import gzip
import json
import os
import re
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from rclone.test_hostile import MEASURING, page
from support.answering import Answering, Reply, Request
from support.endless import Endless
from support.memory_s3 import MemoryS3
from support.points import Said, datamover, forge, write_secret

RUN, FOLDER = "20240801101500-copy", "2024-08-01-101500"
FILE = {"type": "file", "size": 1, "mtime": 1, "mode": 0o644}
MEBIBYTE = 1 << 10


def ask(store: MemoryS3, tmp_path: Path, *arguments: str | Path, **how) -> Said:
    """Run a command over this store; nothing of what comes may reach a terminal as it is, and nothing may be written into the bucket."""
    secret = write_secret(tmp_path / "secret.yaml", store.secret())
    said = datamover(arguments[0], "--secret", secret, *arguments[1:], **how)
    assert "Traceback" not in said.errors
    for text in (said.errors, said.text if arguments[0] != "cat" else ""):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert {method for method, _ in store.seen} <= {"GET", "HEAD"}
    return said


def measured(tmp_path: Path) -> list[str]:
    return [sys.executable, "-c", MEASURING, str(tmp_path / "peak")]


def peak(tmp_path: Path) -> int:
    """Return the most memory that the command or its engine took, in KiB."""
    return int((tmp_path / "peak").read_text())


TRICKS = [
    "../up",
    "/etc/passwd",
    "a//b",
    "a/./b",
    "a/../../b",
    "nul\x00byte",
    "",
    "..",
]


def test_names_that_lead_outside_are_left_out_and_told(store: MemoryS3, tmp_path: Path) -> None:
    lines = [FILE | {"path": path} for path in [*TRICKS, "good"]]
    raw = base64.b64encode(b"../raw").decode()
    store.put(forge(RUN, FOLDER, *lines, FILE | {"path": "fine", "raw": raw}) | {f"{FOLDER}/good": b"x", "up": b"no"})
    said = ask(store, tmp_path, "ls", "-R", "latest")
    assert said.code == 0
    assert [line.split()[-1] for line in said.text.splitlines()] == ["good"]
    assert said.errors.count(f"9 names in the manifest of {FOLDER} are no paths") == 1
    target = tmp_path / "deep/target"
    target.parent.mkdir()
    said = ask(store, tmp_path, "get", "latest", ".", target)
    assert said.code == 1
    assert [path.name for path in target.iterdir()] == ["good"]
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_links_and_files_of_one_name_lead_nowhere(store: MemoryS3, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lines = [
        {"type": "link", "path": "sub", "target": str(outside)},
        FILE | {"path": "sub/evil"},
        {"type": "file", "path": "suid", "size": 1, "mode": 0o6755},
        {"type": "character device", "path": "node", "device": "1:3"},
    ]
    store.put(forge(RUN, FOLDER, *lines) | {f"{FOLDER}/sub/evil": b"x", f"{FOLDER}/suid": b"x"})
    said = ask(store, tmp_path, "get", "latest", ".", tmp_path / "target")
    assert said.code == 1
    assert list(outside.iterdir()) == []
    assert os.stat(tmp_path / "target/suid").st_mode & 0o7000 == 0
    assert "pipes, devices and sockets" in said.errors
    assert not (tmp_path / "target/node").exists()


def test_names_and_words_that_play_tricks_are_shown_escaped(store: MemoryS3, tmp_path: Path) -> None:
    evil = "\x1b[2J\u202egpj\nx"
    raw = base64.b64encode(b"\xff\x1b]0;x\x07").decode()
    lines = [FILE | {"path": evil}, FILE | {"path": "shown", "raw": raw}, {"type": "link", "path": "l", "target": evil}]
    records = forge(RUN, FOLDER, *lines, verification=evil, message=evil)
    holder = f".datamover/runs/{RUN}/folder.json"
    told = json.loads(records[holder])
    records[holder] = json.dumps(told | {"object": evil}).encode()
    store.put(records)
    assert ask(store, tmp_path, "points").code == 0
    assert ask(store, tmp_path, "points", "-o", "json").document["points"][0]["state"] == "complete"
    said = ask(store, tmp_path, "ls", "latest")
    assert (said.code, len(said.text.splitlines())) == (0, 3)
    assert ask(store, tmp_path, "cat", "latest", evil).code == 1
    assert ask(store, tmp_path, "ls", evil).code == 2
    found = ask(store, tmp_path, "ls", "-o", "json", "latest").document["paths"]
    assert {base64.b64decode(each.get("raw", "")) for each in found} == {b"", b"\xff\x1b]0;x\x07"}


def bomb() -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = json.dumps(
        {
            "datamover": "manifest",
            "version": 1,
            "runId": RUN,
            "source": {"cluster": "c", "namespace": "production", "pvc": "app-data"},
        }
    ).encode()
    parts = [squeeze.compress(header + b"\n")] + [squeeze.compress(b"x" * (1 << 20)) for _ in range(300)]
    return b"".join([*parts, squeeze.flush()])


MANIFESTS = {
    "300 MB in 300 KB": (bomb, "longer than 8388608 bytes|more than 400 times its size"),
    "a web page": (lambda: b"<html>", "cannot be unpacked"),
    "nothing": (lambda: b"", "is empty|is cut off"),
    "cut off": (lambda: forge(RUN, FOLDER, *[FILE | {"path": f"{n:x}" * 9} for n in range(999)])[f".datamover/runs/{RUN}/manifest.jsonl.gz"][:-40], "cut off"),
    "a later version": (lambda: gzip.compress(b'{"datamover":"manifest","version":7}\n'), "Use a newer datamover"),
    "a number that no field holds": (
        lambda: gzip.compress(b'{"datamover":"manifest","version":1,"runId":"%s","source":{"cluster":"c","namespace":"production","pvc":"app-data"}}\n{"type":"file","path":"x","size":1e26}\n' % RUN.encode()),
        "does not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_hostile_manifest_is_one_sentence_in_little_memory(store: MemoryS3, tmp_path: Path, case: str) -> None:
    make, sentence = MANIFESTS[case]
    store.put(forge(RUN, FOLDER) | {f".datamover/runs/{RUN}/manifest.jsonl.gz": make()})
    said = ask(store, tmp_path, "ls", RUN, before=measured(tmp_path))
    assert said.code == 2
    assert re.search(sentence, said.errors), said.errors
    assert len(said.errors.splitlines()) <= 2
    assert peak(tmp_path) < 300 * MEBIBYTE


RECORDS = {
    "megabytes": b'{"datamover":"outcome","message":"' + b"x" * (20 << 20) + b'"}',
    "depth": b'{"x":' + b"[" * 30_000,
    "a list": b"[]",
    "a later version": b'{"datamover":"outcome","version":99}',
    "of another run": b'{"datamover":"outcome","version":1,"runId":"other","succeeded":true}',
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_hostile_outcome_makes_its_run_unusable_and_no_other(store: MemoryS3, tmp_path: Path, case: str) -> None:
    other, folder = "20240701101500-copy", "2024-07-01-101500"
    store.put(forge(RUN, FOLDER) | {f".datamover/runs/{RUN}/outcome.json": RECORDS[case]})
    store.put(forge(other, folder))
    points = ask(store, tmp_path, "points", "-o", "json").document["points"]
    state = "newer-format" if case == "a later version" else "damaged"
    assert {point["run"]: point["state"] for point in points} == {RUN: state, other: "complete"}
    said = ask(store, tmp_path, "ls", "latest")
    assert said.code == 0
    assert f"the run {RUN} is passed over: it is {state}" in said.errors


@pytest.mark.parametrize("key", [b".datamover/runs/x/", b"elsewhere/"])
def test_a_listing_that_never_ends_is_ended(store: MemoryS3, tmp_path: Path, key: bytes) -> None:
    answer = replace(page(), body=page().body.replace(b"data/", key))
    port = int(store.secret()["BUCKET_PORT"])
    with Answering(port, lambda request: answer if "max-keys=" in request.path else None) as proxy:
        secret = write_secret(tmp_path / "secret.yaml", store.secret(BUCKET_PORT=str(proxy.port)))
        limits = {"DATAMOVER_OUTAGE_LIMIT": "3"}
        write_secret(secret, store.secret(BUCKET_PORT=str(proxy.port), RCLONE_TIMEOUT="5s"))
        said = datamover("points", "--secret", secret, "-o", "json", environ=limits, before=measured(tmp_path))
    if key.startswith(b".datamover"):
        assert said.document["reason"] == "ServerError", said.errors
        assert "has no end" in said.errors
    else:  # what is not below the place is passed over, so nothing seems to come
        assert said.document["reason"] == "ServerUnreachable", said.errors
        assert said.code == 3
    assert peak(tmp_path) < 400 * MEBIBYTE


def test_an_object_without_end_fills_no_disk(store: MemoryS3, tmp_path: Path) -> None:
    files = {"a": 1, "endless": 1, "z": 3 << 20}
    store.put(forge(RUN, FOLDER, *(FILE | {"path": path, "size": size} for path, size in files.items())))
    store.put({f"{FOLDER}/{path}": bytes(size) for path, size in files.items()})
    target = tmp_path / "target"
    pieces = Endless(target)
    store.gives = lambda key: pieces if key == f"{FOLDER}/endless" else None
    said = ask(store, tmp_path, "get", "latest", ".", target, "-o", "json")
    assert said.code == 1, said.errors
    assert said.document["leftOut"] == [
        "what has another size at the destination than in the manifest (1 path): 'endless'"
    ]
    assert sorted(os.listdir(target)) == ["a", "z"]
    assert pieces.most <= 1 << 20
    said = ask(store, tmp_path, "cat", "latest", "endless")
    assert (said.code, len(said.output)) == (1, 1)


class Crowd:
    """A bucket with the records of 100,000 runs, made as they are asked for."""

    runs = 100_000

    def __init__(self) -> None:
        self.fetched = 0

    def id(self, number: int) -> tuple[str, str]:
        stamp = f"{2000 + number // 10_000}-01-{1 + number // 1000 % 10:02}-{number // 100 % 10:02}{number // 60 % 60:02}{number % 60:02}"
        return f"{stamp.replace('-', '')[:14]}-r{number:06}", stamp

    def keys(self, number: int) -> list[str]:
        run_id, _ = self.id(number)
        return [f".datamover/runs/{run_id}/{name}" for name in ("folder.json", "manifest.jsonl.gz", "outcome.json")]

    def __call__(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if "max-keys" in query:
            return self.list(int(query.get("marker", query.get("continuation-token", ["0"]))[0]))
        self.fetched += request.method == "GET"
        number = int(parts.path.split("-r")[1][:6])
        run_id, stamp = self.id(number)
        found = forge(run_id, stamp)[parts.path.removeprefix("/backups/")]
        return Reply(200, found, {"Last-Modified": "Tue, 06 Aug 2024 14:30:52 GMT", "ETag": '"x-1"'})

    def list(self, start: int) -> Reply:
        end = min(self.runs, start + 1000)
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>100</Size><LastModified>2024-08-06T14:30:52.000Z</LastModified><ETag>&quot;x-1&quot;</ETag></Contents>"
            for number in range(start, end)
            for key in self.keys(number)
        )
        more = str(end < self.runs).lower()
        body = f"<ListBucketResult><Name>backups</Name><IsTruncated>{more}</IsTruncated><NextMarker>{end}</NextMarker>{contents}</ListBucketResult>"
        return Reply(200, body.encode(), {"Content-Type": "application/xml"})


@pytest.mark.timeout(300)
def test_a_hundred_thousand_runs_are_listed_in_little_memory_and_few_requests(store: MemoryS3, tmp_path: Path) -> None:
    crowd = Crowd()
    with Answering(1, crowd) as proxy:
        secret = write_secret(tmp_path / "secret.yaml", store.secret(BUCKET_PORT=str(proxy.port)))
        said = datamover("points", "--secret", secret, "-o", "json", before=measured(tmp_path), timeout=200)
    assert said.code == 0, said.errors
    assert len(said.document["points"]) == 100
    assert said.document["more"] == crowd.runs - 100
    assert {point["state"] for point in said.document["points"]} == {"complete"}
    assert crowd.fetched < 100 * 2 + 400  # with the pages of the listing
    assert peak(tmp_path) < 400 * MEBIBYTE
