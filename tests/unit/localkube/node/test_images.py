import pytest

from localkube.node.images import Refusal, command_for, repository
from localkube.node.pod_kinds import Container

IMAGES = {"ghcr.io/qjoly/datamover-rclone": ("python", "-m", "agent"), "busybox": ()}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", "busybox"),
        ("busybox:1.36", "busybox"),
        ("ghcr.io/a/b-c:latest", "ghcr.io/a/b-c"),
        ("localhost:5000/a:1", "localhost:5000/a"),
        ("a@sha256:" + "0" * 64, "a"),
        ("a:1@sha256:" + "0" * 64, "a"),
        ("Upper", None),
        ("a:", None),
        ("a b", None),
        ("", None),
        ("a@sha256:12", None),
        ("-a", None),
        ("a//b", None),
        ("busybox:1\n", None),
    ],
)
def test_references_are_read_as_container_runtimes_read_them(image, expected):
    assert repository(image) == expected


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/qjoly/datamover-rclone",
        "ghcr.io/qjoly/datamover-rclone:v2",
        "ghcr.io/qjoly/datamover-rclone@sha256:" + "a" * 64,
    ],
)
def test_tag_and_digest_do_not_matter(image):
    assert command_for(Container(image=image), IMAGES) == ("python", "-m", "agent")


@pytest.mark.parametrize("image", ["docker.io/library/busybox:1", "docker.io/busybox", "busybox"])
def test_the_ways_to_spell_a_docker_hub_image_are_one(image):
    assert command_for(Container(image=image, command=("sh",)), IMAGES) == ()


@pytest.mark.parametrize(
    ("container", "reason", "part"),
    [
        (Container(image="Bad Image"), "InvalidImageName", "invalid reference format"),
        (Container(), "InvalidImageName", "invalid reference format"),
        (Container(image="nginx"), "ErrImagePull", "runs only busybox, ghcr.io/qjoly/datamover-rclone"),
        (Container(image="nginx", image_pull_policy="Never"), "ErrImageNeverPull", "pull policy of Never"),
        (Container(image="busybox"), "CreateContainerError", "needs a command"),
        (Container(image="ghcr.io/qjoly/datamover-rclone", command=("sh",)), "CreateContainerError", "entrypoint only"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_reason(container, reason, part):
    refusal = command_for(container, IMAGES)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert part in refusal.message
