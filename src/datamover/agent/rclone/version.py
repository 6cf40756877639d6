"""The engine's name and version, for the outcome."""

from collections.abc import Mapping

from datamover.agent.rclone import process

_PLAIN = ("PATH", "HOME", "TMPDIR", "RCLONE_CONFIG", "RCLONE_CACHE_DIR", "RCLONE_LOG_LEVEL", "RCLONE_USE_JSON_LOG")
"""What the engine needs to say its version."""
_PATIENCE = 8.0
"""Seconds that the answer may take; it is asked for also when an attempt is being ended."""


class Version:
    """Asks rclone for its version: begun beside something that waits for the server, because a process takes its time to start."""

    def __init__(self, engine: process.Engine, *, environment: Mapping[str, str], show: process.LineHandler) -> None:
        self._engine = engine
        # no Secret: it asks nobody anything
        self._environment = {name: environment[name] for name in _PLAIN if name in environment}
        self._show = show
        self._child: process.Child | None = None
        self._text = ""

    def ask(self) -> None:
        """Begin to ask."""
        self._child = self._engine.start(
            ["version"], environment=self._environment, on_line=self._show, even_stopped=True
        )

    def text(self) -> str:
        """Return the first line of the answer; ask when nobody has begun to."""
        if self._child is None:
            self.ask()
        if self._child is not None and not self._text:
            self._child.finish(timeout=_PATIENCE)
            self._text = self._child.output.split(b"\n", 1)[0].decode("utf-8", "replace")
        return self._text
