"""What befalls an operator in a history, whatever its kind: kills, more replicas, and people who interfere."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from support.simulation.calls import Refused
from support.simulation.world import World
