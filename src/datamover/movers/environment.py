"""The variables that the operator sets in a mover's container, every one of them: a key of the Secret would otherwise be heard in its place. Pure."""

from collections.abc import Iterable, Mapping

from datamover.api import transfer
from datamover.api.pods import EnvVar
from kubekit.words.meta import Manifest


def flag(value: bool) -> str:
    """Return a switch as variables have it."""
    return "true" if value else "false"


def of_agent(*, run_id: str, namespace: str, object_name: str, deadline_seconds: int | None) -> dict[str, str]:
    """Return what the agent's shell is told, whatever its engine: whose run this is, and what time it has."""
    return {
        transfer.RUN_ID: run_id,
        transfer.OWNER_NAMESPACE: namespace,
        transfer.OBJECT: object_name,
        transfer.DEADLINE: str(deadline_seconds or 0),
        transfer.ROOT: "/",
        transfer.GRACE_PERIOD: f"{transfer.DEFAULT_GRACE_PERIOD:g}",
        transfer.OUTAGE_LIMIT: f"{transfer.DEFAULT_OUTAGE_LIMIT:g}",
    }


def of_rclone(variables: Iterable[EnvVar]) -> dict[str, str]:
    """Return what the engine's room is told: where rclone is, and which of the user's `variables` may run programs, for it is he who sets them."""
    return {
        transfer.RCLONE: "",  # found on the image's PATH
        transfer.ALLOW_COMMANDS: ",".join(
            dict.fromkeys(each.name for each in variables if transfer.runs_programs(each.name))
        ),
    }


def of_verification(wanted: transfer.Verification | None) -> dict[str, str]:
    """Return what is to be compared, in the words of `spec.verify`; None: nothing was chosen there."""
    return {transfer.VERIFY_METHOD: transfer.write_verification(wanted)}


def literal(variables: Mapping[str, str]) -> list[Manifest]:
    """Return variables as a container has them. A value may refer to others by $(NAME), which nothing of ours ever means (law L8)."""
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in variables.items()]
