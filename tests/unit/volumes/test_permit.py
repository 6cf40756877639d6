"""Who may copy from another namespace: what the webhook writes is believed, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.volumes.permit import SECONDS, CloneSource, find_refusal, issue_permit
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import seconds

KEY = b"k" * 32
MADE = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
SOURCE = CloneSource("pvc", "images", "debian")


def permit(key: bytes = KEY, **changes: object) -> str:
    said: dict[str, object] = {"namespace": "shop", "name": "disk", "source": SOURCE, "at": MADE}
    return issue_permit(key, **{**said, **changes})  # type: ignore[arg-type]


def volume(said: str | None, **changes: object) -> ObjectMeta:
    annotations = {names.CLONE_PERMIT: said} if said is not None else None
    meta = ObjectMeta(name="disk", namespace="shop", creation_timestamp=seconds(MADE), annotations=annotations)
    return changed(meta, **changes)


def test_what_the_webhook_wrote_for_this_volume_and_this_source_is_believed():
    assert find_refusal(volume(permit()), SOURCE, keys=[KEY]) is None


def test_the_own_namespace_needs_no_permit():
    assert find_refusal(volume(None), CloneSource("pvc", "shop", "debian"), keys=[]) is None


def test_a_permit_for_a_whole_namespace_holds_for_each_source_in_it():
    said = permit(source=CloneSource("pvc", "images"))
    assert find_refusal(volume(said), SOURCE, keys=[KEY]) is None


def test_a_name_that_the_server_gives_begins_as_the_permit_says():
    said = permit(name="disk-", prefix=True)
    assert find_refusal(volume(said, name="disk-x7k2p"), SOURCE, keys=[KEY]) is None
    assert "another DataVolume" in (find_refusal(volume(said, name="other-x7k2p"), SOURCE, keys=[KEY]) or "")


def test_a_former_key_is_believed_as_long_as_it_is_kept():
    assert find_refusal(volume(permit()), SOURCE, keys=[b"n" * 32, KEY]) is None


@pytest.mark.parametrize(
    ("meta", "source", "problem"),
    [
        (volume(None), SOURCE, "nobody has found"),
        (volume(""), SOURCE, "not one that the webhook has written"),
        (volume("true"), SOURCE, "not one that the webhook has written"),
        (volume("[" * 200), SOURCE, "not one that the webhook has written"),
        (volume('{"at": 1e400}'), SOURCE, "not one that the webhook has written"),
        (volume("x" * 10_000), SOURCE, "not one that the webhook has written"),
        (volume('{"namespace": "shop\\ud800"}'), SOURCE, "not one that the webhook has written"),
        (volume('{"signature": "ü"}'), SOURCE, "not one that the webhook has written"),
        (volume(permit(b"f" * 32)), SOURCE, "not one that the webhook has written"),
        (volume(permit(), name="other"), SOURCE, "another DataVolume"),
        (volume(permit(), namespace="other"), SOURCE, "another DataVolume"),
        (volume(permit()), replace(SOURCE, name="secrets"), "another source"),
        (volume(permit()), replace(SOURCE, namespace="vault"), "another source"),
        (volume(permit()), replace(SOURCE, kind="snapshot"), "another source"),
        (
            volume(permit(), creation_timestamp=seconds(MADE + timedelta(seconds=SECONDS + 1))),
            SOURCE,
            "not written when it was created",
        ),
        (
            volume(permit(), creation_timestamp=seconds(MADE - timedelta(seconds=SECONDS + 1))),
            SOURCE,
            "not written when it was created",
        ),
        (volume(permit(), creation_timestamp=None), SOURCE, "not one that the webhook has written"),
    ],
)
def test_anything_else_is_refused_with_its_reason(meta, source, problem):
    assert problem in (find_refusal(meta, source, keys=[KEY]) or "it was believed")


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"namespace": "vault"}, {"sourceName": "secrets"}, {"at": 0}, {"prefix": True}, {"name": ""}],
)
def test_no_word_of_it_can_be_changed(change):
    said = {**msgspec.json.decode(permit()), **change}
    meta = volume(msgspec.json.encode(said).decode())
    assert "not one that the webhook has written" in (find_refusal(meta, SOURCE, keys=[KEY]) or "it was believed")


@pytest.mark.parametrize("keys", [[], [b""], [b"short"]])
def test_without_a_key_nothing_is_believed(keys):
    said = [issue_permit(key, namespace="shop", name="disk", source=SOURCE, at=MADE) for key in keys or [KEY]]
    assert find_refusal(volume(said[0]), SOURCE, keys=keys) is not None
