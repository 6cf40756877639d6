"""The requests of the Kubernetes API as data. Pure; the client sends them."""

from collections.abc import Iterable, Mapping
from typing import Any

from kubekit.client.codec import encode
from kubekit.client.transport import Request
from kubekit.words.meta import Manifest, PartialObject, Resource

JSON = "application/json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML, and every server since 1.16 knows this name
PATCHES = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}
PARTIAL = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
PARTIAL_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"

Query = list[tuple[str, str]]


def build(
    method: str,
    path: str,
    *,
    query: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str = JSON,
    accept: str = JSON,
) -> Request:
    """Return any request."""
    headers = {"Accept": accept}
    if body:
        headers["Content-Type"] = content_type
    return Request(method, path, tuple(query), headers, body)


def read(resource: Resource[Any], name: str, namespace: str | None) -> Request:
    """Get one object; only its metadata when that is all that the resource's struct holds."""
    return build("GET", resource.path(namespace=namespace, name=name), accept=_accept(resource))


def page(
    resource: Resource[Any],
    *,
    namespace: str | None,
    label_selector: str | None,
    field_selector: str | None,
    limit: int,
    token: str,
    resource_version: str | None,
) -> Request:
    """Get a page of a list: the first one at `resource_version`, the others by `token`."""
    query = _selectors(label_selector, field_selector)
    if limit:
        query.append(("limit", str(limit)))
    if token:
        query.append(("continue", token))
    elif resource_version is not None:  # the server refuses a version beside a continue token
        query.append(("resourceVersion", resource_version))
    accept = PARTIAL_LIST if resource.type is PartialObject else JSON
    return build("GET", resource.path(namespace=namespace), query=query, accept=accept)


def watch(
    resource: Resource[Any],
    *,
    namespace: str | None,
    label_selector: str | None,
    field_selector: str | None,
    resource_version: str,
    timeout_seconds: int,
) -> Request:
    """Watch with bookmarks after `resource_version`."""
    query = [
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", resource_version),
        ("timeoutSeconds", str(timeout_seconds)),
        *_selectors(label_selector, field_selector),
    ]
    return build("GET", resource.path(namespace=namespace), query=query, accept=_accept(resource))


def create(resource: Resource[Any], manifest: Manifest, namespace: str | None, field_manager: str) -> Request:
    """Post an object."""
    path = resource.path(namespace=namespace or _meta(manifest).get("namespace"))
    return _write("POST", path, resource, _typed(resource, manifest), field_manager)


def apply(
    resource: Resource[Any], manifest: Manifest, *, field_manager: str, force: bool, subresource: str | None
) -> Request:
    """Apply an object on the server's side."""
    path = _object_path(resource, manifest, subresource)
    query = [("force", "true" if force else "false")]
    return _write("PATCH", path, resource, _typed(resource, manifest), field_manager, content_type=APPLY, query=query)


def patch(
    resource: Resource[Any],
    name: str,
    body: Any,
    *,
    namespace: str | None,
    kind: str,
    subresource: str | None,
    manager: str,
) -> Request:
    """Patch an object; `kind` is merge or json."""
    path = resource.path(namespace=namespace, name=name, subresource=subresource)
    return _write("PATCH", path, resource, body, manager, content_type=PATCHES[kind])


def replace(resource: Resource[Any], manifest: Manifest, *, field_manager: str, subresource: str | None) -> Request:
    """Put an object."""
    path = _object_path(resource, manifest, subresource)
    return _write("PUT", path, resource, _typed(resource, manifest), field_manager)


def delete(
    resource: Resource[Any],
    name: str,
    *,
    namespace: str | None,
    uid: str | None,
    resource_version: str | None,
    propagation: str,
    grace_period_seconds: int | None,
) -> Request:
    """Delete an object under preconditions."""
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
    wanted = {"uid": uid, "resourceVersion": resource_version}
    preconditions = {key: value for key, value in wanted.items() if value}
    if preconditions:
        options["preconditions"] = preconditions
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    return build("DELETE", resource.path(namespace=namespace, name=name), body=encode(options))


def logs(name: str, namespace: str, options: Mapping[str, Any]) -> Request:
    """Get a Pod's log; options that are None are left out."""
    query = [(key, str(value)) for key, value in options.items() if value is not None]
    return build("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log", query=query, accept="*/*")


def target(resource: Resource[Any], subresource: str | None = None) -> str:
    """Return `plural.group[/subresource]`, as requests are counted."""
    return f"{resource.group_resource}/{subresource}" if subresource else resource.group_resource


def _write(
    method: str,
    path: str,
    resource: Resource[Any],
    body: Any,
    manager: str,
    *,
    content_type: str = JSON,
    query: Iterable[tuple[str, str]] = (),
) -> Request:
    return build(
        method,
        path,
        query=[("fieldManager", manager), *query],
        body=encode(body),
        content_type=content_type,
        accept=_accept(resource),
    )


def _accept(resource: Resource[Any]) -> str:
    return PARTIAL if resource.type is PartialObject else JSON


def _selectors(labels: str | None, fields: str | None) -> Query:
    wanted = (("labelSelector", labels), ("fieldSelector", fields))
    return [(key, value) for key, value in wanted if value]


def _meta(manifest: Manifest) -> Mapping[str, Any]:
    return manifest.get("metadata") or {}


def _typed(resource: Resource[Any], manifest: Manifest) -> Manifest:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}


def _object_path(resource: Resource[Any], manifest: Manifest, subresource: str | None) -> str:
    meta = _meta(manifest)
    return resource.path(namespace=meta.get("namespace"), name=meta["name"], subresource=subresource)
