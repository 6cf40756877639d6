"""What the server answers beside resources: health, version, discovery, OpenAPI."""

from kubekit.client.transport import Request, Response
from localkube.store import discovery, openapi_protobuf
from localkube.store.answers import respond
from localkube.store.kinds import Registry
from localkube.store.openapi import OpenApi
from localkube.store.statuses import no_route, not_acceptable
from localkube.store.trees import Tree, encode

_TEXT = {"content-type": "text/plain; charset=utf-8"}
_ROOTS = ("/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi/v2", "/openapi/v3", "/version")


class Endpoints:
    """Answers requests that are not for a resource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._openapi = OpenApi(registry)

    def answer(self, request: Request) -> Response:
        """Return the answer. Raises StatusError 404 for an unknown path."""
        if request.method not in {"GET", "HEAD"}:
            raise no_route()
        accept = next((value for name, value in request.headers.items() if name.lower() == "accept"), "")
        parts = request.path.strip("/").split("/")
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                return Response(200, _TEXT, b"ok")
            case ["version"]:
                return _json(discovery.VERSION)
            case ["api"] | ["apis"] if discovery.wants_aggregated(accept):
                body = encode(discovery.aggregated(self._registry, core=parts[0] == "api"))
                return Response(200, {"content-type": discovery.AGGREGATED}, body)
            case ["api"]:
                return _json(discovery.versions())
            case ["apis"]:
                return _json(discovery.group_list(self._registry))
            case ["apis", group]:
                return _json(discovery.group(self._registry, group))
            case ["api", version]:
                return _json(discovery.resource_list(self._registry, "", version))
            case ["apis", group, version]:
                return _json(discovery.resource_list(self._registry, group, version))
            case ["openapi", "v2"]:
                if openapi_protobuf.wanted(accept):
                    body = self._openapi.swagger(protobuf=True)
                    return Response(200, {"content-type": openapi_protobuf.MEDIA_TYPE}, body)
                if accept and "json" not in accept and "*/*" not in accept:
                    raise not_acceptable(["application/json", openapi_protobuf.MEDIA_TYPE])
                return respond(200, self._openapi.swagger())
            case ["openapi", "v3"]:
                return _json(self._openapi.index())
            case ["openapi", "v3", "api", version]:
                return respond(200, self._openapi.document("", version))
            case ["openapi", "v3", "apis", group, version]:
                return respond(200, self._openapi.document(group, version))
            case [""]:
                return _json({"paths": [*_ROOTS]})
            case _:
                raise no_route()


def _json(tree: Tree) -> Response:
    return respond(200, encode(tree))
