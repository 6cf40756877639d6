"""Narrow view of apiextensions.k8s.io/v1: whether the API server serves a definition."""

from kubekit.words.meta import Condition, Model, ObjectMeta, Resource


class CustomResourceDefinitionStatus(Model, frozen=True):
    """How far a definition is: `Established` is True once its kind is served."""

    conditions: tuple[Condition, ...] | None = None


class CustomResourceDefinition(Model, frozen=True):
    """A definition, without its schema."""

    metadata: ObjectMeta = ObjectMeta()
    status: CustomResourceDefinitionStatus | None = None


CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    CustomResourceDefinition,
    namespaced=False,
)
