"""Reading an API server's own counters and audit log."""

import json
from pathlib import Path

from support.request_counts import RequestKind, parse_request_counts, read_audit_log

PAGE = """# HELP apiserver_request_total Counter
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="cluster",subresource="",verb="LIST",version="v1"} 2
apiserver_request_total{code="201",component="apiserver",dry_run="",group="batch",resource="jobs",scope="resource",subresource="",verb="POST",version="v1"} 1e+03
apiserver_request_total_other{code="200",verb="GET"} 9
"""


def test_lines_of_one_kind_are_added_up() -> None:
    counts = parse_request_counts(PAGE)

    assert counts == {RequestKind("LIST", "", "pods", "", 200): 5, RequestKind("POST", "batch", "jobs", "", 201): 1000}


def test_a_difference_holds_what_happened_in_between() -> None:
    before = parse_request_counts(PAGE)
    after = parse_request_counts(PAGE.replace("} 3", "} 7"))

    happened = after - before

    assert happened == {RequestKind("LIST", "", "pods", "", 200): 4}
    assert happened.total(verbs=["LIST"], resource="pods") == 4
    assert happened.total(group="batch") == 0


def test_the_audit_log_is_read_by_user_and_from_a_place_on(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    lines = [
        {
            "user": {"username": user},
            "verb": "update",
            "requestURI": "/x",
            "objectRef": {"resource": "pods", "subresource": "status"},
            "responseStatus": {"code": 200},
        }
        for user in ("alice", "bob", "alice")
    ]
    log.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"half": "a li')

    assert [entry.number for entry in read_audit_log(log, user="alice")] == [0, 2]
    assert [entry.user for entry in read_audit_log(log, since=1)] == ["bob", "alice"]
    entry = read_audit_log(log)[0]
    assert (entry.resource, entry.subresource, entry.code, entry.writes) == ("pods", "status", 200, True)
