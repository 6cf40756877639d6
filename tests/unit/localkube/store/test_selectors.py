import pytest

from localkube.store.selectors import Selector, parse_labels, parse_selector
from localkube.store.statuses import StatusError
from localkube.store.storage import Record


def record(labels=None, fields=None, name="n", namespace="ns"):
    return Record(namespace=namespace, name=name, uid="u", revision=1, data=b"{}", labels=labels, fields=fields)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": "x"}, False),
        ("!a", None, True),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {}, False),
        ("a notin (b,c)", {"a": "d"}, True),
        ("a notin (b,c)", {}, True),
        ("a in (b,c),!d", {"a": "b", "d": "x"}, False),
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "4"}, False),
        ("a<3", {"a": "x"}, False),
        ("x.io/a=b", {"x.io/a": "b"}, True),
        ("a=", {"a": ""}, True),
        ("", {"a": "b"}, True),
    ],
)
def test_label_selectors(text, labels, selected):
    assert Selector(parse_labels(text)).matches(record(labels)) is selected


@pytest.mark.parametrize("text", ["a b", "a=b=c", "a in (", "=b", "a>x", "a=b c", "-a=b", "a/b/c=d"])
def test_a_label_selector_that_does_not_parse_is_a_bad_request(text):
    with pytest.raises(StatusError) as refused:
        parse_labels(text)

    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("metadata.name=n", True),
        ("metadata.name!=n", False),
        ("metadata.namespace=ns", True),
        ("status.phase=Running", True),
        ("status.phase==Pending", False),
        ("status.phase!=Running,metadata.name=n", False),
    ],
)
def test_field_selectors(text, selected):
    selector = parse_selector("", text, known={"status.phase"})

    assert selector.matches(record(fields={"status.phase": "Running"})) is selected


@pytest.mark.parametrize("text", ["spec.size=1", "status.phase", "status.phase>3"])
def test_an_unknown_field_or_operator_is_a_bad_request(text):
    with pytest.raises(StatusError) as refused:
        parse_selector("", text, known={"status.phase"})

    assert refused.value.code == 400


def test_a_selector_knows_the_one_name_that_it_selects():
    assert parse_selector("", "metadata.name=x", known=()).name == "x"
    assert parse_selector("", "metadata.name!=x", known=()).name is None
    assert not parse_selector("", "", known=())
