import logging

import pytest

from kubekit.runtime.store import Key, Store, as_version, key_of
from kubekit.words.meta import Model, ObjectMeta


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    color: str = ""
    weight: int = 0


def meta(name="a", version=1, uid=None):
    return ObjectMeta(name=name, namespace="ns", uid=uid or f"uid-{name}", resource_version=str(version))


def thing(name="a", version=1, *, uid=None, color="red", weight=0):
    return Thing(metadata=meta(name, version, uid), color=color, weight=weight)


A = Key("ns", "a")


def watched(store):
    seen = []
    store.add_listener(
        lambda old, new: seen.append((old and old.metadata.resource_version, new and new.metadata.resource_version))
    )
    return seen


def test_a_key_reads_as_people_write_it():
    assert (str(Key("ns", "a")), str(Key("", "a"))) == ("ns/a", "a")
    assert key_of(ObjectMeta(name="a")) == Key("", "a")


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("", 0), ("abc", 0), ("-3", 0), ("²", 0), ("0012", 12)])
def test_versions_are_numbers(text, number):
    assert as_version(text) == number


def test_objects_come_change_and_go_and_listeners_see_it():
    store = Store()
    seen = watched(store)
    assert store.put(thing(version=1))
    assert store.put(thing(version=2, color="blue"))
    assert store.get(A).color == "blue"
    assert (len(store), A in store, list(store.keys())) == (1, True, [A])
    assert store.remove(meta(version=3))
    assert (store.get(A), len(store), store.list()) == (None, 0, ())
    assert seen == [(None, "1"), ("1", "2"), ("2", None)]
    assert store.high_water == 3


@pytest.mark.parametrize("version", [4, 5])
def test_what_is_not_newer_is_ignored(version):
    store = Store()
    store.put(thing(version=5))
    seen = watched(store)
    assert not store.put(thing(version=version, color="old"))
    assert store.get(A).color == "red"
    assert seen == []


def test_versions_compare_as_numbers_and_not_as_text():
    store = Store()
    store.put(thing(version=9))
    assert store.put(thing(version=10))


def test_we_read_our_own_writes_and_the_late_event_of_them_is_no_news():
    store = Store()
    store.put(thing(version=5))
    assert store.observe(thing(version=8, color="ours"))
    seen = watched(store)
    assert not store.put(thing(version=7, color="between"))
    assert not store.put(thing(version=8, color="ours"))
    assert store.get(A).color == "ours"
    assert seen == []


def test_a_late_answer_to_our_own_write_does_not_bring_back_the_dead():
    store = Store()
    store.put(thing(version=5))
    store.remove(meta(version=9))
    assert not store.observe(thing(version=8))
    assert store.get(A) is None


def test_a_late_answer_does_not_bring_back_what_a_list_no_longer_had():
    store = Store()
    store.put(thing(version=5))
    store.replace([], version=9)
    assert not store.observe(thing(version=8))
    assert store.get(A) is None


def test_a_deletion_that_we_never_saw_the_object_of_is_remembered_too():
    store = Store()
    assert not store.remove(meta(version=9))
    assert not store.observe(thing(version=8))


def test_an_object_that_came_and_went_before_we_looked_is_not_brought_back():
    store = Store()
    store.replace([], version=9)
    assert not store.observe(thing(version=8))
    store.advance(12)
    assert not store.observe(thing(version=11))
    assert store.observe(thing(version=13))


def test_an_object_that_comes_back_into_view_is_taken_again():
    store = Store()
    store.put(thing(version=5))
    store.remove(meta(version=6))  # it lost the label that the watch selects by
    assert store.put(thing(version=7))
    assert not store.remove(meta(version=6))
    assert store.get(A) is not None


def test_a_new_object_of_an_old_name_replaces_it_and_the_old_ones_deletion_comes_too_late():
    store = Store()
    store.put(thing(version=5, uid="one"))
    store.observe(thing(version=9, uid="two"))
    assert not store.remove(meta(version=8, uid="one"))
    assert store.get(A).metadata.uid == "two"


def test_the_deletion_of_a_younger_object_takes_the_older_one_with_it():
    store = Store()
    store.put(thing(version=5, uid="one"))
    assert store.remove(meta(version=9, uid="two"))
    assert store.get(A) is None


def test_deletions_are_forgotten_one_day_the_oldest_first():
    store = Store(max_tombstones=2)
    for name in "abc":
        store.remove(meta(name, 9))
    assert store.put(thing("a", 8))
    assert not store.put(thing("b", 8))
    assert not store.put(thing("c", 8))


def test_a_list_replaces_everything_and_tells_the_difference():
    store = Store()
    store.replace([thing("a", 1), thing("b", 2), thing("c", 3)], version=5)
    seen = watched(store)
    store.replace([thing("b", 2), thing("c", 7), thing("d", 8)], version=9)
    assert seen == [("1", None), ("3", "7"), (None, "8")]
    assert sorted(key.name for key in tuple(store.keys())) == ["b", "c", "d"]


def test_listeners_of_a_list_see_it_whole():
    store = Store()
    store.replace([thing("a", 1)], version=5)
    sizes = []
    store.add_listener(lambda *_: sizes.append(sorted(key.name for key in tuple(store.keys()))))
    store.replace([thing("b", 6), thing("c", 7)], version=9)
    assert sizes == [["b", "c"]] * 3


def test_a_list_from_before_our_own_write_does_not_take_it_away():
    store = Store()
    store.observe(thing("mine", 20))
    store.put(thing("a", 12))
    store.replace([thing("a", 10)], version=11)
    assert store.get(Key("ns", "mine")) is not None
    assert store.get(A).metadata.resource_version == "12"


def test_a_list_of_a_server_that_began_anew_is_the_truth():
    store = Store()
    store.put(thing("a", 1000))
    store.put(thing("b", 1001))
    store.remove(meta("c", 1002))
    store.replace([thing("a", 3, color="restored"), thing("c", 4)], version=5, reset=True)
    assert store.get(A).color == "restored"
    assert sorted(key.name for key in tuple(store.keys())) == ["a", "c"]
    assert store.high_water == 5
    assert store.put(thing("b", 6))


def test_a_server_that_began_anew_may_bring_back_what_was_deleted():
    store = Store()
    store.put(thing("a", 1000))
    store.remove(meta("a", 1001))
    store.replace([], version=5, reset=True)
    assert store.put(thing("a", 6))


def test_a_server_that_began_anew_takes_our_writes():
    store = Store()
    store.replace([], version=1000)
    store.replace([], version=5, reset=True)
    assert store.observe(thing("a", 6))


def test_poison_of_a_server_that_began_anew_can_be_cured():
    store = Store()
    store.put(thing("a", 1000))
    store.replace([], version=5, poison=[meta("a", 4)], reset=True)
    assert A in store.poisoned()
    assert store.get(A) is not None
    assert store.put(thing("a", 6))
    assert not store.poisoned()
    assert not store.put(thing("a", 6))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_index_holds_any_number_under_one_value_and_lets_them_all_go(count):
    store = Store(indexes={"color": lambda each: each.color.split(",")})
    everybody = [f"a{number}" for number in range(count)]
    for number, name in enumerate(everybody, 1):
        store.put(thing(name, number, color="red"))
    for gone, name in enumerate(everybody):
        assert [each.metadata.name for each in store.by_index("color", "red")] == everybody[gone:]
        store.remove(meta(name, count + gone + 1))
    assert store.by_index("color", "red") == ()
    assert store._indexes == {"color": {}}


def test_shrinking_is_what_is_kept_and_stops_nobody():
    def project(each):
        if each.color == "broken":
            raise ValueError(each.color)
        return thing("a", 1, color="pale")

    store = Store(project=project)
    assert store.shrink(thing("a", 1, color="red")).color == "pale"
    assert store.shrink(thing("a", 1, color="broken")).color == "broken"


def test_an_index_follows_its_objects():
    store = Store(indexes={"color": lambda each: each.color.split(",")})
    store.put(thing("a", 1, color="red,blue"))
    store.put(thing("b", 2, color="blue"))
    names = lambda color: [each.metadata.name for each in store.by_index("color", color)]  # noqa: E731
    assert (names("red"), names("blue"), names("green")) == (["a"], ["a", "b"], [])
    store.put(thing("a", 3, color="green"))
    assert (names("red"), names("blue"), names("green")) == ([], ["b"], ["a"])
    store.remove(meta("b", 4))
    assert names("blue") == []
    assert store._indexes == {"color": {"green": A}}  # nothing of what was is left behind
    with pytest.raises(KeyError):
        store.by_index("size", "x")


def test_a_projection_shrinks_whatever_way_an_object_comes():
    store = Store(project=lambda each: Thing(metadata=each.metadata, color=each.color.upper()))
    store.put(thing("a", 1))
    store.observe(thing("b", 2))
    store.replace([thing("a", 1), thing("b", 2), thing("c", 3)], version=3)
    assert {each.color for each in store.list()} == {"RED"}


@pytest.mark.parametrize("broken", ["project", "indexes"])
def test_an_object_that_cannot_be_projected_or_indexed_is_poison_and_its_last_state_stays(broken, caplog):
    def fail(each):
        if each.weight:
            raise ValueError(each.weight)
        return each if broken == "project" else [each.color]

    store = Store(project=fail) if broken == "project" else Store(indexes={"x": fail})
    store.put(thing("a", 1))
    with caplog.at_level(logging.ERROR):
        assert not store.put(thing("a", 2, weight=1))
        store.replace([thing("a", 2, weight=1), thing("b", 2, weight=1), thing("c", 3)], version=5)
    assert store.get(A).metadata.resource_version == "1"
    assert sorted(key.name for key in store.poisoned()) == ["a", "b"]
    assert sorted(key.name for key in tuple(store.keys())) == ["a", "c"]
    assert store.put(thing("a", 6))
    assert sorted(key.name for key in store.poisoned()) == ["b"]


def test_poison_keeps_the_last_readable_state_until_it_is_cured_or_gone():
    store = Store()
    store.put(thing(version=5))
    seen = watched(store)
    store.poison(meta(version=6))
    assert store.get(A) is not None
    assert A in store.poisoned()
    assert seen == []
    store.replace([], version=7, poison=[meta(version=6)])
    assert store.get(A) is not None
    assert A in store.poisoned()
    store.remove(meta(version=8))
    assert store.get(A) is None
    assert store.poisoned() == {}


def test_poison_that_is_old_news_is_none():
    store = Store()
    store.put(thing(version=5))
    store.poison(meta(version=4))
    store.remove(meta("b", 9))
    store.poison(meta("b", 8))
    assert store.poisoned() == {}


def test_a_list_cures_poison():
    store = Store()
    store.poison(meta(version=6))
    store.replace([thing(version=7)], version=8)
    assert store.poisoned() == {}


def test_a_listener_that_fails_stops_nobody(caplog):
    store = Store()
    store.add_listener(lambda *_: 1 / 0)
    seen = watched(store)
    with caplog.at_level(logging.ERROR):
        store.put(thing())
    assert seen == [(None, "1")]
    assert "ns/a" in caplog.text
