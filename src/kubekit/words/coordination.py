"""coordination.k8s.io/v1 Lease: the one kind that is written with PUT, so its model is complete."""

from kubekit.words.meta import Model, ObjectMeta, Resource


class LeaseSpec(Model, frozen=True):
    """Who holds a lease, and until when. Times are `metav1.MicroTime`."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    preferred_holder: str | None = None
    strategy: str | None = None


class Lease(Model, frozen=True):
    """A lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec | None = None


LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", Lease)
