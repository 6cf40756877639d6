"""What ends an attempt early.

Exception
└── AgentError
    ├── Failure             something is wrong; carries class, reason, sentence and the paths concerned
    │   └── Misconfigured   the environment is wrong; nothing was started
    └── Stopped             SIGTERM, SIGINT or the deadline; carries why
"""

from datamover.api import transfer


class AgentError(Exception):
    """Anything that the agent turns into an outcome. `deleted` is what a deletion had deleted when it came."""

    deleted: int = 0


class Failure(AgentError):  # noqa: N818 - it is the word for what the outcome tells
    """An attempt that cannot succeed.

    `failure_class` and `reason` are constants of `datamover.api.transfer`; the message is a sentence for people that says what to
    do; `problems` names the first few paths concerned. `retryable` is the class's own unless given.
    """

    def __init__(
        self,
        failure_class: str,
        reason: str,
        message: str,
        *,
        retryable: bool | None = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.reason = reason
        self.message = message
        self.retryable = failure_class not in transfer.TERMINAL_CLASSES if retryable is None else retryable
        self.problems = problems


class Misconfigured(Failure):
    """The environment is wrong. The message names each variable, what is wrong with it and the fix, never a secret."""

    def __init__(self, message: str) -> None:
        super().__init__(transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION, message)


class Stopped(AgentError):  # noqa: N818 - stopping is no error
    """The attempt was asked to end. `why` is `transfer.INTERRUPTED` or `transfer.DEADLINE_EXCEEDED`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def killed_at_once(program: str, *, timed_out: bool) -> Failure:
    """Return what it means that a program was killed before it said anything: nothing about its configuration, and another attempt may do better."""
    if timed_out:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_ENGINE_FAILED,
            f"{program} did not even answer a question about itself in time: the node is overloaded. It is tried again; give the mover CPU (moverResources).",
        )
    return Failure(
        transfer.INTERNAL,
        transfer.REASON_OUT_OF_MEMORY,
        f"{program} was killed while it started, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise"
        " moverResources.limits.memory.",
    )
