"""Checks of the words that a spec has about a mover's Pod: image, environment, resources, affinity. Pure.

Each finding carries a reason and a sentence that says the fix.
"""

import re
from dataclasses import dataclass

from datamover.api import affinity, reasons
from datamover.api.pods import DNS_SUBDOMAIN, EnvVar, Image, Mover
from datamover.api.transfer import VERIFY_BACKUP, read_verification
from kubekit.words.quantity import parse_quantity

_DNS_SUBDOMAIN = re.compile(DNS_SUBDOMAIN)
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?:{_HOST}/)?{_PATH}(?:/{_PATH})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENV_NAME = re.compile(r"[ -<>-~]+")  # printable ASCII without '=', as the API server allows


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a spec, and what to do."""

    reason: str
    message: str


def image_reference(image: Image | None) -> str:
    """Return the image as a Pod names it: `repository:tag`, or `repository@sha256:…` when the tag is a digest."""
    chosen = image or Image()
    separator = "@" if _DIGEST.fullmatch(chosen.tag) else ":"
    return f"{chosen.repository}{separator}{chosen.tag}"


def quote(text: str, *, limit: int = 60) -> str:
    """Return text fit for a message: quoted, control characters escaped, cut."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return repr(shown)


def is_object_name(value: str) -> bool:
    """Tell whether Kubernetes takes this as the name of an object."""
    return 0 < len(value) <= 253 and _DNS_SUBDOMAIN.fullmatch(value) is not None


def check_image(image: Image | None) -> Finding | None:
    """Return what is wrong with `spec.image`, or None."""
    if image is None:
        return None
    if len(image.repository) > 255 or not _REPOSITORY.fullmatch(image.repository):
        return Finding(
            reasons.INVALID_IMAGE,
            f"spec.image.repository is {quote(image.repository)}, which is not an image name: use one like "
            "registry.example.com/team/mover, without scheme, spaces, capitals in the path, tag or digest",
        )
    if not (_TAG.fullmatch(image.tag) or _DIGEST.fullmatch(image.tag)):
        return Finding(
            reasons.INVALID_IMAGE,
            f"spec.image.tag is {quote(image.tag)}: use a tag like v1.2.3, or a digest like sha256: with 64 hex digits",
        )
    return None


def check_environment(variables: tuple[EnvVar, ...]) -> Finding | None:
    """Return what is wrong with `spec.additionalEnv`, or None."""
    for variable in variables:
        shown = quote(variable.name)
        if not _ENV_NAME.fullmatch(variable.name):
            return Finding(
                reasons.INVALID_ENVIRONMENT,
                f"spec.additionalEnv has a variable {shown}: names are printable ASCII without '='",
            )
        if variable.name.startswith("DATAMOVER_"):
            return Finding(
                reasons.INVALID_ENVIRONMENT,
                f"spec.additionalEnv sets {shown}: variables that begin with DATAMOVER_ belong to the operator; choose another name",
            )
        source = variable.value_from
        if source is None:
            if variable.name == VERIFY_BACKUP and (finding := _check_verification(variable.value or "")):
                return finding
            continue
        if variable.value:
            return Finding(
                reasons.INVALID_ENVIRONMENT,
                f"spec.additionalEnv sets both value and valueFrom of {shown}: remove one of them",
            )
        arms = (
            source.config_map_key_ref,
            source.secret_key_ref,
            source.field_ref,
            source.resource_field_ref,
            source.file_key_ref,
        )
        if sum(arm is not None for arm in arms) != 1:
            return Finding(
                reasons.INVALID_ENVIRONMENT,
                f"spec.additionalEnv sets valueFrom of {shown} to none or several sources: name exactly one of configMapKeyRef, "
                "secretKeyRef, fieldRef and resourceFieldRef",
            )
        if source.file_key_ref is not None:
            return Finding(
                reasons.INVALID_ENVIRONMENT,
                f"spec.additionalEnv reads {shown} from a file: the mover's Pod has no volume for that; use secretKeyRef or configMapKeyRef",
            )
    return None


def check_mover(mover: Mover, *, where: str) -> Finding | None:
    """Return what is wrong with how a mover is to run, or None. `where` is what the fields' names follow, such as `spec.mover.`."""
    return _check_affinity(mover, where) or _check_resources(mover, where)


def _check_affinity(mover: Mover, where: str) -> Finding | None:
    unknown = affinity.find_unknown(mover.affinity or {})
    if unknown is None:
        return None
    path, known = unknown
    return Finding(
        reasons.INVALID_SPEC,
        f"{where}affinity has {quote(path, limit=200)}, which Kubernetes does not know and would leave out without a word: use "
        f"{' or '.join(known)}",
    )


def _check_verification(value: str) -> Finding | None:
    if "$(" in value:  # the kubelet puts another variable in
        return None
    try:
        read_verification(value)
    except ValueError as error:
        return Finding(
            reasons.INVALID_ENVIRONMENT, f"spec.additionalEnv sets {VERIFY_BACKUP} to {quote(value)}: {error}"
        )
    return None


def _check_resources(mover: Mover, where: str) -> Finding | None:
    """The API server refuses a Job with such a quantity without naming the field, and only when the clone has been made."""
    for kind in ("requests", "limits"):
        quantities: dict[str, str | int] = getattr(mover.resources, kind, None) or {}
        for name, value in quantities.items():
            try:
                parse_quantity(value)
            except (ValueError, ArithmeticError):
                return Finding(
                    reasons.INVALID_SPEC,
                    f"{where}resources.{kind}[{name}] is {quote(str(value))}, which is no quantity: write one like 500m or 2Gi",
                )
    return None
