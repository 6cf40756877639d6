"""Kubernetes for operators written in Python: words, a client, a runtime. It knows no kind of anybody in particular.

`from kubekit import Client, Informer, ...` finds the names below. A module is loaded when the first of its names is asked for, so that a program which
needs only the words starts no HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kubekit.client.client import Client
    from kubekit.client.config import ClusterConfig, load_config
    from kubekit.client.connection import connect
    from kubekit.client.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, KubeError, NotFound
    from kubekit.runtime.clock import Clock, SystemClock
    from kubekit.runtime.controller import DONE, After, Controller, Done, Result, Terminal
    from kubekit.runtime.events import EventRecorder
    from kubekit.runtime.informer import Informer
    from kubekit.runtime.leader import LeaderElector
    from kubekit.runtime.manager import Manager
    from kubekit.runtime.serving import StatusServer
    from kubekit.runtime.signals import stop_on_signals
    from kubekit.runtime.store import Key, Store, key_of
    from kubekit.words.meta import Condition, Manifest, Model, ObjectMeta, PartialObject, Resource, owner_reference

_MODULES: Final = {
    "kubekit.client.client": ("Client",),
    "kubekit.client.config": ("ClusterConfig", "load_config"),
    "kubekit.client.connection": ("connect",),
    "kubekit.client.errors": (
        "AlreadyExists",
        "ApiError",
        "Conflict",
        "Forbidden",
        "Invalid",
        "KubeError",
        "NotFound",
    ),
    "kubekit.runtime.clock": ("Clock", "SystemClock"),
    "kubekit.runtime.controller": ("DONE", "After", "Controller", "Done", "Result", "Terminal"),
    "kubekit.runtime.events": ("EventRecorder",),
    "kubekit.runtime.informer": ("Informer",),
    "kubekit.runtime.leader": ("LeaderElector",),
    "kubekit.runtime.manager": ("Manager",),
    "kubekit.runtime.serving": ("StatusServer",),
    "kubekit.runtime.signals": ("stop_on_signals",),
    "kubekit.runtime.store": ("Key", "Store", "key_of"),
    "kubekit.words.meta": (
        "Condition",
        "Manifest",
        "Model",
        "ObjectMeta",
        "PartialObject",
        "Resource",
        "owner_reference",
    ),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DONE",
    "After",
    "AlreadyExists",
    "ApiError",
    "Client",
    "Clock",
    "ClusterConfig",
    "Condition",
    "Conflict",
    "Controller",
    "Done",
    "EventRecorder",
    "Forbidden",
    "Informer",
    "Invalid",
    "Key",
    "KubeError",
    "LeaderElector",
    "Manager",
    "Manifest",
    "Model",
    "NotFound",
    "ObjectMeta",
    "PartialObject",
    "Resource",
    "Result",
    "StatusServer",
    "Store",
    "SystemClock",
    "Terminal",
    "connect",
    "key_of",
    "load_config",
    "owner_reference",
    "stop_on_signals",
]


def __getattr__(name: str) -> Any:
    """Load the module that has the name."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
