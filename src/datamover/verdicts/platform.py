"""What each platform asks of a backup (document, "Supported Platforms"). The spelling is HyperShift's, and exact. Pure."""

from enum import Enum
from typing import Final, NamedTuple

from datamover.api.hypershift import Platform
from datamover.api.outside import clean

_SHOWN: Final = 63


class Strategy(Enum):
    """The order in which things are looked at. The word is the one of the document's errors and log lines."""

    STANDARD = "standard"
    AZURE = "Azure"


class Rule(NamedTuple):
    """A platform's line in the table: are snapshots required, are uploads required, and which strategy reads them."""

    platform: str
    pv_required: bool
    du_required: bool
    strategy: Strategy


_STANDARD: Final = (
    Platform.AWS,
    Platform.IBM_CLOUD,
    Platform.KUBEVIRT,
    Platform.OPENSTACK,
    Platform.AGENT,
    Platform.NONE,
)
PLATFORMS: Final = {
    **{name: Rule(name, pv_required=True, du_required=True, strategy=Strategy.STANDARD) for name in _STANDARD},
    Platform.AZURE: Rule(Platform.AZURE, pv_required=True, du_required=False, strategy=Strategy.AZURE),
}
"""The table, by `spec.platform.type`."""
UNSUPPORTED: Final = (Platform.POWER_VS, Platform.GCP)
"""Platforms of HyperShift's API for which nobody has said a rule: no standard one is guessed for them."""


def rule_of(platform: str) -> Rule | None:
    """Return the platform's rule; None where there is none."""
    return PLATFORMS.get(platform)


def unsupported(platform: str) -> str:
    """Return the document's error for a platform without a rule."""
    return f"unsupported platform type {clean(platform, limit=_SHOWN) or '(none is set)'}"
