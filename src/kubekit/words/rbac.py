"""Narrow view of rbac.authorization.k8s.io/v1: that they are there, and whose they are."""

from kubekit.words.meta import PartialObject, Resource

_GROUP = "rbac.authorization.k8s.io"
ROLES = Resource(_GROUP, "v1", "roles", "Role", PartialObject)
ROLE_BINDINGS = Resource(_GROUP, "v1", "rolebindings", "RoleBinding", PartialObject)
