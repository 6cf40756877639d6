"""An API server's side of an admission webhook: what it asks, and what it makes of the answer."""

import base64
import copy
import json
from typing import Any


def asked(
    volume: Any,
    *,
    uid: str = "u-1",
    namespace: str = "shop",
    operation: str = "CREATE",
    resource: str = "datavolumes",
    group: str = "cdi.kubevirt.io",
    sub_resource: str = "",
    user: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An AdmissionReview as an API server sends it."""
    place = {"group": group, "version": "v1beta1"}
    name = (volume.get("metadata") or {}).get("name", "") if isinstance(volume, dict) and isinstance(volume.get("metadata"), dict) else ""  # fmt: skip
    request = {
        "uid": uid,
        "kind": {**place, "kind": "DataVolume"},
        "resource": {**place, "resource": resource},
        "requestKind": {**place, "kind": "DataVolume"},
        "requestResource": {**place, "resource": resource},
        "name": name,
        "namespace": namespace,
        "operation": operation,
        "userInfo": user or {"username": "ann", "uid": "u-ann", "groups": ["system:authenticated"]},
        "object": volume,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        **({"subResource": sub_resource} if sub_resource else {}),
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def patched(volume: dict[str, Any], answer: bytes) -> dict[str, Any]:
    """The object after the answer's patch: strict, as an API server is, for the operations that may come."""
    response = json.loads(answer)["response"]
    assert response["allowed"] is True
    after = copy.deepcopy(volume)
    for step in json.loads(base64.b64decode(response.get("patch", "W10="))):
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        place = after
        for each in parents:
            place = place[each]
        if step["op"] == "remove":
            del place[last]
        else:
            assert step["op"] == "add"
            place[last] = step["value"]
    return after
