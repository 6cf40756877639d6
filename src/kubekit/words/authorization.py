"""Asking the API server what somebody may do: SubjectAccessReview of authorization.k8s.io/v1."""

from typing import Any, Final

from kubekit.words.meta import Manifest, Model, Resource


class User(Model, frozen=True):
    """Who sends a request, as the API server has found out."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class AccessStatus(Model, frozen=True):
    """The answer."""

    allowed: bool | None = None


class AccessReview(Model, frozen=True):
    """A question that was answered."""

    status: AccessStatus | None = None


ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", AccessReview, namespaced=False
)


def ask_access(user: User, **attributes: dict[str, Any]) -> Manifest:
    """Return the question whether a user may do what `resourceAttributes` or `nonResourceAttributes` say."""
    return {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {
            "user": user.username,
            "uid": user.uid,
            "groups": list(user.groups or ()),
            "extra": {key: list(values) for key, values in (user.extra or {}).items()},
            **attributes,
        },
    }
