"""Files that `datamover run` cannot use: each is refused before anything is started, with a sentence that says what to do."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from datamover.cli.main import main
from support.stage import fingerprint

MOVER = """\
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata:
  name: nightly
spec:
  sourcePvc: app-data
  secretName: storage-credentials
"""
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata:
  name: storage-credentials
"""


def bomb() -> str:
    """Return a few hundred letters that stand for a hundred million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    return MOVER + "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """What is in the file, and what must be said of it."""

    text: str | bytes
    words: tuple[str, ...]


def row(text: str | bytes, *words: str) -> Row:
    return Row(text, words)


UNUSABLE = {
    "an empty file": row("", "holds no object"),
    "a file of comments and separators": row("---\n# nothing\n---\n", "holds no object"),
    "a file that is no YAML": row("spec: [unclosed", "is not YAML", "line 1"),
    "a file with tabs": row("spec:\n\tsourcePvc: a\n", "is not YAML", "line 2"),
    "a binary file": row(b"\x7fELF\x02\x01\xff\xfe\x00", "is not UTF-8", "save it as UTF-8"),
    "a file of zeros": row(bytes(100), "is not YAML", "special characters are not allowed"),
    "a file in UTF-16": row(MOVER.encode("utf-16"), "is not UTF-8"),
    "a file of nine MiB": row(b"# " + b"x" * (9 << 20), "larger than 8 MiB"),
    "a list instead of an object": row("- a\n- b\n", "is a list", "apiVersion, kind and metadata"),
    "plain text instead of an object": row("hello", "is text"),
    "a number instead of an object": row("5", "is a number"),
    "a bomb of anchors": row(bomb(), "stands for more than", "aliases included"),
    "an anchor in itself": row(MOVER + "x: &x [*x]\n", "levels deep"),
    "five thousand brackets": row("[" * 5000, "levels deep"),
    "a tag that would run a program": row("!!python/object/apply:os.system ['touch /tmp/pwned']", "is not YAML"),
    "bytes as a value": row(MOVER.replace("nightly", "!!binary aGk="), "metadata.name is of the YAML type bytes"),
    "a key that is there twice": row(MOVER + "  sourcePvc: other\n", "'sourcePvc' is there twice", "line 8"),
    "a key that is nothing": row(MOVER + "  ~: x\n", "a key in spec that is no text"),
    "a key that is a list": row(MOVER + "  ? [a]\n  : x\n", "unhashable key"),
    "a number that is none": row(MOVER + "  deadlineSeconds: .nan\n", "spec.deadlineSeconds is nan", "quote it"),
    "a number of 400 digits": row(MOVER + f"  deadlineSeconds: {'9' * 400}\n", "spec.deadlineSeconds", "64 bits"),
    "half of a character": row(MOVER + '  volumeSnapshotClassName: "\\ud800"\n', "half of a character"),
    "no apiVersion": row("kind: DataMover\nmetadata: {name: a}", "has no apiVersion"),
    "no kind": row("apiVersion: v1\nmetadata: {name: a}", "has no kind"),
    "a kind that is a number": row("apiVersion: v1\nkind: 5\nmetadata: {name: a}", "has no kind"),
    "no metadata": row("apiVersion: v1\nkind: Secret", "has no metadata.name"),
    "no name": row(MOVER.replace("name: nightly", "labels: {}"), "has no metadata.name"),
    "an empty name": row(MOVER.replace("nightly", '""'), "has no metadata.name"),
    "a name that is a number": row(MOVER.replace("nightly", "2024"), "has no metadata.name", "quote it"),
    "a name with a slash": row(MOVER.replace("nightly", "a/b"), "'a/b'", "no slash"),
    "a namespace that is a number": row(MOVER.replace("nightly", "a\n  namespace: 5"), "namespace 5", "letters"),
    "a namespace in capitals": row(MOVER.replace("nightly", "a\n  namespace: Prod"), "'Prod'", "lower-case"),
    "another group's DataMover": row(
        MOVER.replace("datamover.a-cup-of.coffee", "example.com"), "it is datamover.a-cup-of.coffee/v1alpha1"
    ),
    "another version of DataMover": row(MOVER.replace("v1alpha1", "v1"), "it is datamover.a-cup-of.coffee/v1alpha1"),
    "the same DataMover twice": row(f"{MOVER}---\n{MOVER}", "DataMover nightly is there twice", "remove one or rename"),
    "the same Secret twice": row(MOVER + SECRET * 2, "Secret storage-credentials is there twice, first in"),
    "no DataMover at all": row(SECRET, "no DataMover", "nothing to run"),
    "a List without items": row("apiVersion: v1\nkind: List\n", "List without items"),
    "a List with a number in it": row("apiVersion: v1\nkind: List\nitems: [1]\n", "item 1", "is a number"),
    "a Secret with a placeholder": row(
        MOVER + SECRET + "stringData: {AWS_ACCESS_KEY_ID: <your-key>}", "AWS_ACCESS_KEY_ID", "fill in the value"
    ),
    "a Secret with a number": row(MOVER + SECRET + "stringData: {BUCKET_PORT: 9000}", "BUCKET_PORT", "quote it"),
    "a Secret with a boolean": row(MOVER + SECRET + "stringData: {TLS_HOST: no}", "TLS_HOST is a boolean", "quote it"),
    "a Secret whose data are a list": row(MOVER + SECRET + "data: [a]", "Secret.data is a list", "mapping"),
    "a variable with a boolean": row(
        MOVER + "  additionalEnv:\n    - name: VERIFY_BACKUP\n      value: true\n", "additionalEnv[0].value", "quote it"
    ),
}

REFUSED = {
    "a kind that is not served": row(
        MOVER + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
        "no Deployment of apps/v1",
        "spelling",
    ),
    "a misspelt field": row(
        MOVER + "  deletePvcAfterBackups: true\n", "spec.deletePvcAfterBackups is not a field", "check the spelling"
    ),
    "a field in the wrong case": row(MOVER.replace("sourcePvc", "sourcePVC"), "spec.sourcePVC is not a field"),
    "a spec that is a list": row(MOVER.split("spec:", maxsplit=1)[0] + "spec: []\n", "spec: expected map, got []"),
    "no spec": row(MOVER.split("spec:", maxsplit=1)[0], "spec: Required value"),
    "a Secret that is no base64": row(MOVER + SECRET + "data: {A: 'not base64!'}", "document 2", "illegal base64"),
    "a Secret of more than a MiB": row(MOVER + SECRET + f"stringData: {{A: {'x' * 1_100_000}}}", "1048576 bytes"),
    "a Secret key with a space": row(MOVER + SECRET + "stringData: {'A B': x}", "data[A B]"),
    "what kubectl get prints": row(
        MOVER.replace("nightly", "nightly\n  managedFields: [{manager: x}]"), "metadata.managedFields must be nil"
    ),
    "one good and one bad DataMover": row(
        f"{MOVER}---\n{MOVER.replace('nightly', 'weekly')}  copyMethod: Copy\n",
        "document 2",
        'Unsupported value: "Copy": supported values: "Clone", "Snapshot", "Direct"',
    ),
}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "file").write_text("precious")
    return directory


def run(tmp_path: Path, volume: Path, *arguments: str, text: bytes | None = None) -> Result:
    """Run `datamover run` with a volume and a state directory."""
    return CliRunner().invoke(
        main,
        ["run", *arguments, "--volume", f"app-data={volume}", "--state", str(tmp_path / "state"), "--timeout", "20"],
        input=text,
    )


def expect_refusal(result: Result, words: tuple[str, ...]) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2, result.output
    missing = [word for word in words if word not in result.stderr]
    assert not missing, f"{missing} not in: {result.stderr}"
    assert result.stderr.startswith("datamover: ")
    assert result.stderr.count("\n") == 1, "one sentence, on one line"


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_that_cannot_be_used(case: str, tmp_path: Path, volume: Path) -> None:
    before = fingerprint(volume)
    path = tmp_path / "file.yaml"
    text = UNUSABLE[case].text
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)

    result = run(tmp_path, volume, "-f", str(path))

    expect_refusal(result, (*UNUSABLE[case].words, *((str(path),) if case != "no DataMover at all" else ())))
    assert result.stdout == ""
    assert not (tmp_path / "state").exists(), "nothing was started"
    assert not Path("/tmp/pwned").exists()
    assert fingerprint(volume) == before


@pytest.mark.parametrize("case", REFUSED)
def test_an_object_that_is_refused_keeps_all_others_from_running(case: str, tmp_path: Path, volume: Path) -> None:
    before = fingerprint(volume)
    path = tmp_path / "file.yaml"
    path.write_text(str(REFUSED[case].text))

    result = run(tmp_path, volume, "-f", str(path))

    expect_refusal(result, REFUSED[case].words)
    assert "nightly" not in result.stdout, "no DataMover was begun"
    assert fingerprint(volume) == before


PLACES = {
    "a file that is missing": ("missing.yaml", "cannot be read: No such file"),
    "a directory without manifests": ("empty", "holds no manifest: none of its files ends in .yaml"),
    "a path through a file": ("file.yaml/x", "cannot be read: Not a directory"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_place_that_holds_no_file(case: str, tmp_path: Path, volume: Path) -> None:
    (tmp_path / "file.yaml").write_text(MOVER)
    (tmp_path / "empty").mkdir()
    place, words = PLACES[case]
    expect_refusal(run(tmp_path, volume, "-f", str(tmp_path / place)), (words,))


def test_standard_input_is_called_by_its_name(tmp_path: Path, volume: Path) -> None:
    expect_refusal(run(tmp_path, volume, "-f", "-", text=b"hello"), ("standard input, line 1, document 1: is text",))


HARMLESS = {
    "a byte order mark": "\ufeff" + MOVER,
    "lines that end as on Windows": MOVER.replace("\n", "\r\n"),
    "a name that looks like a date": MOVER.replace("nightly", "2024-08-06"),
    "a namespace that is null": MOVER.replace("nightly", "nightly\n  namespace:"),
    "an anchor with an alias": MOVER.replace("app-data", "&volume app-data").replace("storage-credentials", "*volume"),
    "a List of the kind": ("apiVersion: v1\nkind: DataMoverList\nitems:\n- " + MOVER.replace("\n", "\n  ").rstrip(" ")),
    "a merge that overrides a key": MOVER.replace(
        "spec:\n", "  annotations: &base {a: b}\n  labels: {<<: *base, a: c}\nspec:\n"
    ),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_looks_bad_is_taken_as_kubectl_takes_it(case: str, tmp_path: Path, volume: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(HARMLESS[case])
    result = CliRunner().invoke(
        main,
        ["run", "-f", str(path), "--volume", f"app-data={volume}", "--state", str(tmp_path / "s"), "--timeout", "0.5"],
    )
    assert result.exit_code == 4, result.output
    assert "does not exist in this namespace: create it with AWS_ACCESS_KEY_ID" in result.stdout
