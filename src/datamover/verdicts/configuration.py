"""The plugin's configuration, as the document defines it: five keys of a ConfigMap, minutes and seconds; and one key of our own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from datamover.api.hypershift import Key
from datamover.api.outside import NAME_LIMIT, Unusable, clean, integer

DEFAULT_TIMEOUT: Final = timedelta(minutes=30)
DEFAULT_PACE: Final = timedelta(seconds=10)
LARGEST_TIMEOUT: Final = 525_600
"""Minutes: a year."""
LARGEST_PACE: Final = 86_400
"""Seconds: a day."""

_TRUE: Final = "true"
_SHOWN: Final = 8


class ConfigurationError(ValueError):
    """A value cannot be used: `error parsing dataUploadTimeout: …`. `key` and `text` are its two parts."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(f"error parsing {key}: {text}")
        self.key = key
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the ConfigMap says, with defaults for what it does not say.

    `data_upload_timeout` is how long a snapshot or an upload may take, from its creation on; `data_upload_check_pace` is how often those look who look
    again and again. `timeout_set` tells whether the limit was asked for: only then is given up before Velero itself does.
    `warnings` are sentences on what has no effect.
    """

    data_upload_timeout: timedelta = DEFAULT_TIMEOUT
    data_upload_check_pace: timedelta = DEFAULT_PACE
    timeout_set: bool = False
    migration: bool = False
    readopt_nodes: bool = False
    managed_services: bool = False
    blocking: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, data: Mapping[str, str] | None) -> "Configuration":
        """Return what a ConfigMap's `data` says; None and an empty one say nothing. Raises ConfigurationError.

        Numbers are whole, with white space around them or not. 0 is the same as no value, as it has always been. Switches are on for exactly `true`.
        """
        given = data or {}
        minutes = _number(given, Key.DATA_UPLOAD_TIMEOUT, unit="minutes", largest=LARGEST_TIMEOUT)
        seconds = _number(given, Key.DATA_UPLOAD_CHECK_PACE, unit="seconds", largest=LARGEST_PACE)
        return cls(
            data_upload_timeout=timedelta(minutes=minutes) if minutes else DEFAULT_TIMEOUT,
            data_upload_check_pace=timedelta(seconds=seconds) if seconds else DEFAULT_PACE,
            timeout_set=bool(minutes),
            migration=given.get(Key.MIGRATION) == _TRUE,
            readopt_nodes=given.get(Key.READOPT_NODES) == _TRUE,
            managed_services=given.get(Key.MANAGED_SERVICES) == _TRUE,
            blocking=given.get(Key.BLOCKING) == _TRUE,
            warnings=_warnings(given),
        )


def _number(given: Mapping[str, str], key: str, *, unit: str, largest: int) -> int:
    value = given.get(key)
    if value is None:
        return 0
    try:
        return integer(value.strip(" \t\r\n"), low=0, high=largest)
    except Unusable:
        shown = clean(value, limit=NAME_LIMIT)
        raise ConfigurationError(
            key, f'"{shown}" is no whole number of {unit} from 0 to {largest} (0 is the default)'
        ) from None


def _warnings(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return sentences on keys that nobody knows and on switches whose value is neither `true` nor `false`."""
    numbers = (Key.DATA_UPLOAD_TIMEOUT, Key.DATA_UPLOAD_CHECK_PACE)
    switches = (Key.MIGRATION, Key.READOPT_NODES, Key.MANAGED_SERVICES, Key.BLOCKING)
    unknown = sorted(key for key in given if key not in numbers and key not in switches)
    found = [f"key {clean(key, limit=NAME_LIMIT)} is not known and has no effect" for key in unknown[:_SHOWN]]
    if len(unknown) > _SHOWN:
        found.append(f"{len(unknown) - _SHOWN} more keys are not known and have no effect")
    for key in switches:
        value = given.get(key, "")
        if value not in (_TRUE, "false", ""):
            shown = clean(value, limit=NAME_LIMIT)
            found.append(f'{key} is "{shown}", which is off: only the word true, in small letters, is on')
    return tuple(found)
