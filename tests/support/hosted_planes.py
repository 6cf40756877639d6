"""A namespace with a HostedControlPlane beside a real Velero, and what a test does with it."""

from dataclasses import dataclass
from typing import Any

from support.hosting import make_claims, make_control_plane, make_namespace
from support.velero_stage import VeleroStage

MEMBER = "data-etcd-0"


@dataclass(frozen=True, slots=True)
class Hosted:
    """A namespace with a HostedControlPlane."""

    stage: VeleroStage
    namespace: str
    claims: tuple[str, ...]

    def play(self, *claims: str, **script: Any) -> None:
        """Say what becomes of snapshots, uploads and copies of these claims, or of all."""
        self.stage.actor.play(self.namespace, claims or self.claims, **script)

    def back_up(self, name: str, **spec: Any) -> str:
        """Begin a backup of it that moves its data, and return its name."""
        self.stage.velero.back_up(name, self.namespace, **{"snapshotMoveData": True} | spec)
        return name


def host(stage: VeleroStage, platform: str = "AWS", *, claims: tuple[str, ...] = (MEMBER,), **options: Any) -> Hosted:
    """Make one, with a claim for each member of its etcd. More than two of them are highly available."""
    namespace = make_namespace(stage.plane)
    policy = "HighlyAvailable" if len(claims) > 2 else "SingleReplica"
    make_control_plane(stage.plane, namespace, platform, policy=policy, **options)
    return Hosted(stage, namespace, tuple(make_claims(stage.plane, namespace, *claims)))
