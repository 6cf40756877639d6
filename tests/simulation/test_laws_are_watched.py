"""The harness itself: an operator that breaks a law is caught."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from datamover.api.names import FIELD_MANAGER, RUN_ID_LABEL
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from kubekit.client.client import Client
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from localkube.transport import LocalTransport
from support.simulation.endings import check_rest, check_telling
from support.simulation.history import LawBroken
from support.simulation.trees import name_of, uid_of
from support.simulation.world import CANARY, SOURCE, SPACE, World, simulate

Misdeed = Callable[[World, Client], Awaitable[Any]]


def clone_of(world: World) -> dict[str, Any]:
    (clone,) = [claim for claim in world.user.all(PERSISTENT_VOLUME_CLAIMS) if name_of(claim) != SOURCE]
    return clone


async def write_status(world: World, client: Client, **changes: Any) -> None:
    mover = world.mover() or {}
    status = {**mover["status"], **changes}
    metadata = {"name": name_of(mover), "namespace": SPACE}
    await client.apply(DATA_MOVERS, {"metadata": metadata, "status": status}, field_manager="x", subresource="status")


async def touch_source(world: World, client: Client) -> None:
    patch = {"metadata": {"labels": {"seen": "yes"}}}
    await client.patch(PERSISTENT_VOLUME_CLAIMS, SOURCE, patch, namespace=SPACE, field_manager="x")


async def delete_source(world: World, client: Client) -> None:
    source = world.user.find(PERSISTENT_VOLUME_CLAIMS, SOURCE, SPACE) or {}
    await client.delete(PERSISTENT_VOLUME_CLAIMS, SOURCE, namespace=SPACE, uid=uid_of(source))


async def delete_blindly(world: World, client: Client) -> None:
    await client.delete(PERSISTENT_VOLUME_CLAIMS, name_of(clone_of(world)), namespace=SPACE)


async def delete_foreign(world: World, client: Client) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = world.user.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "restored-x"}, "spec": spec}, SPACE)
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "restored-x", namespace=SPACE, uid=uid_of(made))


async def complete_early(world: World, client: Client) -> None:
    await write_status(world, client, phase="Completed")


async def change_run(world: World, client: Client) -> None:
    run = {**(world.mover() or {})["status"]["run"], "timestamp": "1999-01-01-000000"}
    await write_status(world, client, run=run)


async def clone_twice(world: World, client: Client) -> None:
    clone = clone_of(world)
    metadata = {key: clone["metadata"][key] for key in ("labels", "ownerReferences")}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    manifest = {"metadata": {"name": "restored-again", **metadata}, "spec": spec}
    await client.create(PERSISTENT_VOLUME_CLAIMS, manifest, namespace=SPACE)


async def forget_the_run(world: World, client: Client) -> None:
    job = world.user.find(JOBS, (world.mover() or {})["status"]["run"]["jobName"], SPACE) or {}
    metadata = {key: job["metadata"][key] for key in ("labels", "ownerReferences")}
    metadata["labels"] = {**metadata["labels"], RUN_ID_LABEL: "another"}
    spec = {"template": job["spec"]["template"], "podFailurePolicy": job["spec"]["podFailurePolicy"]}
    labels = {key: value for key, value in spec["template"]["metadata"]["labels"].items() if "job" not in key}
    spec["template"]["metadata"]["labels"] = {k: v for k, v in labels.items() if "controller-uid" not in k}
    manifest = {"metadata": {"name": "verify-again", **metadata}, "spec": spec}
    await client.create(JOBS, manifest, namespace=SPACE)


async def tell_the_secret(world: World, client: Client) -> None:
    await write_status(world, client, message=f"the key is {CANARY}")


async def stall_in_silence(world: World, client: Client) -> None:
    conditions = [{"type": "Stalled", "status": "True", "reason": "Whatever", "message": ""}]
    await write_status(world, client, conditions=conditions)


async def go_back(world: World, client: Client) -> None:
    await write_status(world, client, phase="CreatingClonedPVC")


MISDEEDS: dict[str, tuple[str, Misdeed]] = {
    "it labels the source": ("L1", touch_source),
    "it deletes the source": ("L1", delete_source),
    "it deletes without a UID": ("L2", delete_blindly),
    "it deletes what is not its own": ("L2", delete_foreign),
    "it completes a run that still moves": ("L4", complete_early),
    "it changes what was decided": ("L6", change_run),
    "it makes a second clone": ("L7", clone_twice),
    "it makes a Job of another run": ("L6", forget_the_run),
    "it tells a secret": ("L8", tell_the_secret),
    "it stalls without a sentence": ("L10", stall_in_silence),
    "it goes back to an earlier phase": ("phases", go_back),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_an_operator_that_breaks_a_law_is_caught(misdeed: str) -> None:
    law, act = MISDEEDS[misdeed]

    async def story(world: World) -> None:
        world.furnish()
        operator = world.start_operator()
        pod = world.entering("CreatingPod")
        world.give_mover(deletePvcAfterBackup=True)
        await pod.wait()
        await asyncio.sleep(0.2)
        operator.kill()
        assert not world.history.broken
        await act(world, Client(LocalTransport(world.server), user_agent=FIELD_MANAGER))

    with pytest.raises(LawBroken, match=rf"(?m)^{law}: "):
        simulate(story, seed=misdeed)


def test_a_write_without_a_change_is_caught() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover()
        await world.until_quiet()
        world.spawn(write_status(world, Client(LocalTransport(world.server), user_agent=FIELD_MANAGER)))
        from support.simulation.stories import check_idle

        await check_idle(world)

    with pytest.raises(LawBroken, match=r"(?m)^L9: "):
        simulate(story, seed="busy")


def test_a_silent_wait_and_an_untold_failure_are_caught() -> None:
    async def story(world: World) -> None:
        world.furnish(secret=False)
        world.start_operator().kill()
        mover = world.give_mover()
        world.ledger.record(uid_of(mover)).told.append(("", "SecretNotFound"))
        await world.until_quiet()
        check_rest(world)
        check_telling(world)

    with pytest.raises(LawBroken) as caught:
        simulate(story, seed="silence")
    assert "L10: backup rests in phase none without a reason" in str(caught.value)
    assert "L10: no event tells SecretNotFound" in str(caught.value)
    assert "L10: no metric counts SecretNotFound" in str(caught.value)


def test_two_movers_at_once_are_caught() -> None:
    async def story(world: World) -> None:
        world.furnish()
        world.start_operator()
        world.give_mover()
        pod = world.entering("CreatingPod")
        await pod.wait()
        await asyncio.sleep(1.5)
        from kubekit.words.core import PODS

        (running,) = world.user.all(PODS)
        world.destination.begin({**running, "metadata": {**running["metadata"], "uid": "another"}}, "data")

    with pytest.raises(LawBroken, match=r"(?m)^L7: two movers"):
        simulate(story, seed="two")


def test_a_broken_law_tells_the_seed_and_the_history() -> None:
    async def story(world: World) -> None:
        world.furnish()
        raise AssertionError("something else")

    with pytest.raises(LawBroken) as caught:
        simulate(story, seed=4711)
    text = str(caught.value)
    assert "DATAMOVER_SEED=4711" in text
    assert "0.000  user       creates claim data" in text
    assert "something else" in text
