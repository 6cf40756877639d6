"""Build the container images of the operator, the mover and the plugin for Velero, and look at what came out.

    python tools/images.py build            build them into dist/images/{operator,mover,velero-plugin}.tar with an SBOM beside each
    python tools/images.py build --help     options: base, names, where to
    python tools/images.py clean            remove all that is kept between builds

The base is the public slim image of Python, as its registry has it at the time. `--base IMAGE` takes another; where no base is named and the
public one cannot be pulled, or with `--local-base`, one is made here with debootstrap (about a minute, kept afterwards). That one has no
security updates: it is for tests and for trying, see docs/container-images.md.

Needs root and buildah; debootstrap as well for a local base. Everything lies in `${XDG_CACHE_HOME:-~/.cache}/datamover/images`, nothing in the
user's own image store. An unchanged tree builds nothing. Archives are of docker-archive form: `docker load -i`, `podman load -i`,
`ctr -n k8s.io images import`, `skopeo copy docker-archive:FILE ...`.

Build stages fetch Python packages with pip: its settings (PIP_INDEX_URL and others, pip.conf) and the certificates of PIP_CERT,
REQUESTS_CA_BUNDLE or SSL_CERT_FILE are handed to them as secrets, which no image keeps.

Exit codes: 0 built; 1 the build failed; 2 wrong arguments; 3 a program is missing, or this is not root; 4 the base that was named cannot be
pulled; 5 an image is not as it must be: too large, runs as root, has setuid files. 130 interrupted.

Standard library only: it runs before anything is installed.
"""

import argparse
import configparser
import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

from cluster.mounts import mount_points, unmount_below
from locks import locked

ROOT = Path(__file__).resolve().parents[1]
CONTAINERFILE = "deploy/images/Containerfile"
PUBLIC_BASE = "python:3.13-slim-bookworm"
TARGETS = ("operator", "mover", "velero-plugin")
LIMITS = {"operator": 200_000_000, "mover": 200_000_000, "velero-plugin": 120_000_000}  # bytes, uncompressed
SBOM = "usr/share/datamover/sbom.cdx.json"
INPUTS = (
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "requirements/engines.json",
    "requirements/go.txt",
    "requirements/images.txt",
    "requirements/mover.txt",
    "requirements/operator.txt",
    "requirements/plugin.txt",
    "deploy/images",
    "src/datamover",
    "src/kubekit",
    "tools/engines.py",
    "tools/locks.py",
)
SUITE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
BASE_LEFT_OUT = ("var/cache", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/locale", "usr/share/info")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
PULL_SECONDS = 300.0
PROGRESS_SECONDS = 20.0
KEPT_BUILDS = 3
MOST_LAYERS = 80  # about 3 GB
CURE = "apt-get install buildah debootstrap"


class ImageError(Exception):
    """There are no images, or not such as they must be. Carries the exit code; the message says what to do."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the labels say of the source: version, the last commit that changed an input, and its time in seconds since 1970."""

    version: str
    revision: str
    source: str
    seconds: int

    @property
    def created(self) -> str:
        """The time as RFC 3339."""
        return f"{datetime.fromtimestamp(self.seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"

    @property
    def labels(self) -> dict[str, str]:
        """The label that is left out where it has nothing to say. The others come from the Containerfile."""
        return {"org.opencontainers.image.source": self.source} if self.source else {}


@dataclass(frozen=True, slots=True)
class Base:
    """A base in the store. `digest` is that of its manifest: what a registry calls it, and what the label says."""

    name: str
    id: str
    digest: str

    @property
    def labels(self) -> dict[str, str]:
        """What an image tells of it beside the name, which the Containerfile knows."""
        return {"org.opencontainers.image.base.digest": self.digest} if self.digest else {}


@dataclass(frozen=True, slots=True)
class Report:
    """One image: sizes are bytes, `components` are the entries of its SBOM."""

    image: str
    reference: str
    archive: str
    sbom: str
    size: int
    limit: int
    files: int
    components: int
    user: str
    base: str
    revision: str


def say(message: str) -> None:
    """Tell the user on stderr; stdout carries the report alone."""
    print(f"images: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a program that talks to people


# What is to be built, and whether it is there already ----------------------------------------------------------------------


def input_files(root: Path) -> list[Path]:
    """Return the files that the build reads, sorted, as paths below `root`. Raises ImageError when one is missing."""
    found: list[Path] = []
    for name in INPUTS:
        path = root / name
        if path.is_dir():
            found += [each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
        elif path.is_file():
            found.append(path)
        else:
            raise ImageError(f"{path} is missing")
    return sorted(path.relative_to(root) for path in found)


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """Return a digest of names, contents and whether they may be executed."""
    digest = hashlib.sha256()
    for path in files:
        content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        executable = os.access(root / path, os.X_OK)
        digest.update(f"{path.as_posix()}\0{content}\0{executable}\n".encode())
    return digest.hexdigest()


def base_key(*, mirror: str | None, machine: str) -> str:
    """Return the key of the local base: it changes with what goes into it and how it is made."""
    parts = (SUITE, machine, mirror or "", *BASE_PACKAGES, "-", *BASE_LEFT_OUT)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def build_key(*, inputs: str, base: str, stamp: Stamp, names: Mapping[str, str], machine: str) -> str:
    """Return the key of a build: digest of the files, id of the base, and all that the labels and names say."""
    parts = (inputs, base, json.dumps(asdict(stamp)), json.dumps(dict(names), sort_keys=True), machine)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where everything is kept."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(base) / "datamover" / "images"


def read_stamp(root: Path, environment: Mapping[str, str], *, source: str) -> Stamp:
    """Return what the labels say. Without git the revision is `unknown`, and the time that of SOURCE_DATE_EPOCH or 1970."""
    match = re.search(r'^version = "([^"]+)"$', (root / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise ImageError("pyproject.toml has no version")
    revision, seconds = "unknown", 0
    answer = _git(root, "log", "-1", "--format=%H %ct", "--", *INPUTS)
    if answer:
        revision, _, time_of_commit = answer.partition(" ")
        seconds = int(time_of_commit)
        if _git(root, "status", "--porcelain", "--", *INPUTS):
            revision += "-dirty"
    given = environment.get("SOURCE_DATE_EPOCH")
    if given is not None:
        if not given.isdecimal():
            raise ImageError(f"SOURCE_DATE_EPOCH={given!r} is no number of seconds", code=2)
        seconds = int(given)
    return Stamp(match[1], revision, source, seconds)


def _git(root: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    answer = subprocess.run([git, "-C", root, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() if answer.returncode == 0 else ""


def pip_settings(environment: Mapping[str, str], configurations: Sequence[Path]) -> tuple[str, Path | None]:
    """Return the text of a pip.conf for the build stages, and the certificates that it names there as /run/secrets/ca.crt.

    `configurations` are this machine's, the later wins, and environment wins over all; only what leads to packages is handed on.
    """
    settings: dict[str, str] = {}
    certificates: str | None = None
    for path in configurations:
        parser = configparser.RawConfigParser()
        with suppress(OSError, configparser.Error):
            parser.read_string(path.read_text(encoding="utf-8"))
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {name: value for name, value in parser.items(section) if name in PIP_SETTINGS}
                certificates = parser.get(section, "cert", fallback=certificates)
    for name in PIP_SETTINGS:
        value = environment.get(f"PIP_{name.upper().replace('-', '_')}")
        if value:
            settings[name] = value
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"):
        certificates = environment.get(name) or certificates
    found = Path(certificates) if certificates and Path(certificates).is_file() else None
    if found:
        settings["cert"] = "/run/secrets/ca.crt"
    lines = ["[global]", *(f"{name} = {value.replace(chr(10), chr(10) + '  ')}" for name, value in settings.items())]
    return "\n".join(lines) + "\n", found


# Processes, and what they leave behind -------------------------------------------------------------------------------------


def run(command: Sequence[str | Path], *, what: str, timeout: float | None = None, shown: bool = True) -> str:
    """Run a program and return its output. Says now and then that it lives. Raises ImageError with its last words.

    The program has a process group of its own, which ends with this call, whatever ends it.
    """
    since = time.monotonic()
    over = threading.Event()
    words: list[str] = []
    with subprocess.Popen(  # noqa: S603 - arguments are ours
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:

        def report() -> None:
            while not over.wait(PROGRESS_SECONDS):
                passed = time.monotonic() - since
                if timeout is not None and passed > timeout:
                    _end_group(process)
                    return
                if shown:
                    say(f"{what}: {passed:.0f} s, {words[-1][:100] if words else 'nothing said yet'}")

        thread = threading.Thread(target=report, daemon=True)
        thread.start()
        try:
            assert process.stdout is not None
            words.extend(line.rstrip() for line in process.stdout)
            status = process.wait()
        finally:
            over.set()
            _end_group(process)
    if status != 0:
        raise ImageError(f"{what} failed ({status}):\n" + "\n".join(words[-30:]))
    return "\n".join(words)


def _end_group(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            if not _group_lives(process.pid):
                return


def _group_lives(group: int) -> bool:
    for _ in range(20):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def remove(directory: Path) -> None:
    """Remove a directory, but nothing that is mounted into it."""
    unmount_below(directory.resolve())
    if mount_points(directory.resolve()):
        raise ImageError(f"something is still mounted below {directory}; nothing was removed")
    shutil.rmtree(directory, ignore_errors=True)


class Builder:
    """buildah with a store of its own below the cache."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._options = self._storage("overlay")
        try:
            self._probe()
        except ImageError:
            say("no overlay file system here, using plain copies (slower)")
            self._options = self._storage("vfs")
            self._probe()

    def _storage(self, driver: str) -> list[str]:
        store = self.cache / f"storage-{driver}"
        return ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", driver]

    def _probe(self) -> None:
        container = self._run("from", "scratch", what="trying the image store").splitlines()[-1]
        try:
            self._run("mount", container, what="trying the image store")
        finally:
            self._run("rm", container, what="trying the image store")

    def find(self, name: str) -> Base | None:
        """Return an image in the store."""
        with suppress(ImageError):
            form = "{{.FromImageID}} {{.FromImageDigest}}"
            answer = self._run("inspect", "--type", "image", "--format", form, name, what="looking for an image")
            found, _, digest = answer.partition(" ")
            return Base(name, found, digest)
        return None

    def pull(self, name: str) -> Base:
        """Return a base as its registry has it now, or as it was when that cannot be reached. Raises ImageError (code 4) when it never was."""
        known = self.find(name)
        if known and "@sha256:" in name:
            return known  # it cannot have changed
        say(f"pulling {name}")
        try:
            self._run("pull", "--quiet", "--policy", "always", name, what=f"pulling {name}", timeout=PULL_SECONDS)
        except ImageError as error:
            if known:
                say(f"{name} cannot be pulled ({last_words(error)}); going on with the one of an earlier build")
                return known
            raise ImageError(str(error), code=4) from None
        return self.find(name) or Base(name, name, "")

    def commit(self, archive: Path, name: str) -> Base:
        """Make an image of one layer from a tar file."""
        container = self._run("from", "scratch", what="making the base").splitlines()[-1]
        try:
            self._run("add", "--quiet", container, archive, "/", what="making the base")
            self._run("commit", "--quiet", container, name, what="making the base")
        finally:
            self._run("rm", container, what="making the base")
        return self.find(name) or Base(name, name, "")

    def build(
        self,
        context: Path,
        *,
        target: str,
        name: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, Path],
        seconds: int,
    ) -> None:
        """Build one target of the Containerfile."""
        command: list[str | Path] = [
            "build",
            "--isolation",
            "chroot",
            "--layers",
            "--pull=false",
            "--timestamp",
            str(seconds),
        ]
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        for key, value in labels.items():
            command += ["--label", f"{key}={value}"]
        for key, path in secrets.items():
            command += ["--secret", f"id={key},src={path}"]
        command += ["--target", target, "--tag", name, "--file", context / CONTAINERFILE, context]
        self._run(*command, what=f"building {target}")

    def push(self, name: str, archive: Path) -> None:
        """Write an image as a docker-archive file."""
        self._run("push", "--quiet", name, f"docker-archive:{archive}:{name}", what=f"writing {archive.name}")

    def tidy(self) -> None:
        """Remove containers that a build left, with their mounts; and layers without a name, once there are many."""
        with suppress(ImageError):
            self._run("rm", "--all", what="tidying up")
            layers = self._run("images", "--all", "--quiet", what="tidying up").splitlines()
            if len(layers) > MOST_LAYERS:
                self._run("rmi", "--prune", what="tidying up")

    def _run(self, *arguments: str | Path, what: str, timeout: float | None = None) -> str:
        return run(["buildah", *self._options, *arguments], what=what, timeout=timeout)


# The local base ------------------------------------------------------------------------------------------------------------


def make_base(builder: Builder, *, mirror: str | None) -> Base:
    """Return a base that is made here with debootstrap, or was."""
    key = base_key(mirror=mirror, machine=platform.machine())
    name = f"localhost/datamover-base:{key}"
    known = builder.find(name)
    if known:
        return known
    require("debootstrap")
    say(f"making a base of Debian {SUITE} with debootstrap: about a minute, kept afterwards")
    room = builder.cache / f"base.new-{os.getpid()}"
    tree = room / "tree"
    room.mkdir(parents=True)
    try:
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", SUITE, str(tree)]
        run([*command, *([mirror] if mirror else [])], what="debootstrap")
        unmount_below(tree.resolve())
        archive = room / "base.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(tree, arcname=".", filter=keep_in_base)
        return builder.commit(archive, name)
    finally:
        remove(room)


def keep_in_base(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out caches, lists, manuals, other languages, devices, and documentation but the copyrights."""
    path = member.name.removeprefix("./")
    if any(path.startswith(f"{folder}/") for folder in BASE_LEFT_OUT) or member.isdev():
        return None
    if path.startswith("usr/share/doc/") and not member.isdir() and not path.endswith("/copyright"):
        return None
    return member


# What came out -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contents:
    """What a docker-archive file holds. `size` is what its layers weigh uncompressed, in bytes."""

    config: Mapping[str, Any]
    size: int
    files: int
    special: tuple[str, ...]
    sbom: bytes | None


def read_archive(path: Path) -> Contents:
    """Read a docker-archive file. `special` are the files with setuid or setgid rights.

    Raises ImageError when it is none, or when a part is not the one whose digest the image names.
    """
    try:
        with tarfile.open(path) as archive:
            manifest = json.loads(_member(archive, "manifest.json"))[0]
            described = _member(archive, manifest["Config"])
            _demand_digest(io.BytesIO(described), Path(manifest["Config"]).stem)
            config = json.loads(described)
            size = files = 0
            special: list[str] = []
            sbom: bytes | None = None
            for layer, digest in zip(manifest["Layers"], config["rootfs"]["diff_ids"], strict=True):
                stream = archive.extractfile(layer)
                assert stream is not None
                _demand_digest(stream, digest.removeprefix("sha256:"))
                stream.seek(0)
                with tarfile.open(fileobj=stream) as content:
                    for member in content:
                        size += member.size
                        files += not member.isdir()
                        if member.isfile() and member.mode & (stat.S_ISUID | stat.S_ISGID):
                            special.append(member.name)
                        if member.name.removeprefix("./") == SBOM:
                            sbom = _member(content, member.name)
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise ImageError(f"{path} is no archive of an image: {error}") from error
    return Contents(config, size, files, tuple(special), sbom)


def _demand_digest(stream: IO[bytes], wanted: str) -> None:
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    if digest.hexdigest() != wanted:
        raise ValueError(f"a part has the digest {digest.hexdigest()} and not {wanted}")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    return stream.read() if stream else b""


def check(target: str, contents: Contents, *, limit: int) -> list[str]:
    """Return what is wrong with an image, in sentences."""
    wrong: list[str] = []
    if contents.size > limit:
        wrong.append(f"{target} is {contents.size / 1e6:.1f} MB uncompressed; it must stay under {limit / 1e6:.0f} MB")
    user = contents.config.get("config", {}).get("User", "")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        wrong.append(
            f"{target} runs as {user or 'root'!r}; a Pod that must not run as root wants a number other than 0"
        )
    if contents.special:
        wrong.append(f"{target} has files with setuid or setgid rights: {', '.join(contents.special[:5])}")
    if contents.sbom is None:
        wrong.append(f"{target} has no SBOM at /{SBOM}")
    return wrong


def inspect(target: str, archive: Path, *, reference: str, base: str, revision: str, limit: int) -> Report:
    """Look at an archive and write its SBOM beside it. Raises ImageError (code 5) with all that is wrong."""
    contents = read_archive(archive)
    wrong = check(target, contents, limit=limit)
    if wrong or contents.sbom is None:
        raise ImageError("; ".join(wrong), code=5)
    sbom = archive.with_name(f"{target}.sbom.cdx.json")
    sbom.write_bytes(contents.sbom)
    components = len(json.loads(contents.sbom)["components"])
    user = contents.config["config"]["User"]
    return Report(
        target,
        reference,
        archive.name,
        sbom.name,
        contents.size,
        limit,
        contents.files,
        components,
        user,
        base,
        revision,
    )


def show(reports: Sequence[Report]) -> str:
    """Return the reports as a table."""
    rows = [("IMAGE", "REFERENCE", "MB", "LIMIT", "FILES", "SBOM", "USER")]
    rows += [
        (each.image, each.reference, f"{each.size / 1e6:.1f}", f"{each.limit / 1e6:.0f}", str(each.files), str(each.components), each.user)
        for each in reports
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


# The build -----------------------------------------------------------------------------------------------------------------


def require(program: str) -> None:
    """Raise ImageError (code 3) with the cure unless `program` is there."""
    if shutil.which(program) is None:
        raise ImageError(f"{program} is missing. Cure: {CURE}", code=3)


def last_words(error: ImageError) -> str:
    """Return the end of what a program said, short enough for a line."""
    return str(error).splitlines()[-1][-160:]


def choose_base(builder: Builder, *, named: str | None, local: bool, mirror: str | None) -> Base:
    """Return the base: the one named, the public one, or one made here. Raises ImageError."""
    if not local:
        wanted = named or PUBLIC_BASE
        try:
            return builder.pull(wanted)
        except ImageError as error:
            if named:
                raise
            say(f"{wanted} cannot be pulled ({last_words(error)}); going on with a base made here")
    return make_base(builder, mirror=mirror)


def stage_context(root: Path, files: Iterable[Path], target: Path, *, seconds: int) -> None:
    """Copy the inputs and nothing else, with the same times and rights in every checkout."""
    for path in files:
        there = target / path
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, there)
        there.chmod(0o755 if os.access(root / path, os.X_OK) else 0o644)
    for folder, names, entries in os.walk(target):
        for name in (*names, *entries):
            os.utime(Path(folder) / name, (seconds, seconds))


def build(arguments: argparse.Namespace, environment: Mapping[str, str]) -> list[Report]:
    """Build the images, or take those that were built from the same inputs; write archives and SBOMs to the output directory."""
    if os.geteuid() != 0:
        raise ImageError("building in a chroot needs root; run it with sudo", code=3)
    require("buildah")
    cache = cache_directory(environment)
    with locked(cache / "lock", say):
        for leftover in cache.glob("*.new-*"):  # of a build that was killed
            remove(leftover)
        builder = Builder(cache)
        base = choose_base(builder, named=arguments.base, local=arguments.local_base, mirror=arguments.mirror)
        stamp = read_stamp(ROOT, environment, source=arguments.source)
        tag = arguments.tag or stamp.version
        names = {target: f"{arguments.repository}/{target}:{tag}" for target in TARGETS}
        files = input_files(ROOT)
        key = build_key(
            inputs=digest_files(ROOT, files),
            base=f"{base.id} {base.digest}",
            stamp=stamp,
            names=names,
            machine=platform.machine(),
        )
        kept = cache / "builds" / key
        reports = take_kept(kept, base=base, stamp=stamp, names=names)
        if reports is None:
            _build_into(kept, builder, base=base, stamp=stamp, names=names, files=files, environment=environment)
            reports = _inspect_all(kept, base=base, stamp=stamp, names=names)
        _hand_over(kept, arguments.output)
        _forget_old(cache / "builds")
    return reports


def take_kept(kept: Path, *, base: Base, stamp: Stamp, names: Mapping[str, str]) -> list[Report] | None:
    """Return the reports of what an earlier build left, if it did. What is damaged is removed, to be built anew."""
    if not kept.is_dir():
        return None
    try:
        reports = _inspect_all(kept, base=base, stamp=stamp, names=names)
    except (ImageError, OSError) as error:
        say(f"what was built is not as it was, building anew: {error}")
        shutil.rmtree(kept)
        return None
    say("nothing has changed, taking what was built")
    os.utime(kept)
    return reports


def _inspect_all(directory: Path, *, base: Base, stamp: Stamp, names: Mapping[str, str]) -> list[Report]:
    return [
        inspect(
            target,
            directory / f"{target}.tar",
            reference=name,
            base=base.name,
            revision=stamp.revision,
            limit=LIMITS[target],
        )
        for target, name in names.items()
    ]


def _build_into(
    kept: Path, builder: Builder, *, base: Base, stamp: Stamp, names: Mapping[str, str], files: Sequence[Path], environment: Mapping[str, str]
) -> None:  # fmt: skip
    fresh = builder.cache / f"build.new-{os.getpid()}"
    fresh.mkdir(parents=True)
    since = time.monotonic()
    try:
        context = fresh / "context"
        stage_context(ROOT, files, context, seconds=stamp.seconds)
        results = fresh / "results"
        results.mkdir()
        with tempfile.TemporaryDirectory(prefix="datamover-images-") as secret:
            text, certificates = pip_settings(environment, _configurations(environment))
            configuration = Path(secret) / "pip.conf"
            configuration.touch(mode=0o600)
            configuration.write_text(text, encoding="utf-8")
            secrets = {"pip.conf": configuration, **({"ca.crt": certificates} if certificates else {})}
            for target, name in names.items():
                say(f"building {name} on {base.name}")
                builder.build(
                    context,
                    target=target,
                    name=name,
                    arguments={
                        "BASE": base.name,
                        "VERSION": stamp.version,
                        "REVISION": stamp.revision,
                        "CREATED": stamp.created,
                    },
                    labels=base.labels | stamp.labels,
                    secrets=secrets,
                    seconds=stamp.seconds,
                )
                builder.push(name, results / f"{target}.tar")
        _inspect_all(results, base=base, stamp=stamp, names=names)
        kept.parent.mkdir(parents=True, exist_ok=True)
        results.rename(kept)
        say(f"built in {time.monotonic() - since:.0f} s")
    finally:
        builder.tidy()
        remove(fresh)


def _configurations(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    places = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    named = environment.get("PIP_CONFIG_FILE")
    return [*places, Path(named)] if named else places


def _hand_over(kept: Path, output: Path) -> None:
    """Put the results into the output directory, each whole."""
    output.mkdir(parents=True, exist_ok=True)
    for path in sorted(kept.iterdir()):
        fresh = output / f".{path.name}.new-{os.getpid()}"
        try:
            shutil.copyfile(path, fresh)
            fresh.replace(output / path.name)
        finally:
            fresh.unlink(missing_ok=True)


def _forget_old(builds: Path) -> None:
    newest = sorted(builds.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest[KEPT_BUILDS:]:
        shutil.rmtree(path, ignore_errors=True)


def clean(environment: Mapping[str, str]) -> None:
    """Remove all that is kept between builds."""
    cache = cache_directory(environment)
    if not cache.exists():
        return
    with locked(cache / "lock", say):
        remove(cache)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("build", help="build the images")
    base = making.add_mutually_exclusive_group()
    base.add_argument("--base", metavar="IMAGE", help=f"base image [default: {PUBLIC_BASE}, else one made here]")
    base.add_argument("--local-base", action="store_true", help="make the base here with debootstrap")
    making.add_argument("--mirror", metavar="URL", help="where debootstrap fetches Debian [default: its own]")
    making.add_argument(
        "--output", metavar="DIR", type=Path, default=ROOT / "dist" / "images", help="[default: dist/images]"
    )
    making.add_argument(
        "--repository", default="localhost/datamover", help="names begin with this [default: %(default)s]"
    )
    making.add_argument("--tag", help="[default: the version]")
    making.add_argument(
        "--source", default="", metavar="URL", help="where the source is, for a label that is left out without it"
    )
    making.add_argument("-o", "--format", choices=["table", "json"], default="table", help="form of the report")
    commands.add_parser("clean", help="remove all that is kept between builds")
    return parser


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the program; returns the exit code."""
    arguments = make_parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.command == "clean":
            clean(os.environ)
            return 0
        reports = build(arguments, os.environ)
    except ImageError as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        say("stopped; what was built so far is kept as layers")
        return 130
    print(json.dumps([asdict(each) for each in reports], indent=2) if arguments.format == "json" else show(reports))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
