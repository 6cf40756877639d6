"""Trees of files with everything that a file can be: written, changed and told by a Pod, so that two volumes can be held against each other."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from support.cluster import PATIENCE, wait_for
from support.place import Place
from support.pods import restricted_pod

USER = 65532
"""Who the Pods and movers of restricted namespaces are; also the group that their volumes are made accessible to."""

IDENTITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A moverSecurityContext for them. With the default policy the node would change the modes of the volume's files at each mount."""

Tree = dict[str, dict[str, Any]]
"""What is told of each path: kind, mode, owner, content, links, ACLs, attributes."""

_TELL = """
import hashlib, json, os, stat
def attribute(path, name):
    try:
        return os.getxattr(path, name, follow_symlinks=False).hex()
    except OSError:
        return None
def told(path, names):
    found = os.lstat(path)
    said = {"mode": oct(stat.S_IMODE(found.st_mode)), "owner": f"{found.st_uid}:{found.st_gid}"}
    if stat.S_ISLNK(found.st_mode):
        return said | {"kind": "link", "mode": None, "target": os.readlink(path)}
    said["acl"] = attribute(path, "system.posix_acl_access")
    said["mark"] = attribute(path, "user.mark")
    if stat.S_ISDIR(found.st_mode):
        return said | {"kind": "folder", "default": attribute(path, "system.posix_acl_default")}
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    together = sorted(names[found.st_dev, found.st_ino])
    return said | {
        "kind": "file", "content": digest, "size": found.st_size, "time": found.st_mtime_ns,
        "together": together if len(together) > 1 else None, "sparse": found.st_blocks * 512 < found.st_size // 2,
    }
def tell(root):
    names, paths = {}, []
    for folder, folders, files in os.walk(root):
        if folder == root and "lost+found" in folders:
            folders.remove("lost+found")
        for name in folders + files:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            names.setdefault((found.st_dev, found.st_ino), []).append(os.path.relpath(path, root))
            paths.append(path)
    said = {os.path.relpath(path, root): told(path, names) for path in sorted(paths)}
    # what is only many is told by its number and one hash
    many = {path: said.pop(path) for path in list(said) if path.startswith("mass/")}
    if many:
        kept = {path: {key: value for key, value in each.items() if key != "mark"} for path, each in many.items()}
        content = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
        said["mass"] = {"kind": "mass", "count": len(many), "content": content}
    return said
"""

_WRITE = """
import os, struct
def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
NONE = 0xFFFFFFFF
def write(path, content, mode=0o644, owner=None):
    path = os.path.join("/data", path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    if owner and OWNERS and os.getuid() == 0:
        os.chown(path, *owner)
    os.chmod(path, mode)
def first():
    write("plain", b"plain\\n")
    write("empty", b"")
    write("private", b"private", 0o600, (1000, 2000))
    write("program", b"#!/bin/sh\\n", 0o755, (1000, 1000))
    write("set-user", b"x", 0o4755, (1000, 1000))
    write("read-only", b"r", 0o444)
    write("a name with spaces & more's.txt", b"spaces")
    write("\\u00fcml\\u00e4ut/\\u65e5\\u672c\\u8a9e.txt", "\\u65e5\\u672c".encode())
    write("deep/er/and/deeper/file", b"deep", 0o640, (1000, 2000))
    write("large", bytes(range(256)) * 4096 * 4)
    for number in range(100):
        write(f"many/{number:03}", f"file {number}".encode() * number, 0o600 + number % 8)
    with open("/data/holes", "wb") as file:
        file.seek(16 << 20)
        file.write(b"end")
    os.mkdir("/data/nothing-in-it")
    os.chmod("/data/nothing-in-it", 0o1777)
    os.chmod("/data/deep", 0o2750)
    os.link("/data/plain", "/data/deep/the-same")
    os.symlink("plain", "/data/link")
    os.symlink("/etc/passwd", "/data/link-outside")
    os.symlink("nowhere", "/data/link-to-nothing")
    os.symlink("../deep", "/data/many/link-to-folder")
    os.setxattr("/data/plain", "user.mark", b"marked")
    entries = [(0x01, 6, NONE), (0x02, 4, 1234), (0x04, 4, NONE), (0x08, 1, 4321), (0x10, 5, NONE), (0x20, 0, NONE)]
    os.setxattr("/data/read-only", "system.posix_acl_access", acl(*entries))
    for number in range(MANY):
        write(f"mass/{number % 211:03}/{number:05}", b"%d" % number)
        if number % 21 == 0:
            os.symlink(f"{number:05}", f"/data/mass/{number % 211:03}/link-{number:05}")
    write("shared/file", b"shared")
    entries = [(0x01, 7, NONE), (0x02, 7, 1234), (0x04, 5, NONE), (0x10, 7, NONE), (0x20, 0, NONE)]
    os.setxattr("/data/shared", "system.posix_acl_default", acl(*entries))
def second():
    write("plain2", b"new", 0o640)
    with open("/data/large", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    write("private", b"PRIVATE", 0o600, (1000, 2000))
    os.chmod("/data/program", 0o700)
    os.remove("/data/many/007")
    os.remove("/data/empty")
    os.remove("/data/link-to-nothing")
    os.remove("/data/deep/er/and/deeper/file")
    os.rmdir("/data/deep/er/and/deeper")
"""


def write_tree(
    place: Place, claim: str, *, change: bool = False, root: bool = False, owners: bool = True, many: int = 0
) -> Tree:
    """Write the tree into a volume, or change and delete some of it, and return it as it is then.

    `owners`: root gives some of it away. `many`: so many small files beside it, with a link for each 21st.
    """
    begin = f"OWNERS, MANY = {owners}, {many}"
    return _run(place, claim, f"{begin}\n{_WRITE}\n{'second' if change else 'first'}()", root=root)


def read_tree(place: Place, claim: str, *, root: bool = False) -> Tree:
    """Return what is in a volume."""
    return _run(place, claim, "", root=root)


def differences(
    expected: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]], *, but: Collection[str] = ()
) -> list[str]:
    """Return in what two trees differ, `but` for these properties (`owner`, `sparse`) or kinds (`link`)."""

    def kept(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            path: {key: value for key, value in said.items() if key not in but}
            for path, said in tree.items()
            if said["kind"] not in but
        }

    left, right = kept(expected), kept(found)
    missing = [f"{path} is missing" for path in left.keys() - right.keys()]
    extra = [f"{path} is too many" for path in right.keys() - left.keys()]
    changed = [
        f"{path}: {key} is {right[path].get(key)}, not {value}"
        for path in left.keys() & right.keys()
        for key, value in left[path].items()
        if right[path].get(key) != value
    ]
    return sorted(missing + extra + changed)


def demand_same(
    expected: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]], *, but: Collection[str] = ()
) -> None:
    """Demand that two trees are the same, `but` for some properties or kinds."""
    told = differences(expected, found, but=but)
    assert not told, "\n".join([f"{len(told)} differences:", *told[:20]])


def root_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """Make root of a Pod of tests, for namespaces that admit it."""
    pod["spec"]["securityContext"] = {}
    pod["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
    return pod


def _run(place: Place, claim: str, program: str, *, root: bool) -> Tree:
    name = f"tree-{claim[-40:]}"
    text = f'{_TELL}\n{program}\nprint("TREE " + json.dumps(tell("/data")))\nos.sync()\n'
    pod = restricted_pod(name, image=place.cluster.images.mover, command=["python3", "-c", text], claim=claim)
    pod["spec"]["securityContext"] |= {"fsGroupChangePolicy": "OnRootMismatch"}
    place.kubectl.apply(root_pod(pod) if root else pod, namespace=place.namespace)

    def phase() -> str:
        return place.kubectl.get("pod", name, "-n", place.namespace).get("status", {}).get("phase", "")

    wait_for(lambda: phase() in {"Succeeded", "Failed"}, seconds=PATIENCE, what=place.explain)
    log = place.run("logs", f"pod/{name}")
    assert phase() == "Succeeded", log
    place.run("delete", f"pod/{name}", "--wait=true")
    return json.loads(next(line for line in log.splitlines() if line.startswith("TREE ")).removeprefix("TREE "))
