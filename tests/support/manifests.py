"""Small valid manifests, to be made wrong by the cases."""

from typing import Any

Manifest = dict[str, Any]


def meta(name: str, **fields: Any) -> Manifest:
    return {"name": name, **fields}


def config_map(name: str = "a", data: dict[str, str] | None = None, **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, **metadata), "data": data or {"k": "v"}}


def secret(name: str = "s", **fields: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta(name), **fields}


def claim(name: str = "data", **spec: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta(name),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def pod_spec(**fields: Any) -> Manifest:
    return {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/none"}], **fields}


def pod(name: str = "p", **spec: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": pod_spec(**spec)}


def job(name: str = "j", *, template: Manifest | None = None, **spec: Any) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta(name),
        "spec": {"template": {"spec": template or pod_spec()}, **spec},
    }


def owned_by(owner: Manifest, **fields: Any) -> Manifest:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **fields,
    }
