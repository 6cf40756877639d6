import pytest
from hypothesis import given
from hypothesis import strategies as st

from localkube.store.storage import Change, Record, Storage, key_of


def write(storage, namespace, name, data=b"{}"):
    collection = storage.collection("things")
    revision = storage.next_revision()
    after = Record(namespace=namespace, name=name, uid="", revision=revision, data=data, labels=None, fields=None)
    event = Change(revision=revision, before=collection.get(namespace, name), after=after, deleted=False)
    storage.commit(collection, event)
    return revision


def erase(storage, namespace, name):
    collection = storage.collection("things")
    revision = storage.next_revision()
    before = collection.get(namespace, name)
    gone = Record(namespace=namespace, name=name, uid="", revision=revision, data=before.data, labels=None, fields=None)
    storage.commit(collection, Change(revision=revision, before=before, after=gone, deleted=True))
    return revision


def keys(records):
    return [record.key for record in records]


def test_records_come_in_the_order_of_etcd():
    storage = Storage()
    for namespace, name in [("b", "x"), ("a", "z"), ("a-b", "y"), ("a", "a"), ("ab", "m")]:
        write(storage, namespace, name)

    assert keys(storage.collection("things").scan("")) == ["a-b/y", "a/a", "a/z", "ab/m", "b/x"]


def test_a_namespace_is_found_without_its_neighbours():
    storage = Storage()
    for namespace in ("a", "a-b", "ab", "a.b", "b"):
        write(storage, namespace, "x")
    collection = storage.collection("things")

    assert keys(collection.scan("a")) == ["a/x"]
    assert collection.count("a") == 1
    assert collection.count("") == 5
    assert keys(collection.scan("", after="a-b/x")) == ["a.b/x", "a/x", "ab/x", "b/x"]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["write", "erase"]), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=30
)


@given(OPERATIONS)
def test_every_remembered_revision_can_be_listed_as_it_was(operations):
    storage = Storage()
    collection = storage.collection("things")
    states = {storage.revision: {}}
    now: dict[str, bytes] = {}
    for word, namespace, name in operations:
        if word == "write":
            revision = write(storage, namespace, name, b"%d" % storage.revision)
            now[key_of(namespace, name)] = collection.get(namespace, name).data
        elif collection.get(namespace, name):
            revision = erase(storage, namespace, name)
            del now[key_of(namespace, name)]
        else:
            continue
        states[revision] = dict(now)

    for revision, state in states.items():
        found = collection.scan_at("", revision=revision)
        assert {record.key: record.data for record in found} == state
        assert keys(found) == sorted(state)
        assert keys(collection.scan_at("a", revision=revision)) == sorted(key for key in state if key.startswith("a/"))


def test_history_is_bounded_and_the_floor_says_from_where_it_is_whole():
    storage = Storage(history=3)
    revisions = [write(storage, "a", str(number)) for number in range(5)]
    collection = storage.collection("things")

    assert [event.revision for event in collection.events_after(0)] == revisions[2:]
    assert collection.floor == revisions[1]


def test_compaction_raises_the_floor_of_every_collection_old_and_new():
    storage = Storage()
    write(storage, "a", "x")
    storage.compact(storage.revision)

    assert storage.collection("things").floor == storage.revision
    assert storage.collection("others").floor == storage.revision
    assert list(storage.collection("things").events_after(0)) == []


class Ear:
    def __init__(self):
        self.heard = []

    def offer(self, event):
        self.heard.append(event.after.key)


def test_listeners_hear_of_their_own_object_namespace_or_everything():
    storage = Storage()
    collection = storage.collection("things")
    everything, namespace, single = Ear(), Ear(), Ear()
    collection.listen(everything, namespace="", name=None)
    collection.listen(namespace, namespace="a", name=None)
    collection.listen(single, namespace="a", name="x")

    for name in ("x", "y"):
        write(storage, "a", name)
    write(storage, "b", "x")
    collection.leave(single, namespace="a", name="x")
    collection.leave(single, namespace="a", name="x")
    write(storage, "a", "x")

    assert everything.heard == ["a/x", "a/y", "b/x", "a/x"]
    assert namespace.heard == ["a/x", "a/y", "a/x"]
    assert single.heard == ["a/x"]


@pytest.mark.parametrize("count", [2000])
def test_watch_lines_are_encoded_once_for_all(count):
    event = Change(
        revision=2,
        before=None,
        after=Record(namespace="a", name="x", uid="", revision=2, data=b"{}", labels=None, fields=None),
        deleted=False,
    )

    assert {id(event.line("ADDED")) for _ in range(count)} == {id(event.line("ADDED"))}
    assert event.line("ADDED") == b'{"type":"ADDED","object":{}}\n'
