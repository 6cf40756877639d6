"""Narrow view of apps/v1: how many replicas there are to be."""

from kubekit.words.meta import Model, ObjectMeta, Resource


class DeploymentSpec(Model, frozen=True):
    """How many replicas are wanted; one when unset."""

    replicas: int | None = None


class DeploymentStatus(Model, frozen=True):
    """How many there are."""

    replicas: int | None = None


class Deployment(Model, frozen=True):
    """A Deployment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec | None = None
    status: DeploymentStatus | None = None


DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", Deployment)
