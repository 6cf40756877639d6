"""Where the embedded API server differs from a real one on purpose.

Each entry is a case of this suite that the real server passes and the embedded one does not: `module::function`, or
`module::function[parameters]` for some parameters only. The suite expects those cases to fail in the embedded world: once one
passes, the suite fails until the entry is taken out. Nothing else may differ, and nothing is skipped.
"""

_RULES = (
    "Rules in CEL are not evaluated: an evaluator would be a dependency of the product for the sake of the embedded world alone, and datamover.api.v1alpha1.validation "
    "checks every rule of our own definitions again, in the operator, in every world."
)
_RULES_OF_OTHERS = f"{_RULES} The rules of the snapshot kinds concern their authors: the operator and the node write none that breaks them."
_WRITTEN_BY_US = (
    "The embedded world runs movers and nothing else: what only our own builders and controllers write is not validated again there. What a user's "
    "manifest can get wrong is, and the node refuses what it cannot run."
)

DIFFERENCES: dict[str, str] = {
    "test_core_kinds::test_a_pod_that_no_mover_has_is_invalid_with_its_field": _WRITTEN_BY_US,
    "test_core_kinds::test_the_status_of_a_job_cannot_contradict_itself": _WRITTEN_BY_US,
    "test_schemas::test_a_rule_refuses_with_its_message": _RULES,
    "test_schemas::test_rules_hold_for_changes": _RULES,
    "test_snapshots::test_a_snapshot_has_one_source": _RULES_OF_OTHERS,
    "test_snapshots::test_the_source_of_a_snapshot_cannot_change": _RULES_OF_OTHERS,
}
