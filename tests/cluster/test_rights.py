"""The operator's rights, held against what the API server's audit log says it asked for in all the scenarios before. Runs last."""

import urllib.parse
from pathlib import Path

import pytest

from datamover.api import names
from support.cluster import OPERATOR_NAMESPACE, VELERO_NAMESPACE, RealCluster, wait_for
from support.place import Place
from support.request_counts import AuditEntry, count_audit_lines
from support.rights import asked

Right = tuple[str, str, str]
"""API group, resource with subresource, verb."""

ONLY_AFTER_FAULTS: set[Right] = {
    ("", "persistentvolumeclaims", "get"),  # whose a claim is that is there already
    ("", "persistentvolumes", "get"),  # whether a volume is really gone that the cache lacks
    ("", "serviceaccounts", "get"),  # whose it is that is there already; as with the next three
    ("", "services", "get"),
    ("", "services", "patch"),  # its user wants another type; shown in tests/unit/deploy/test_replication_rights.py
    ("rbac.authorization.k8s.io", "rolebindings", "get"),
    ("rbac.authorization.k8s.io", "roles", "get"),
    ("batch", "jobs", "get"),  # whose a Job is that is there already
    ("batch", "jobs", "patch"),  # a run that is suspended half-way
    ("datamover.a-cup-of.coffee", "datamoverrestores", "get"),  # after a conflict
    ("datamover.a-cup-of.coffee", "datamovers", "get"),
    ("populator.storage.k8s.io", "volumepopulators", "get"),  # whose it is that is there already
    # a kind that was not served is asked for again after a minute, and the scenario has it for a moment
    ("populator.storage.k8s.io", "volumepopulators", "list"),
    ("populator.storage.k8s.io", "volumepopulators", "watch"),
    ("volsync.backube", "replicationdestinations", "get"),  # after a conflict
    ("volsync.backube", "replicationsources", "get"),  # after a conflict
    ("events.k8s.io", "events", "get"),  # after a conflict
    ("events.k8s.io", "events", "patch"),  # the same thing again within minutes
    ("snapshot.storage.k8s.io", "volumesnapshots", "get"),  # whose a snapshot is that is there already
}
"""Rights whose moment may not come in a session: a race or a fault calls for them."""


_CDI = "cdi.kubevirt.io"
NOT_IN_THE_SCENARIOS: set[Right] = {
    # what keeps images up to date, and the configuration of a CDI object: made use of in tests/unit/deploy/test_data_volume_rights.py
    *((_CDI, "datasources", verb) for verb in ("get", "create", "patch")),
    *((_CDI, "dataimportcrons", verb) for verb in ("get", "patch")),
    *((_CDI, f"{kind}/status", "update") for kind in ("datasources", "dataimportcrons", "cdis", "cdiconfigs")),
    (_CDI, "datavolumes", "create"),
    (_CDI, "cdis", "get"),
    *(
        (_CDI, "cdiconfigs", verb) for verb in ("get", "create", "patch")
    ),  # the definitions stay, and with them what a session before has made
    *((_CDI, "storageprofiles", verb) for verb in ("get", "create")),
    # owners of DataVolumes and virtual machines, which are not in this cluster
    (_CDI, "datavolumes/finalizers", "update"),  # where owner references are held against it by the API server
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
    *(("kubevirt.io", "kubevirts", verb) for verb in ("get", "list", "watch")),
    ("kubevirt.io", "virtualmachines", "get"),
    ("kubevirt.io", "virtualmachines/finalizers", "update"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),  # a copy from another namespace
    ("", "secrets", "update"),  # the webhook's certificate is renewed
    ("", "configmaps", "get"),  # after a conflict
}
"""Rights of DataVolumes whose moment needs more of CDI and KubeVirt than the scenarios have, or months."""


OPTIONAL_PARTS = (
    "restores.population",
    "replication",
    "dataVolumes.population",
    "dataVolumes.collection",
    "hostedControlPlanes",
)
OPTIONAL_GROUPS = {
    *("volsync.backube", "populator.storage.k8s.io", "cdi.kubevirt.io", "kubevirt.io"),
    *("velero.io", "hypershift.openshift.io"),
}
WITH_SECURE_METRICS: set[Right] = {
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),
}
"""Granted while a scenario has the metrics served with authentication, and taken back after it."""


def granted(cluster: RealCluster) -> set[Right]:
    """Return what the installed roles allow."""
    roles = [
        cluster.kubectl.get("clusterrole", "datamover-operator"),
        cluster.kubectl.get("role", "datamover-operator-leader-election", "-n", OPERATOR_NAMESPACE),
        cluster.kubectl.get("role", "datamover-operator-datavolumes", "-n", OPERATOR_NAMESPACE),
        cluster.kubectl.get("role", "datamover-operator-hosted-control-planes", "-n", VELERO_NAMESPACE),
    ]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role.get("rules", [])  # a role that is not there grants nothing
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def right_of(entry: AuditEntry) -> Right:
    """Return the right that a request needs."""
    resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return entry.group, resource, entry.verb


def test_nothing_is_asked_for_that_is_not_granted(cluster: RealCluster, place: Place, audited_since: int) -> None:
    """With replication Secrets are granted as well; then they are asked for one by one."""
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    place.wait_complete("backup")
    entries = asked(cluster, since=audited_since)
    assert entries, "there is nothing in the log of this account"
    # by the roles and not by the answers: an API server that has just started refuses what it has not read the roles for yet
    tried = {right_of(entry) for entry in entries} - granted(cluster) - WITH_SECURE_METRICS
    assert not tried
    secrets = [entry for entry in entries if entry.resource == "secrets"]
    # One by one, as objects point to them; the exception are those that the operator has generated itself, found by their label.
    mine = f"labelSelector={urllib.parse.quote(names.CREATED_BY_LABEL, safe='')}"
    strange = [
        entry.uri
        for entry in secrets
        if not (entry.namespace and (entry.name or entry.verb == "create" or "metadata.name" in entry.uri))
        and mine not in entry.uri
    ]
    assert not strange
    # and no value of one that is not its own is ever asked for
    own = ("volsync-rsync-", "upload-", "datamover-operator-webhook")
    assert all(entry.name.startswith(own) for entry in secrets if entry.verb == "get")
    assert not any(entry.subresource == "exec" for entry in entries)


def test_without_the_optional_parts_secrets_are_asked_for_by_name_and_refused_and_nothing_else_is(
    cluster: RealCluster, place: Place
) -> None:
    """As the chart is by default: preflight goes without what nobody grants."""
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    before = set(cluster.operator_pods())
    cluster.install(*(f"{part}.enabled=false" for part in OPTIONAL_PARTS))
    try:
        wait_for(lambda: not before & set(cluster.operator_pods()), what=cluster.describe_operator)
        assert not OPTIONAL_GROUPS & {group for group, _, _ in granted(cluster)}
        since = count_audit_lines(cluster.rig.layout.audit) if cluster.rig is not None else 0
        place.create_mover("backup", deletePvcAfterBackup=True)
        place.wait_complete("backup")
        entries = asked(cluster, since=since)
        assert entries, "there is nothing in the log of this account"
        tried = {right_of(entry) for entry in entries} - granted(cluster)
        assert tried <= {("", "secrets", "list"), ("", "secrets", "watch")}
        by_name = [entry for entry in entries if entry.resource == "secrets"]
        assert all("metadata.name" in entry.uri and entry.namespace and entry.code == 403 for entry in by_name)
    finally:
        cluster.install()


def test_everything_that_is_granted_is_used(
    cluster: RealCluster, request: pytest.FixtureRequest, audited_since: int
) -> None:
    if len(request.session.items) < 30:
        pytest.skip("says something only after all the scenarios")
    used = {right_of(entry) for entry in asked(cluster, since=audited_since) if entry.code < 400}
    unused = granted(cluster) - used
    excused = ONLY_AFTER_FAULTS | NOT_IN_THE_SCENARIOS
    assert unused <= excused, unused - excused


def test_a_user_with_the_view_role_may_look_and_not_touch(cluster: RealCluster) -> None:
    def may(verb: str, role: str) -> bool:
        answer = cluster.kubectl.run(
            "auth", "can-i", verb, "datamovers", "--as", f"test-{role}", "-n", "default", check=False
        )
        return answer.strip().splitlines()[-1] == "yes"

    for role in ("view", "edit", "admin"):
        cluster.kubectl.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"test-{role}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"test-{role}"}],
            },
            namespace="default",
        )
    try:
        wait_for(
            lambda: may("list", "view") and may("create", "edit") and may("delete", "admin"), seconds=20
        )  # aggregation takes a moment
        assert not may("create", "view")
    finally:
        cluster.kubectl.run("delete", "rolebinding", "test-view", "test-edit", "test-admin", "-n", "default")


def test_the_whole_cluster_takes_less_than_4_gib(cluster: RealCluster) -> None:
    if cluster.rig is None:
        pytest.skip("the memory of somebody else's cluster is not ours to count")
    parts = sum(part["memory"] for part in cluster.rig.status())
    names = ("memory.usage_in_bytes", "memory.current")  # of the first and of the second kind of control groups
    groups = [file for name in names for file in Path("/sys/fs/cgroup").glob(f"**/kubepods/{name}")]
    pods = max(int(group.read_text()) for group in groups)
    assert min(parts, pods) > 50 << 20, "nothing was counted"
    assert parts + pods < 4 << 30
