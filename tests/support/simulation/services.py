"""Services, which the embedded world does not have, and who gives them their addresses."""

from kubekit.words.core import SERVICES
from localkube.store.apiserver import ApiServer
from localkube.store.kinds import Kind
from localkube.store.strategies.configuration import PlainStrategy
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.trees import is_going, look, name_of, space_of, uid_of


def serve(server: ApiServer) -> None:
    """Let a server have Services, of any form."""
    server.registry.add(Kind("", "v1", "services", "Service", None, PlainStrategy(), singular="service", status=True))


class Services:
    """An address of the cluster at once, that of a load balancer after a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hand = cluster.hand

    def look(self) -> None:
        for service in self._hand.all(SERVICES):
            if not is_going(service) and not self._has_address(service):
                self._cluster.later("address", uid_of(service), self._cluster.conduct.start, self._giving(service))

    def _giving(self, service: Tree):
        def give() -> None:
            now = self._hand.find(SERVICES, name_of(service), space_of(service))
            if now is None or uid_of(now) != uid_of(service) or self._has_address(now):
                return
            address = f"10.0.0.{1 + self._cluster.dice.randrange(250)}"
            if now["spec"].get("type") == "LoadBalancer":
                status: Tree = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
                self._hand.patch(SERVICES, name_of(now), status, space_of(now), "status")
            else:
                self._hand.patch(SERVICES, name_of(now), {"spec": {"clusterIP": address}}, space_of(now))

        return give

    @staticmethod
    def _has_address(service: Tree) -> bool:
        if service["spec"].get("type") == "LoadBalancer":
            return bool(look(service, "status", "loadBalancer", "ingress"))
        return bool(service["spec"].get("clusterIP"))
