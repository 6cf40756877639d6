"""What is measured, as data: trees, distances, steps, limits, goals. Sizes are those of the full run; `scale` makes them smaller."""

from dataclasses import dataclass, replace

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

DATAMOVER, RCLONE, RESTIC, RAW = "datamover", "rclone", "restic", "raw stream"
TOOLS = (DATAMOVER, RCLONE, RESTIC, RAW)
BACKUP, RESTORE = "backup", "restore"
FIRST, UNCHANGED, CHANGED = "first", "unchanged", "1 % changed"

SHORT = 0.05
"""The scale of `make bench`."""
_SHORTEST = 300.0
"""Seconds: the least limit of a step, of however small a tree."""
_BLOCK = 4 * KIB
"""What the smallest file takes on a disk."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a tool does, and what has become of the tree since it did so the last time."""

    action: str
    state: str


ALL_STEPS = tuple(Step(action, state) for state in (FIRST, UNCHANGED, CHANGED) for action in (BACKUP, RESTORE))
"""In this order: each restore brings what the backup before it took, into the directory that the restore before it left."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one kind: their number, and their least and greatest size in bytes.

    `few`: a smaller scale makes them smaller, not fewer, and a hundredth of each is changed instead of every hundredth. `sparse`: all but
    their two ends is a hole.
    """

    count: int
    least: int
    most: int
    few: bool = False
    sparse: bool = False

    def size(self, number: int) -> int:
        """Return the bytes of one of them."""
        return self.least + (self.most - self.least) * (number % 16) // 15

    @property
    def bytes(self) -> int:
        """All of them together, holes included."""
        rounds, rest = divmod(self.count, 16)
        return rounds * sum(map(self.size, range(16))) + sum(map(self.size, range(rest)))

    def scaled(self, scale: float) -> "Group":
        """Return the same of a smaller, or larger, tree."""
        if not self.few:
            return replace(self, count=max(1, round(self.count * scale)))
        return replace(self, least=max(_BLOCK, round(self.least * scale)), most=max(_BLOCK, round(self.most * scale)))


@dataclass(frozen=True, slots=True)
class Tree:
    """Files that are moved together."""

    name: str
    groups: tuple[Group, ...]

    @property
    def files(self) -> int:
        """How many files it has."""
        return sum(group.count for group in self.groups)

    @property
    def bytes(self) -> int:
        """What they hold, holes included."""
        return sum(group.bytes for group in self.groups)

    @property
    def room(self) -> int:
        """Bytes that one copy of it takes on a disk, where no hole is kept."""
        return sum(group.bytes + group.count * _BLOCK for group in self.groups)


@dataclass(frozen=True, slots=True)
class Case:
    """A tree at a distance. `round_trip`: milliseconds. `limit`: seconds that each step may take. `budget`: MiB that it is meant to take at the most."""

    tree: Tree
    round_trip: int = 0
    tools: tuple[str, ...] = TOOLS
    steps: tuple[Step, ...] = ALL_STEPS
    limit: float = 1800.0
    budget: int = 0

    def scaled(self, scale: float) -> "Case":
        """Return the same of a smaller tree."""
        tree = replace(self.tree, groups=tuple(group.scaled(scale) for group in self.tree.groups))
        return replace(self, tree=tree, limit=max(_SHORTEST, self.limit * scale))

    @property
    def room(self) -> int:
        """Bytes of disk that it takes: the tree, what one tool stores of it and brings back, and parts that a server puts together."""
        return 3 * self.tree.room + max((group.most for group in self.tree.groups if group.few), default=0)


SMALL = Tree("small", (Group(20_000, KIB, 16 * KIB),))
LARGE = Tree("large", (Group(4, GIB, GIB, few=True),))
MIXED = Tree("mixed", (Group(2_000, KIB, 16 * KIB), Group(200, MIB, MIB), Group(4, 128 * MIB, 128 * MIB, few=True)))
TINY = Tree("50,000 tiny", (Group(50_000, 6, 6),))
MILLION = Tree("million", (Group(1_000_000, 6, 6),))
SPARSE = Tree("sparse", (Group(1, 5 * GIB, 5 * GIB, few=True, sparse=True),))

COMPARED = tuple(Case(tree, round_trip) for tree in (SMALL, LARGE, MIXED) for round_trip in (0, 20))
"""Against others; `make bench` takes these, in a smaller scale."""
_FIRST_BACKUP, _FIRST_RESTORE = ALL_STEPS[:2]
BOUNDED = (
    Case(TINY, tools=(DATAMOVER,), steps=(_FIRST_BACKUP, _FIRST_RESTORE), budget=300),
    Case(SPARSE, tools=(DATAMOVER,), steps=(_FIRST_BACKUP, _FIRST_RESTORE), budget=300),
    Case(MILLION, tools=(DATAMOVER,), steps=(_FIRST_BACKUP,), limit=7200.0, budget=300),
)
"""For their memory: our processes and the engine's together. Only in the full run."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How fast datamover is meant to be: its speed to that of another tool, in the same step, at least."""

    tree: str
    round_trip: int
    step: Step
    peer: str
    speed: float


GOALS = (
    Goal(SMALL.name, 20, _FIRST_BACKUP, RCLONE, 6.0),
    Goal(SMALL.name, 20, _FIRST_RESTORE, RCLONE, 6.0),
    Goal(LARGE.name, 0, _FIRST_BACKUP, RAW, 0.5),
    Goal(LARGE.name, 0, _FIRST_RESTORE, RAW, 0.5),
    Goal(LARGE.name, 20, _FIRST_BACKUP, RAW, 0.5),
    Goal(LARGE.name, 20, _FIRST_RESTORE, RAW, 0.5),
)
