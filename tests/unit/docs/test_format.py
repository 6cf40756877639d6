"""The page on the format of records: its examples are read by our readers, its reader reads what ours wrote, its tables are the code's."""

import ast
import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datamover.agent.environment import Owner, is_run_id, is_timestamp
from datamover.agent.files import manifest, names, walk
from datamover.agent.files.manifest import Entry
from datamover.agent.rclone import records
from datamover.api import outside, transfer

ROOT = Path(__file__).resolve().parents[3]

PAGE = ROOT / "docs/format.md"
TEXT = PAGE.read_text(encoding="utf-8")


def sample(language: str, word: str) -> str:
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if word in text]
    return found


def table(section: str) -> list[list[str]]:
    part = TEXT.partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]*)`", cell)


@pytest.fixture
def documented(tmp_path: Path) -> str:
    """The manifest of the page, in two members."""
    lines = sample("text", '"type":"top"').strip().split("\n")
    cut = next(number for number, line in enumerate(lines) if '"end"' in line) + 1
    path = tmp_path / "manifest"
    path.write_bytes(
        b"".join(gzip.compress("".join(f"{x}\n" for x in part).encode()) for part in (lines[:cut], lines[cut:]))
    )
    return str(path)


@pytest.fixture
def reader() -> Callable[[str], Any]:
    scope: dict[str, Any] = {}
    exec(sample("python", "def read"), scope)
    return scope["read"]


def test_the_records_of_the_page_are_records() -> None:
    owner = records.read_owner(sample("json", '"previous"').encode(), place="owner.json")
    assert owner == msgspec.json.decode(sample("json", '"previous"'), type=records.OwnerRecord, strict=True)
    assert set(json.loads(sample("json", '"previous"'))) == {
        field.encode_name for field in msgspec.structs.fields(owner)
    }
    holder = sample("json", '"2024-08-06T14:30:53Z"')
    run = json.loads(holder)["runId"]
    source = Owner(cluster="0b8f5a1c", namespace="default", pvc="app-data")
    assert records.read_holder(holder.encode(), place="folder.json", run_id=run, source=source).timestamp
    assert is_run_id(run)
    assert is_timestamp(json.loads(holder)["timestamp"])


def test_the_outcome_of_the_page_is_one_for_readers_of_all_versions() -> None:
    text = sample("json", '"finishedAt"').encode()
    found = msgspec.json.decode(text, type=records.SealedOutcome)
    assert found.manifest is not None
    written = msgspec.json.encode(found)
    assert json.loads(written) == json.loads(text)
    read = transfer.parse_outcome(written)
    assert read is not None
    assert (read.run_id, read.files, read.succeeded) == (found.run_id, 1, True)


def test_the_manifest_of_the_page_is_read_by_us_and_by_its_own_reader(
    documented: str, reader: Callable[[str], Any]
) -> None:
    lines = list(manifest.every_line(documented))
    end = next(number for number, line in enumerate(lines) if line.type == manifest.END)
    assert lines[end].entries == end
    shown = {(entry.type, entry.raw_path) for entry in manifest.entries(documented)}
    assert (manifest.FILE, b"bad\xff") in shown
    digests = {key: md5.hex() for key, md5 in manifest.digests(documented)}
    found = reader(documented)
    assert set(found) == {entry.key for entry in manifest.entries(documented) if entry.type in {"file", "link"}}
    assert {key: md5 for key, (_, md5) in found.items() if md5} == digests
    for line in gzip.decompress(Path(documented).read_bytes()).splitlines()[1:]:
        known = {field.encode_name for field in msgspec.structs.fields(Entry)}
        assert set(json.loads(line)) <= known, line


def test_the_reader_of_the_page_reads_what_a_run_writes(tmp_path: Path, reader: Callable[[str], Any]) -> None:
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    for name in (b"plain", b"dir/-x", b"bad\xff", "\u00fc".encode()):
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(name)
    (source / "link").symlink_to("plain")
    path = str(tmp_path / "manifest")
    writer = manifest.Writer(path, manifest.Header(run_id="run-1"))
    found = dict.fromkeys(
        key
        for key, *_ in walk.walk(
            os.fsencode(source), tally=walk.Tally(), add=writer.add, prefix_size=0, tick=lambda: None
        )
    )
    writer.close()
    sums = [msgspec.structs.replace(manifest.about(manifest.DIGEST, key), md5=f"{len(key):032x}") for key in found]
    manifest.append(path, iter([manifest.about(manifest.VANISHED, b"plain")]))
    manifest.append(path, iter([*sums, Entry(type=manifest.DIGESTS, entries=len(sums))]))
    read = reader(path)
    assert {key: md5 for key, (_, md5) in read.items()} == {key: f"{len(key):032x}" for key in found if key != b"plain"}
    Path(path).write_bytes(gzip.compress(gzip.decompress(Path(path).read_bytes()).split(b'{"type":"end"')[0]))
    with pytest.raises(ValueError, match="cut off"):
        reader(path)


def test_every_type_of_line_is_in_the_table() -> None:
    told = {word for row in table("Types of lines") for word in words(row[0])}
    types = {
        value
        for name, value in vars(manifest).items()
        if name.isupper()
        and isinstance(value, str)
        and name not in {"SPECIAL_FILE", "LOST_AND_FOUND", "UNREADABLE", "ATTRIBUTES"}
    }
    assert told == types | manifest.SPECIAL


def test_every_field_of_a_line_is_in_the_table_with_its_default() -> None:
    rows = {name: words(row[1]) or [row[1]] for row in table("Fields of a line") for name in words(row[0])}
    fields = {field.encode_name: field for field in msgspec.structs.fields(Entry)}
    assert rows.keys() == fields.keys()
    for name, (default,) in rows.items():
        if name != "type":
            assert json.loads(default) == fields[name].default, name
    (row,) = [row for row in table("Fields of a line") if row[0] == "`skipped`"]
    assert set(words(row[2])) == {
        manifest.SPECIAL_FILE,
        manifest.LOST_AND_FOUND,
        manifest.UNREADABLE,
        manifest.ATTRIBUTES,
    }


def test_every_place_is_in_the_table() -> None:
    told = {words(row[0])[0] for row in table("Places")}
    run = "runs/<run id>"
    assert told == {
        records.OWNER,
        f"{run}/{records.MANIFEST}",
        f"{run}/mirror-<place>",
        f"{run}/{records.HOLDER}",
        f"{run}/{records.OUTCOME}",
        f"{run}/{records.STOPPED}",
        f"{run}/arriving/<word>/<key>",
        "claims/<timestamp>/<run id>.json",
    }
    assert records.place_name(12).startswith("mirror-")


def test_the_limits_of_the_page_are_those_of_the_readers() -> None:
    assert "64 KiB a record, 8 GiB a packed manifest, 8 MiB a line, 400 times" in TEXT
    assert (outside.RECORD_LIMIT, outside.MANIFEST_LIMIT, outside.LINE_LIMIT, outside.UNPACKED_RATIO) == (
        64 << 10,
        8 << 30,
        8 << 20,
        400,
    )


@pytest.mark.parametrize("row", table("Keys and names"), ids=lambda row: row[0][:30])
def test_names_become_the_keys_of_the_table(row: list[str]) -> None:
    raw, key = (ast.literal_eval(words(cell)[-1]) for cell in row)
    as_bytes = [each if isinstance(each, bytes) else each.encode() for each in (raw, key)]
    assert names.key_of(as_bytes[0]) == as_bytes[1]
    assert names.raw_of(as_bytes[1]) == as_bytes[0]


def test_the_base64_of_the_page_is_what_it_says() -> None:
    assert base64.b64decode("YmFk/w==") == b"bad\xff"
    assert "YmFk/w==" in TEXT
