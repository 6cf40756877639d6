"""What the workers of one session share: one installation for all of them, and turns where somebody must be alone."""

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_SHARED, _ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX


@contextlib.contextmanager
def shared(directory: Path, *, make: Callable[[], Any], remove: Callable[[Any], None]) -> Iterator[Any]:
    """Yield what `make` returned to the first worker (anything that JSON can hold). The last one that leaves calls `remove` with it.

    Where `make` failed the other workers fail at once, with its message.
    """
    state, users = directory / "state.json", directory / "users"
    with _locked(directory / "users.lock", _ALONE):
        count = int(users.read_text()) if users.exists() else 0
        if not state.exists():
            try:
                value = {"made": make()}
            except BaseException as error:
                state.write_text(json.dumps({"failed": str(error)}))
                raise
            state.write_text(json.dumps(value))
        found = json.loads(state.read_text())
        assert "made" in found, f"another worker could not set it up: {found['failed']}"
        users.write_text(str(count + 1))
    try:
        yield found["made"]
    finally:
        with _locked(directory / "users.lock", _ALONE):
            count = int(users.read_text()) - 1
            users.write_text(str(count))
            if count == 0:
                state.unlink()
                remove(found["made"])


@contextlib.contextmanager
def turn(directory: Path, *, alone: bool) -> Iterator[None]:
    """Hold a turn: beside others, or alone. Who wants to be alone waits until nobody is left."""
    with _locked(directory / "turns.lock", _ALONE if alone else _SHARED):
        yield


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield
