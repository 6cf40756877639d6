"""Where the embedded API server differs from a real one on purpose.

Each entry is a case of this suite that the real server passes and the embedded one does not: `module::function`, or
`module::function[parameters]` for some parameters only. The suite expects those cases to fail in the embedded world: once one
passes, the suite fails until the entry is taken out. Nothing else may differ, and nothing is skipped.
"""

_RULES = (
    "Rules in CEL are not evaluated: an evaluator would be a dependency of the product for the sake of the embedded world alone, and datamover.api.validation "
    "checks every rule of our own definitions again, in the operator, in every world."
)

DIFFERENCES: dict[str, str] = {
    "test_schemas::test_a_rule_refuses_with_its_message": _RULES,
    "test_schemas::test_rules_hold_for_changes": _RULES,
}
