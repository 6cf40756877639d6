"""What a restore is told by the environment of its container, and how it speaks of fields instead of options."""

from typing import Any

import pytest

from datamover.agent.errors import Misconfigured
from datamover.agent.files import losses
from datamover.agent.restore import reasons
from datamover.agent.restore.settings import read_settings
from datamover.agent.restore.wording import name_fields
from datamover.api import restore as words
from datamover.api import transfer
from datamover.api.ownership import Owner, labels_of
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from kubekit.words.meta import ObjectMeta

SECRET = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "BUCKET_HOST": "minio", "BUCKET_NAME": "backups"}


def read(**changes: str) -> Any:
    return read_settings(SECRET | changes, run_id="made-up")


def test_defaults() -> None:
    found = read()
    assert (found.point, found.source, found.order.path, found.order.directory) == ("latest", "", b"", "/data")
    assert (found.order.overwrite, found.order.privileges, found.order.special) == (False, False, False)
    assert (found.disturbed, found.may_be_missing, found.run_id, found.order.restore) == (
        False,
        False,
        "made-up",
        "made-up",
    )
    assert (found.deadline, found.grace, found.store.root, found.store.config) == (0, 20, "backups", "/config")


def test_said() -> None:
    found = read(
        **{
            words.POINT: " as-of:2h ",
            words.SOURCE: "ns/pvc",
            words.PATH: "/ a b ",
            words.OVERWRITE: "true",
            words.ON_MISSING: "Empty",
            words.DISTURBED: "true",
            words.PRIVILEGES: "true",
            words.SPECIAL: "true",
            transfer.RUN_ID: "r-1",
            transfer.ROOT: "/pod/",
            transfer.DEADLINE: "90",
        }
    )
    assert (found.point, found.source, found.order.directory) == ("as-of:2h", "ns/pvc", "/pod/data")
    assert found.order.path == b" a b ", "white space in a path is meant"
    assert (found.order.overwrite, found.order.privileges, found.order.special) == (True, True, True)
    assert (found.disturbed, found.may_be_missing, found.run_id, found.deadline) == (True, True, "r-1", 90)
    assert found.store.config == "/pod/config"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (words.TARGET, "data"),
        (words.TARGET, "/data/../etc"),
        (words.TARGET, "/"),
        (words.PATH, "a//b"),
        (words.ON_MISSING, "empty"),
        (words.SPECIAL, "1"),
        (transfer.RUN_ID, "../x"),
        (transfer.DEADLINE, "soon"),
        (transfer.BUCKET_PORT, "many"),
    ],
    ids=range(9),
)
def test_wrong(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read(**{name: value})
    assert name in caught.value.message


def test_all_at_once() -> None:
    """What is wrong with the order and with the bucket is told together."""
    with pytest.raises(Misconfigured) as caught:
        read_settings({words.OVERWRITE: "yes"}, run_id="r")
    for name in (words.OVERWRITE, "BUCKET_HOST", "BUCKET_NAME", "AWS_ACCESS_KEY_ID"):
        assert name in caught.value.message


def test_job_is_understood() -> None:
    """What the Job says is what is read here, also against a Secret with the same names."""
    from datamover.movers.restore import Restore, build_job

    meta = ObjectMeta(name="back", namespace="apps", uid="u")
    asked = Restore(
        run_id="r1",
        namespace="apps",
        object_name="back",
        secret_name="s",
        point="2024-08-01-143052",
        source="a/b",
        path="x/y",
        on_missing=words.EMPTY,
        deadline_seconds=7,
    )
    made: Any = build_job(Owner(REPLICATION_SOURCES, meta, labels_of(meta, run_id="r1")), asked, name="j", claim="c")
    told = {each["name"]: each["value"] for each in made["spec"]["template"]["spec"]["containers"][0]["env"]}
    found = read_settings(SECRET | dict.fromkeys(told, "99") | told, run_id="other")
    assert (found.run_id, found.point, found.source, found.order.path) == ("r1", "2024-08-01-143052", "a/b", b"x/y")
    assert (found.may_be_missing, found.deadline, found.order.directory, found.store.engine) == (True, 7, "/data", "")


def test_options_become_fields() -> None:
    said = [
        reasons.not_empty("/data", ["a"]),
        reasons.too_small("/data", needed=2, free=1),
        reasons.full("no space"),
        reasons.otherwise(("a: it is not there",), 1),
    ]
    for sentence in (*(failure.message for failure in said), losses.PRIVILEGED_BITS, losses.SPECIAL):
        assert "--" not in name_fields(sentence)
        assert "command" not in name_fields(sentence)
    assert "set overwrite: true" in name_fields(said[0].message)
    assert name_fields("a file --path of yours") == "a file --path of yours", "names of files stay"
