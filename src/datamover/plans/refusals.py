"""What the API server refuses, in words for the status: what was to be done to what, its own words, and what would help. Pure."""

from dataclasses import dataclass
from typing import Any

from datamover.api import reasons
from datamover.plans.known import Refusal
from kubekit.client.errors import ApiError, BadRequest, Forbidden, Invalid, NotFound, ServerError
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource

LONGEST_WAIT = 60.0
"""Seconds between two tries of a step that is refused, at most."""

ANNOTATE = "annotate"
"""The verb of a refusal that is about an object which is not ours: it stands until the step goes through."""

_FIRST_WAIT = 2.0
_PATIENCE = 2  # failures in a row


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often in a row a step was refused, and a reconcile failed."""

    refusals: int = 0
    failures: int = 0

    def settle(self, error: ApiError) -> bool:
        """Tell whether an error is an answer that people have to know of, rather than a moment's trouble."""
        if isinstance(error, ServerError):
            return self.failures >= _PATIENCE or self.refusals > 0
        return isinstance(error, Forbidden | Invalid | BadRequest)


def is_kind_missing(error: ApiError) -> bool:
    """Tell whether a create was answered "not found": its kind is not served, or its namespace is gone. Waiting heals neither."""
    return isinstance(error, NotFound)


def describe(
    resource: Resource[Any], verb: str, name: str | None, namespace: str | None, error: ApiError, attempts: Attempts
) -> Refusal:
    """Return an error in words: what was to be done to what, the server's own words, and which right or kind would help."""
    reason = reasons.CHILD_REFUSED
    which = f"{resource.kind} {name}" if name else f"every {resource.kind}"
    message = f"the API server refuses to {verb} {which}: {error.message}"
    if isinstance(error, Forbidden):
        needed = right(verb, resource, namespace)
        if lacks_right(error):
            reason = reasons.PERMISSION_MISSING
            message += f". The operator lacks a right: {grant(needed)}"
        else:
            message += f" ({needed})"
        if resource is PERSISTENT_VOLUME_CLAIMS and verb == "create":
            reason = reasons.CLONE_FORBIDDEN
    if verb == "create" and is_kind_missing(error):
        message += (
            f". Either the namespace {namespace} is gone or this API server does not serve {resource.group_resource}: look at "
            f"kubectl api-resources, and install what is missing"
        )
    return Refusal(
        reason,
        message,
        retry_after=min(_FIRST_WAIT * 2 ** min(attempts.refusals, 10), LONGEST_WAIT),
        target=(resource.kind, name) if name else None,
        verb=verb,
    )


def right(verb: str, resource: Resource[Any], namespace: str | None, *, subresource: str | None = None) -> str:
    """Return a right as a role names it."""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    group = f" of {resource.group}" if resource.group else ""
    where = f"in namespace {namespace}" if resource.namespaced else "in the whole cluster"
    return f"{verb} on {plural}{group} {where}"


def grant(needed: str) -> str:
    """Return what is to be done about a right that is missing."""
    return f"grant its service account {needed} (docs/permissions.md)"


def lacks_right(error: Forbidden) -> bool:
    """Tell whether authorization refuses; admission (quotas, policies, webhooks) answers 403 as well, in other words."""
    return " cannot " in error.message and " resource " in error.message
