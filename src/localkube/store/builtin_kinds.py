"""The built-in kinds, in one table.

Only kinds that something in the embedded world acts on, or that a manifest must be able to name. A Deployment, for instance, is refused: nobody would run it.
"""

from typing import Any

from localkube.store.crds import CrdStrategy
from localkube.store.kinds import Kind
from localkube.store.reviews import REVIEW_VERBS
from localkube.store.schemas.builtin import definition
from localkube.store.strategies.base import Strategy
from localkube.store.strategies.configuration import (
    ConfigMapStrategy,
    CsiDriverStrategy,
    LeaseStrategy,
    PlainStrategy,
    PriorityClassStrategy,
    RbacStrategy,
    SecretStrategy,
    StorageClassStrategy,
)
from localkube.store.strategies.events import EventStrategy, to_core, to_new
from localkube.store.strategies.jobs import JobStrategy
from localkube.store.strategies.namespaces import NamespaceStrategy
from localkube.store.strategies.pods import PodStrategy
from localkube.store.strategies.volumes import ClaimStrategy, VolumeStrategy

_CRD = "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
_RBAC = "rbac.authorization.k8s.io"


def builtin_kinds() -> tuple[Kind, ...]:
    """Return every kind that is served without a CRD. New strategies each time, so that servers share nothing."""
    return (
        _kind("", "configmaps", "ConfigMap", ConfigMapStrategy(), short_names=("cm",)),
        _kind("", "events", "Event", EventStrategy(subject="involvedObject", strict=False), short_names=("ev",)),
        _kind("", "namespaces", "Namespace", NamespaceStrategy(), short_names=("ns",), namespaced=False, status=True),
        _kind("", "nodes", "Node", PlainStrategy(), short_names=("no",), namespaced=False, status=True),
        _kind(
            "", "persistentvolumeclaims", "PersistentVolumeClaim", ClaimStrategy(), short_names=("pvc",), status=True
        ),
        _kind(
            "",
            "persistentvolumes",
            "PersistentVolume",
            VolumeStrategy(),
            short_names=("pv",),
            namespaced=False,
            status=True,
        ),
        _kind("", "pods", "Pod", PodStrategy(), short_names=("po",), categories=("all",), status=True),
        _kind("", "secrets", "Secret", SecretStrategy()),
        _kind("", "serviceaccounts", "ServiceAccount", PlainStrategy(), short_names=("sa",)),
        _kind(
            "authentication.k8s.io",
            "selfsubjectreviews",
            "SelfSubjectReview",
            Strategy(),
            node="api.authentication.v1.SelfSubjectReview",
            namespaced=False,
            verbs=REVIEW_VERBS,
        ),
        *(
            _kind(
                "authorization.k8s.io",
                f"{name.lower()}s",
                name,
                Strategy(),
                node=f"api.authorization.v1.{name}",
                namespaced=False,
                verbs=REVIEW_VERBS,
            )
            for name in ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview")
        ),
        _kind("batch", "jobs", "Job", JobStrategy(), categories=("all",), status=True),
        _kind("coordination.k8s.io", "leases", "Lease", LeaseStrategy(), node="api.coordination.v1.Lease"),
        _kind(
            "events.k8s.io",
            "events",
            "Event",
            EventStrategy(subject="regarding", strict=True),
            node="api.events.v1.Event",
            short_names=("ev",),
            stored_in="events",
            stored="v1",
            to_served=to_new,
            to_stored=to_core,
        ),
        *(
            _kind(_RBAC, plural, name, RbacStrategy(), node=f"api.rbac.v1.{name}", namespaced=namespaced)
            for plural, name, namespaced in (
                ("clusterrolebindings", "ClusterRoleBinding", False),
                ("clusterroles", "ClusterRole", False),
                ("rolebindings", "RoleBinding", True),
                ("roles", "Role", True),
            )
        ),
        _kind(
            "scheduling.k8s.io",
            "priorityclasses",
            "PriorityClass",
            PriorityClassStrategy(),
            node="api.scheduling.v1.PriorityClass",
            short_names=("pc",),
            namespaced=False,
        ),
        _storage("csidrivers", "CSIDriver", CsiDriverStrategy()),
        _storage("storageclasses", "StorageClass", StorageClassStrategy(), short_names=("sc",)),
        _storage("volumeattachments", "VolumeAttachment", PlainStrategy(), status=True),
        _kind(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            CrdStrategy(),
            node=_CRD,
            short_names=("crd", "crds"),
            categories=("api-extensions",),
            namespaced=False,
            status=True,
        ),
    )


def _kind(group: str, plural: str, kind: str, strategy: Strategy, *, node: str = "", **options: Any) -> Kind:
    where = node or f"api.{group or 'core'}.v1.{kind}"
    return Kind(group, "v1", plural, kind, definition(where), strategy, singular=kind.lower(), **options)


def _storage(plural: str, kind: str, strategy: Strategy, **options: Any) -> Kind:
    return _kind("storage.k8s.io", plural, kind, strategy, node=f"api.storage.v1.{kind}", namespaced=False, **options)
