"""The embedded world: an API store, its HTTP face, the controllers of a cluster, and a node.

`from localkube import ApiServer, ...` finds the names below; a module is loaded when the first of its names is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from localkube.controllers.suite import LocalControllers
    from localkube.http_server import serve
    from localkube.node.node import LocalNode, NodeOptions
    from localkube.store.apiserver import ApiServer
    from localkube.transport import LocalTransport

_HOMES: Final = {
    "ApiServer": "localkube.store.apiserver",
    "LocalControllers": "localkube.controllers.suite",
    "LocalNode": "localkube.node.node",
    "LocalTransport": "localkube.transport",
    "NodeOptions": "localkube.node.node",
    "serve": "localkube.http_server",
}

__all__ = ["ApiServer", "LocalControllers", "LocalNode", "LocalTransport", "NodeOptions", "serve"]


def __getattr__(name: str) -> Any:
    """Load the module that has the name."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
