"""What the operator of scenarios asked the API server for, by its audit log."""

import pytest

from support.cluster import OPERATOR_NAMESPACE, RealCluster
from support.request_counts import AuditEntry, read_audit_log

ACCOUNT = f"system:serviceaccount:{OPERATOR_NAMESPACE}:datamover-operator-controller-manager"


def asked(cluster: RealCluster, *, since: int) -> list[AuditEntry]:
    """Return what the operator asked of resources since that line of the log. Skips the test where the log is not ours."""
    if cluster.rig is None:
        pytest.skip("the audit log of somebody else's API server is not ours to read")
    entries = read_audit_log(cluster.rig.layout.audit, user=ACCOUNT, since=since)
    return [entry for entry in entries if entry.resource]
