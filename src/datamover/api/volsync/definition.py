"""What the definitions (CRDs) of ReplicationSource and ReplicationDestination say beyond their types: columns and names. Pure.

They have no rules and no defaults, and nothing is required: an object that users have is accepted as it is, and the status says what is
wrong with it.
"""

from typing import Any

from datamover.api.crd import crd, generated_once
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.meta import Manifest

_TIMES: tuple[dict[str, Any], ...] = (
    {"name": "Last sync", "type": "string", "format": "date-time", "jsonPath": ".status.lastSyncTime"},
    {"name": "Duration", "type": "string", "jsonPath": ".status.lastSyncDuration"},
    {"name": "Next sync", "type": "string", "format": "date-time", "jsonPath": ".status.nextSyncTime"},
)
# What follows is ours, and stands behind: scripts read the others by position.
_MORE: tuple[dict[str, Any], ...] = (
    {
        "name": "Result",
        "type": "string",
        "priority": 1,
        "jsonPath": ".status.latestMoverStatus.result",
        "description": "How the last mover ended.",
    },
    {
        "name": "State",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Synchronizing")].reason',
        "description": "Whether one is under way.",
    },
    {
        "name": "Reason",
        "type": "string",
        "priority": 1,
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "What is going on, or stands in its way.",
    },
)


@generated_once
def replication_source_crd() -> Manifest:
    """Return the CustomResourceDefinition of ReplicationSource."""
    source = {"name": "Source", "type": "string", "jsonPath": ".spec.sourcePVC"}
    return crd(REPLICATION_SOURCES, rules={}, columns=(source, *_TIMES, *_MORE), required=())


@generated_once
def replication_destination_crd() -> Manifest:
    """Return the CustomResourceDefinition of ReplicationDestination."""
    return crd(REPLICATION_DESTINATIONS, rules={}, columns=(*_TIMES, *_MORE), required=())
