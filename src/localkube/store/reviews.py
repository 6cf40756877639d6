"""Reviews: questions that are answered and not stored. Everybody who reached the server may do everything, and that is what is said."""

from localkube.store.trees import Tree, child

REVIEW_VERBS = ("create",)
"""The verbs of kinds that are asked and not stored."""

_REASON = "the embedded API server authorizes whoever holds its token"
_USER: Tree = {"username": "localkube", "groups": ["system:masters", "system:authenticated"]}


def review(tree: Tree) -> Tree:
    """Return a review with its answer in `status`."""
    answer = child(tree, "status")
    match tree.get("kind"):
        case "SelfSubjectRulesReview":
            answer["resourceRules"] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            answer["nonResourceRules"] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
            answer["incomplete"] = False
        case "SelfSubjectReview":
            answer["userInfo"] = _USER
        case _:
            answer["allowed"] = True
            answer["reason"] = _REASON
    return tree
