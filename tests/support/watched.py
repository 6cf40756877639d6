"""What the operator's watcher has told of a real Velero's backups: the ConfigMap beside each, the events of it, and what was counted."""

import urllib.request
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from datamover.api.hosted_control_plane import DataKey, status_name
from datamover.reconcilers.hosted_control_plane.record import FollowedPlane, Record
from datamover.verdicts.document import ExplainedPlane, Plane, Volume
from support.cluster import OPERATOR_NAMESPACE, wait_for
from support.request_counts import AuditEntry, count_audit_lines
from support.rights import asked
from support.velero_node import LONG, NodeVelero

PREFIX = "datamover_hosted_control_plane_"
_TIMES = {"started", "updated"}
"""When somebody looked is not the same for all who look."""


class Watched:
    """Backups of one control plane each, as the operator follows them. Assumes the rig, whose Pods this process reaches, and that its leader stays."""

    def __init__(self, velero: NodeVelero) -> None:
        self._velero = velero
        self._kubectl = velero.home.kubectl
        self._since = self._lines()
        self._before = self._samples()

    def plane(self, backup: str) -> FollowedPlane | None:
        """Return what is written of the control plane; None while nothing is."""
        found = self._kubectl.get("configmap", status_name(backup), "-n", self._velero.home.namespace)
        if not found:
            return None
        (plane,) = msgspec.json.decode(found["data"][DataKey.STATUS], type=Record).control_planes
        assert found["data"][DataKey.STATE] == plane.state
        return plane

    def wait_phases(self, backup: str) -> FollowedPlane:
        """Wait until the record has the phases that the uploads have, which do not change meanwhile, and return it."""
        wanted = self._velero.phases(backup)

        def written() -> bool:
            plane = self.plane(backup)
            return plane is not None and {each.claim: each.phase for each in plane.volumes} == wanted

        wait_for(written, seconds=60, what=lambda: f"{wanted} of {self.plane(backup)}")
        found = self.plane(backup)
        assert found is not None
        return found

    def demand_same(self, backup: str, look: dict[str, Any]) -> None:
        """Demand that the last word on a backup that has ended is what `explain` says of it, each sentence included."""
        wait_for(
            lambda: (plane := self.plane(backup)) is not None and plane.final,
            seconds=LONG,
            what=lambda: str(self.plane(backup)),
        )
        written, said = self.plane(backup), msgspec.convert(look, ExplainedPlane)
        assert written is not None
        assert _common(written, Plane, _TIMES) == _common(said, Plane, _TIMES)
        of_volumes = [[_common(each, Volume, {"since"}) for each in plane.volumes] for plane in (written, said)]
        assert sorted(of_volumes[0], key=str) == sorted(of_volumes[1], key=str)

    def reasons(self, backup: str) -> list[str]:
        """Return the reasons of the events on a backup, the oldest first."""
        found = self._kubectl.items("events.events.k8s.io", "-n", self._velero.home.namespace)
        mine = [each for each in found if each.get("regarding", {}).get("kind") == "Backup"]
        named = [each for each in mine if each["regarding"]["name"] == backup]
        return [each["reason"] for each in sorted(named, key=lambda each: each["eventTime"])]

    def standing(self, backup: str) -> dict[str, float]:
        """Return what the metrics show of a backup that is not over, such as `volumes_moved`."""
        return {name: value for (name, labels), value in self._samples().items() if ("backup", backup) in labels}

    def counted(self, name: str, **labels: str) -> float:
        """Return by how much a counter has grown since we began."""
        key = name, frozenset(labels.items())
        return self._samples().get(key, 0.0) - self._before.get(key, 0.0)

    def asked(self) -> list[AuditEntry]:
        """Return what the operator asked for in Velero's namespace, and of its kinds, since we began."""
        entries = asked(self._velero.home.cluster, since=self._since)
        return [each for each in entries if each.namespace == self._velero.home.namespace or each.group == "velero.io"]

    def _samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        cluster = self._velero.home.cluster
        wait_for(lambda: bool(cluster.leader()), what=cluster.describe_operator)
        pod = self._kubectl.get("pod", cluster.leader(), "-n", OPERATOR_NAMESPACE)
        (port,) = [
            port["containerPort"]
            for container in pod["spec"]["containers"]
            for port in container["ports"]
            if port["name"] == "metrics"
        ]
        with urllib.request.urlopen(f"http://{pod['status']['podIP']}:{port}/metrics", timeout=30) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {
            (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith(PREFIX)
        }

    def _lines(self) -> int:
        rig = self._velero.home.cluster.rig
        assert rig is not None
        return count_audit_lines(rig.layout.audit)


def _common(found: msgspec.Struct, shape: type[msgspec.Struct], left_out: set[str]) -> dict[str, Any]:
    """Return what two documents have in common, by the fields of `shape`."""
    return {name: getattr(found, name) for name in shape.__struct_fields__ if name not in left_out}
