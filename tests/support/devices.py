"""Block volumes of scenarios: written, changed and told by a Pod that has them as a device."""

import json
from typing import Any

from support.cluster import PATIENCE, wait_for
from support.place import Place
from support.pods import restricted_pod
from support.trees import root_pod

DEVICE = "/dev/disk"
DISK: dict[str, Any] = {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"]}
"""What a claim says, and a destination that makes one."""

_TELL = """
import hashlib, json, os, random
disk = open(DEVICE, "r+b")
size = disk.seek(0, os.SEEK_END)
def write(at, content):
    disk.seek(at)
    disk.write(content)
def tell():
    disk.flush()
    os.fsync(disk.fileno())
    disk.seek(0)
    return {"size": size, "content": hashlib.file_digest(disk, "sha256").hexdigest()}
"""
_FIRST = """
noise = random.Random(1)
for at in (0, 1000, 5 << 20, (9 << 20) + 512, size - 70000):
    write(at, noise.randbytes(70000))
write(20 << 20, noise.randbytes(8 << 20))
"""
_SECOND = """
write((5 << 20) + 77, b"changed")
write(22 << 20, bytes(3 << 20))
write(size - 1, b"!")
"""


def write_device(place: Place, claim: str, *, change: bool = False) -> dict[str, Any]:
    """Write noise here and there on an empty device, or change some of it, and return its size and the hash of all of it."""
    return _run(place, claim, _SECOND if change else _FIRST)


def read_device(place: Place, claim: str) -> dict[str, Any]:
    """Return the size of a device, and the hash of all that is on it."""
    return _run(place, claim, "")


def _run(place: Place, claim: str, program: str) -> dict[str, Any]:
    name = f"disk-{claim[-40:]}"
    text = f'DEVICE = "{DEVICE}"\n{_TELL}\n{program}\nprint(json.dumps(tell()))\n'
    pod = root_pod(restricted_pod(name, image=place.cluster.images.mover, command=["python3", "-c", text]))
    pod["spec"]["volumes"] = [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}]
    pod["spec"]["containers"][0]["volumeDevices"] = [{"name": "disk", "devicePath": DEVICE}]
    place.kubectl.apply(pod, namespace=place.namespace)

    def phase() -> str:
        return place.kubectl.get("pod", name, "-n", place.namespace).get("status", {}).get("phase", "")

    wait_for(lambda: phase() in {"Succeeded", "Failed"}, seconds=PATIENCE, what=place.explain)
    log = place.run("logs", f"pod/{name}")
    assert phase() == "Succeeded", log
    place.run("delete", f"pod/{name}", "--wait=true")
    return json.loads(log)
