"""Disks of virtual machines in a real cluster: a web server with images, DataVolumes, and Pods that use what was made of them."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamover.api.cdi import names
from support.cluster import PATIENCE, condition, wait_for
from support.place import Place
from support.pods import restricted_pod

DISK = hashlib.shake_256(b"a disk").digest(1 << 20) + bytes(3 << 20)
"""What every image holds; it ends in zeros, as most disks do."""
FILES = {"etc/motd": b"hello\n", "data": hashlib.shake_256(b"data").digest(1 << 16)}
USER = 107
"""As whom virtual machines open their disks, and workers write them."""
LONG = 4 * PATIENCE
"""Seconds for what takes some Pods, one after the other, on a machine that has other work."""

_SERVE = """
import gzip, hashlib, http.server, io, json, os, subprocess, tarfile, time
os.chdir("/images")
disk = hashlib.shake_256(b"a disk").digest(1 << 20) + bytes(3 << 20)
open("disk.img", "wb").write(disk)
open("disk.img.gz", "wb").write(gzip.compress(disk))
subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "disk.img", "disk.qcow2"], check=True)
with tarfile.open("files.tar", "w") as archive:
    for path, content in {"etc/motd": b"hello\\n", "data": hashlib.shake_256(b"data").digest(1 << 16)}.items():
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
sums = {name: hashlib.sha256(open(name, "rb").read()).hexdigest() for name in os.listdir(".")}
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/held.img":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(disk)))
        self.end_headers()
        self.wfile.write(disk[: len(disk) // 2])
        self.wfile.flush()
        while not os.path.exists("/images/go"):
            time.sleep(0.1)
        self.wfile.write(disk[len(disk) // 2 :])
server = http.server.ThreadingHTTPServer(("", 8080), Handler)
print(json.dumps(sums), flush=True)
server.serve_forever()
"""
_READ = """
import hashlib, json, os, sys
found = {}
def read(name, path):
    content = open(path, "rb").read()
    found[name] = hashlib.sha256(content.rstrip(b"\\0")).hexdigest()
for folder, _, files in os.walk("/disks"):
    for name in files:
        path = os.path.join(folder, name)
        if "lost+found" not in path:
            read(os.path.relpath(path, "/disks"), path)
for name in os.listdir("/dev"):
    if name.startswith("disk-"):
        read(name, "/dev/" + name)
print(json.dumps(found))
"""


def digest(content: bytes) -> str:
    """Return what a disk is known by here: zeros at its end are of its size, and not of what was written."""
    return hashlib.sha256(content.rstrip(b"\0")).hexdigest()


WHOLE = digest(DISK)
EMPTY = digest(b"")


@dataclass(frozen=True)
class WebServer:
    """A web server in the namespace. `sums`: the SHA-256 of each file by its name."""

    place: Place
    sums: Mapping[str, str]

    def source(self, name: str, *, checksum: str = "") -> dict[str, Any]:
        """Return the `source` of a DataVolume that is filled with a file."""
        found = {"url": f"http://web.{self.place.namespace}.svc:8080/{name}"}
        return {"http": found | ({"checksum": f"sha256:{checksum}"} if checksum else {})}

    def let_go(self) -> None:
        """Send the second half of what is held."""
        self.place.run("exec", "web", "--", "python3", "-c", "open('/images/go', 'w')")


def serve_images(place: Place) -> WebServer:
    """Start the server and wait until it serves: a disk raw, gzipped and as qcow2, files in a tar, and `held.img`, which ends when it is let go."""
    pod = restricted_pod(
        "web",
        image=place.cluster.images.mover,
        command=["python3", "-c", _SERVE],
        mounts=[{"name": "images", "mountPath": "/images"}],
        volumes=[{"name": "images", "emptyDir": {}}],
    )
    pod["metadata"]["labels"] = {"app": "web"}
    pod["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080}]},
    }
    place.kubectl.apply(service, pod, namespace=place.namespace)
    place.run("wait", "--for=condition=Ready", "pod/web", f"--timeout={PATIENCE:.0f}s")
    return WebServer(place, json.loads(place.run("logs", "web").splitlines()[0]))


def data_volume(
    name: str,
    source: Mapping[str, Any],
    *,
    storage_class: str,
    mode: str = "Filesystem",
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a DataVolume of 64 MiB."""
    storage = {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": mode,
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "64Mi"}},
    }
    return {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": "DataVolume",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "spec": {"source": dict(source), "storage": storage, **spec},
    }


def volumes(place: Place) -> dict[str, dict[str, Any]]:
    """Return the DataVolumes by name."""
    return {each["metadata"]["name"]: each for each in place.kubectl.items("datavolumes", "-n", place.namespace)}


def phases(place: Place) -> dict[str, str]:
    """Return the phases of DataVolumes by name."""
    return {name: each.get("status", {}).get("phase", "") for name, each in volumes(place).items()}


def explain(place: Place) -> str:
    """Return what somebody on call would look at."""
    told = {
        name: (
            each["metadata"].get("annotations", {}).get(names.COLLECTION),
            each.get("status"),
        )
        for name, each in volumes(place).items()
    }
    return f"{json.dumps(told, indent=1)}\n{place.run('get', 'pods,jobs,pvc', '-o', 'wide', check=False)}\n{place.run('get', 'events', check=False)}"


def wait_phase(place: Place, wanted: Collection[str], phase: str = "Succeeded") -> None:
    """Wait until DataVolumes are in a phase."""
    wait_for(
        lambda: all(phases(place).get(name) == phase for name in wanted), seconds=LONG, what=lambda: explain(place)
    )


def wait_gone(place: Place, wanted: Collection[str]) -> None:
    """Wait until DataVolumes are gone."""
    wait_for(lambda: not phases(place).keys() & set(wanted), seconds=LONG, what=lambda: explain(place))


def wait_reason(place: Place, name: str, reason: str) -> str:
    """Wait until a condition of a DataVolume has a reason, and return its message."""

    seen: list[str] = []  # the next attempt takes it away again

    def is_told() -> bool:
        found = volumes(place).get(name, {})
        told = (condition(found, kind) for kind in ("Bound", "Running", "Ready"))
        seen.extend(each["message"] for each in told if each.get("reason") == reason)
        return bool(seen)

    wait_for(is_told, seconds=LONG, what=lambda: explain(place))
    return seen[0]


def ask_collection(place: Place, wanted: Collection[str]) -> None:
    """Ask for the collection of DataVolumes, as their user does."""
    place.run("annotate", "datavolume", *wanted, f"{names.DELETE_AFTER_COMPLETION}=true")


def collect_at_once(place: Place) -> None:
    """Let completed DataVolumes of the namespace go at once."""
    place.kubectl.run("label", "namespace", place.namespace, f"{names.TTL_LABEL}=0")


def identities(place: Place) -> dict[str, tuple[str, str]]:
    """Return UID and volume of each claim by its name."""
    found = place.kubectl.items("pvc", "-n", place.namespace)
    return {
        claim["metadata"]["name"]: (claim["metadata"]["uid"], claim["spec"].get("volumeName", "")) for claim in found
    }


def demand_collected(place: Place, wanted: Collection[str]) -> None:
    """Demand that claims are bound, belong to nobody and say whose they were."""
    for name in wanted:
        claim = place.kubectl.get("pvc", name, "-n", place.namespace)
        meta = claim["metadata"]
        assert not meta.get("ownerReferences"), name
        assert meta["annotations"][names.GARBAGE_COLLECTED] == "true", name
        assert json.loads(meta["annotations"][names.RECORD])["name"] == name
        assert claim["status"]["phase"] == "Bound", name


def demand_no_workers(place: Place) -> None:
    """Demand that nothing is left of what has filled the claims, while they are still there."""

    def left() -> list[str]:
        found = place.run("get", "jobs,secrets,services,volumesnapshots", "-o", "name").split()
        workers = [each for each in found if "importer-" in each or "upload-" in each or "clone" in each]
        return workers + [name for name in place.claims() if name.startswith("prime-")]

    wait_for(lambda: not left(), what=lambda: str(left()))


class DiskUser:
    """A Pod that has disks, as a virtual machine has them: files or devices."""

    def __init__(self, place: Place, name: str, disks: Collection[str], *, devices: Collection[str] = ()) -> None:
        self._place, self._name = place, name
        pod = restricted_pod(
            name,
            image=place.cluster.images.mover,
            command=["python3", "-c", "import time; time.sleep(3600)"],
            mounts=[{"name": disk, "mountPath": f"/disks/{disk}"} for disk in disks],
            volumes=[{"name": disk, "persistentVolumeClaim": {"claimName": disk}} for disk in (*disks, *devices)],
        )
        pod["spec"]["securityContext"] |= {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
        pod["spec"]["containers"][0]["volumeDevices"] = [
            {"name": disk, "devicePath": f"/dev/disk-{disk}"} for disk in devices
        ]
        place.kubectl.apply(pod, namespace=place.namespace)

    def wait(self) -> None:
        """Wait until it runs."""
        self._place.run(
            "wait", "--for=condition=Ready", f"pod/{self._name}", f"--timeout={LONG:.0f}s", seconds=LONG + 30
        )

    def read(self) -> dict[str, str]:
        """Return the digest of every file and device."""
        return json.loads(self._place.run("exec", self._name, "--", "python3", "-c", _READ))

    def identity(self) -> tuple[str, int]:
        """Return UID and restarts."""
        pod = self._place.kubectl.get("pod", self._name, "-n", self._place.namespace)
        return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]

    def remove(self) -> None:
        """Delete it."""
        self._place.run("delete", f"pod/{self._name}", "--wait=true", "--grace-period=0")


def upload(place: Place, name: str, file: Path) -> str:
    """Send a file by the command that users have, through the API server, and return what it says."""
    program = Path(sys.executable).with_name("datamover")
    answer = subprocess.run(
        [program, "upload", name, file, "-n", place.namespace, "--kubeconfig", place.kubectl.kubeconfig],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    assert answer.returncode == 0, f"{answer.returncode}: {answer.stdout}{answer.stderr}\n{explain(place)}"
    return answer.stdout + answer.stderr
