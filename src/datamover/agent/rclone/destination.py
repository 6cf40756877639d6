# ruff: noqa: PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The destination, as the engine shows it: all I/O of the agent with the store but the copying itself.

Guarantees: what an outage of the server disturbs is tried again until the outage limit; everything here may be done twice.
Errors: `Failure` with the class of what went wrong; `Stopped` when the attempt is to end.
"""

import os
from collections.abc import Iterable, Mapping

from datamover.agent.errors import AgentError
from datamover.agent.files import names
from datamover.agent.rclone import logs, records
from datamover.agent.rclone.record_store import RecordStore
from datamover.api import transfer

_DELETED = "Deleted"
"""What the engine logs for an object that it deleted."""
_NO_VERSIONS = {f"RCLONE_CONFIG_{transfer.REMOTE.upper()}_VERSIONS": "false", "RCLONE_S3_VERSIONS": "false"}
"""A name that looks like an older version of an object is that of an object, and no version ever goes (law L3)."""


class Destination(RecordStore):
    """`<root>` at the server: what lies there, its records, and deleting. See `Server` for what it is given."""

    def delete(self, keys: Iterable[bytes]) -> int:
        """Delete exactly these objects below the root; return how many went. None is looked for by pattern (law L3).

        Raises AgentError, with the number of what had gone until then.
        """
        listed = self._file("delete")
        asked = count = 0
        with open(listed, "wb") as file:
            for key in keys:
                file.write(key + b"\n")
                asked += 1
        if not asked:
            return 0

        def on_line(line: logs.Line) -> None:
            nonlocal count
            if line.level == "info" and line.msg == _DELETED:
                count += 1
            self._show(line)

        def once() -> None:
            child = self._engine.start(
                ["delete", "--files-from-raw", listed, self.remote()],
                environment={"RCLONE_CHECKERS": "32", "RCLONE_TRANSFERS": "32"} | self._environment | _NO_VERSIONS,
                on_line=None,
            )
            try:
                code = child.follow(on_line)
            finally:
                child.close()
            if code:
                failure = self.explain(child.errors, code, total=asked)
                failure.message = f"Objects could not be deleted. {failure.message}"
                raise failure

        try:
            self.patiently(once)
        except AgentError as error:
            error.deleted = count
            raise
        return count

    def learn_controls(self, run_id: str) -> Mapping[str, str] | None:
        """Return the settings with which names with control characters are listed as they are, or None when there are none.

        Tried out with a record of ours, because servers differ and some settings make other names wrong. They are used from now on.
        """
        folder = f"{records.FOLDER}/runs/{run_id}/"
        awkward = b"listing 100%+\x01\r"
        key = names.key_of(awkward)
        self.put(folder, {os.fsdecode(awkward): b""})
        before = dict(self._environment)
        try:
            for options in ({}, {"RCLONE_S3_LIST_URL_ENCODE": "true"}):
                self._environment = before | options
                if any(found == key for found, _ in self.list_all(folder).lines()):
                    return options
            self._environment = before
        finally:
            self.remove(folder + key.decode())
            self._written.pop(folder + os.fsdecode(awkward), None)  # it is spelled in another way there
        return None
