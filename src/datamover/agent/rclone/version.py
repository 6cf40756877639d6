"""The engine's name and version, for the outcome."""

from collections.abc import Mapping

from datamover.agent.rclone import process
from datamover.agent.rclone.control import Control

_PLAIN = ("PATH", "HOME", "TMPDIR", "RCLONE_CONFIG", "RCLONE_CACHE_DIR", "RCLONE_LOG_LEVEL", "RCLONE_USE_JSON_LOG")
"""What the engine needs to say its version."""
_SECONDS = 2.0
"""Seconds that an engine which runs may take to say it: it has to ask nobody."""
_PATIENCE = 8.0
"""Seconds that the answer may take; it is asked for also when an attempt is being ended."""


class Version:
    """Learns rclone's version: from one that runs already, else from a process of its own, which costs as much as many a small request."""

    def __init__(self, engine: process.Engine, *, environment: Mapping[str, str], show: process.LineHandler) -> None:
        self._engine = engine
        # no Secret: it asks nobody anything
        self._environment = {name: environment[name] for name in _PLAIN if name in environment}
        self._show = show
        self._asked = False
        self._text = ""

    def learn(self, control: Control) -> None:
        """Take it from an engine that runs, if it does."""
        self._text = self._text or control.version(timeout=_SECONDS)

    def text(self) -> str:
        """Return it as the engine prints it first; empty when nothing is known. Asks when nobody has told it, once."""
        if not self._text and not self._asked:
            self._asked = True
            child = self._engine.start(
                ["version"], environment=self._environment, on_line=self._show, even_stopped=True
            )
            child.finish(timeout=_PATIENCE)
            self._text = child.output.split(b"\n", 1)[0].decode("utf-8", "replace")
        return self._text
