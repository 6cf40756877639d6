"""Any history: two replicas with caches of any age, killed anywhere, beside a driver, a binder, a collector, a destination and a user."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubekit.words.core import SELECTED_NODE
from support.populating import Replica, Server, marks, run

KINDS = ("PersistentVolumeClaim", "PersistentVolume", "VolumeSnapshot", "ReplicationDestination", "StorageClass")

ACTIONS = st.one_of(
    st.tuples(st.just("work"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("release"), st.integers(0, 1)),
    st.tuples(st.just("see"), st.integers(0, 1), st.sampled_from(KINDS)),
    st.tuples(st.just("see all"), st.integers(0, 1)),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    *(
        st.tuples(st.just(word))
        for word in ("provision", "bind", "collect", "publish", "select", "refuse node", "delete claim", "vanish")
    ),
)


class History:
    """Plays actions, and looks after each of them at what must always hold."""

    def __init__(self, mode: str, policy: str) -> None:
        self.server = Server(mode=mode, policy=policy)
        self.replicas = [Replica(self.server), Replica(self.server)]
        self.images = 0
        self.handed: dict[str, str] = {}
        """The image of each volume that was handed over."""
        self.publish()
        self.claim = self.server.ask()
        self.uid = self.claim["metadata"]["uid"]

    def publish(self) -> None:
        self.images += 1
        self.server.publish(f"image-{self.images}")

    def play(self, action: tuple[Any, ...]) -> None:
        server = self.server
        word, *rest = action
        replica = self.replicas[rest[0]] if rest else self.replicas[0]
        plays: dict[str, Callable[[], Any]] = {
            "work": lambda: replica.work(steps=rest[1] or None),
            "release": replica.release,
            "see": lambda: replica.sync(rest[1]),
            "see all": replica.sync,
            "restart": replica.restart,
            "provision": server.provision,
            "bind": server.bind,
            "collect": server.collect,
            "publish": self.publish,
            "select": self._select,
            "refuse node": self._refuse_node,
            "delete claim": lambda: server.delete("PersistentVolumeClaim", "data"),
            "vanish": self._vanish,
        }
        plays[word]()
        self.look()

    def look(self) -> None:
        """What must hold at any moment."""
        claim = self.server.get("PersistentVolumeClaim", "data")
        for (kind, name), volume in self.server.objects.items():
            if kind == "PersistentVolume" and volume["spec"]["claimRef"]["uid"] == self.uid:
                assert self.server.storage[name].startswith("image-"), "handed over with nothing in it"
                assert self.handed.setdefault(name, self.server.storage[name]) == self.server.storage[name]
        assert len(self.handed) <= 1, "a second volume was handed over"
        if claim is not None and claim["status"]["phase"] == "Bound":
            assert claim["spec"]["volumeName"] in self.server.storage, "the data of a bound claim are gone"
        if claim is not None:
            assert claim["status"]["phase"] != "Lost"
        temporary = [name for name in self.server.claims() if name != "data"]
        assert temporary in ([], [f"vs-prime-{self.uid}"])

    def _select(self) -> None:
        if self.server.get("PersistentVolumeClaim", "data") is not None:
            self.server.select_node()

    def _refuse_node(self) -> None:
        prime = self.server.get("PersistentVolumeClaim", f"vs-prime-{self.uid}")
        if prime is not None and prime["status"]["phase"] == "Pending":
            (prime["metadata"].get("annotations") or {}).pop(SELECTED_NODE, None)
            self.server.touch(prime)

    def _vanish(self) -> None:
        """A snapshot that nothing is read from is deleted by hand."""
        self.server.delete("VolumeSnapshot", f"image-{self.images}")


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(["Immediate", "WaitForFirstConsumer"]),
    policy=st.sampled_from(["Delete", "Retain"]),
    actions=st.lists(ACTIONS, max_size=60),
)
def test_in_any_history_one_whole_image_is_handed_over_and_in_the_end_nothing_else_is_left(
    mode: str, policy: str, actions: list[tuple[Any, ...]]
) -> None:
    history = History(mode, policy)
    for action in actions:
        history.play(action)
    # Everybody comes to work in the end: the scheduler, the destination with an image, and one replica.
    server, last = history.server, Replica(history.server)
    server.collect()
    history.publish()
    for _ in range(3):
        history._select()
        run(server, last, rounds=8, between=(history.look,))
    claim = server.get("PersistentVolumeClaim", "data")
    assert server.claims() == (["data"] if claim is not None else [])
    assert not any(marks(each) for (kind, _), each in server.objects.items() if kind == "VolumeSnapshot")
    if claim is not None:
        assert claim["status"]["phase"] == "Bound"
        assert claim["spec"]["volumeName"] in history.handed
    if policy == "Delete":
        assert list(server.storage) == ([claim["spec"]["volumeName"]] if claim is not None else [])
    written = server.writes
    run(server, last, rounds=2)
    assert server.writes == written, "something is written although nothing changes"
