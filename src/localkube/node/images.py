"""Which program stands for an image. The node pulls nothing: it runs only the images that it was given a local command for. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from localkube.node.pod_kinds import Container

Images = Mapping[str, tuple[str, ...]]
"""Image repository, without tag and digest -> local command. An empty command stands for the host's own programs: a container of
such an image must bring its `command`."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?P<repository>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_DOCKER_HUB = ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an image or a command cannot be run here: a container's waiting reason, and a sentence."""

    reason: str
    message: str


def repository(image: str) -> str | None:
    """Return the repository of an image reference, or None when it is not a valid one."""
    match = _IMAGE.fullmatch(image)
    return match["repository"] if match else None


def command_for(container: Container, images: Images) -> tuple[str, ...] | Refusal:
    """Return the program and fixed arguments for a container's image, or why there is none. `command` and `args` are added by the caller."""
    image = container.image or ""
    name = repository(image)
    if name is None:
        return Refusal(
            "InvalidImageName",
            f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format',
        )
    entrypoint = next((images[candidate] for candidate in _spellings(name) if candidate in images), None)
    if entrypoint is None:
        if container.image_pull_policy == "Never":
            return Refusal(
                "ErrImageNeverPull",
                f'Container image "{image}" is not present with pull policy of Never; {_offer(images)}',
            )
        return Refusal("ErrImagePull", f'cannot pull image "{image}": {_offer(images)}')
    if entrypoint and container.command:
        return Refusal(
            "CreateContainerError",
            f'this node runs image "{name}" by its own entrypoint only; remove the container\'s command (args are supported)',
        )
    if not entrypoint and not container.command:
        return Refusal(
            "CreateContainerError",
            f'image "{name}" stands for this machine\'s own programs, so the container needs a command',
        )
    return entrypoint


def _spellings(name: str) -> list[str]:
    return [name, *(name[len(prefix) :] for prefix in _DOCKER_HUB if name.startswith(prefix))]


def _offer(images: Images) -> str:
    return "this node pulls no images, it runs only " + (", ".join(sorted(images)) or "none")
