import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import TransportError
from kubekit.runtime.precondition import Precondition, PreconditionLost
from kubekit.words.meta import ObjectMeta, PartialObject
from support.clock import VirtualClock, settle
from support.scripted_transport import ScriptedTransport, answer, failure

PATH = "/api/v1/things/a"


def judge(found) -> str | None:
    if found is None:
        return "there is none: make one"
    return None if found["size"] > 1 else f"size {found['size']} is too small"


class Changes:
    """Stands for the informer: hands on what a watch would have seen."""

    def add_handler(self, handler) -> None:
        self.handler = handler

    def see(self, generation: int | None, *, uid: str = "u") -> None:
        metadata = ObjectMeta(name="a", uid=uid, generation=generation)
        after = None if generation is None else PartialObject(metadata=metadata)
        self.handler(None, after)


class World:
    def __init__(self, *script) -> None:
        self.clock = VirtualClock()
        self.transport = ScriptedTransport(*script)
        client = Client(self.transport, clock=self.clock, jitter=lambda: 0.0)
        self.changes = Changes()
        self.precondition = Precondition(client, PATH, judge=judge, changes=self.changes, clock=self.clock)  # type: ignore[arg-type]
        self.worked = 0

    async def work(self) -> None:
        self.worked += 1


@asynccontextmanager
async def running(*script):
    world = World(*script)
    tasks = [asyncio.create_task(world.precondition.run()), asyncio.create_task(world.precondition.hold(world.work))]
    await settle()
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert world.clock.sleeping == 0


def test_nobody_is_ready_before_it_was_looked_at() -> None:
    assert World().precondition.check() == "not looked at yet"


async def test_what_is_right_at_once_costs_one_request_and_no_other_ever() -> None:
    async with running(answer(body={"size": 2})) as world:
        assert world.worked == 1
        assert world.precondition.check() is None
        await world.clock.advance(3600)
        assert [(request.method, request.path) for request in world.transport.requests] == [("GET", PATH)]


async def test_what_is_wrong_is_told_looked_at_again_every_interval_and_heals(caplog) -> None:
    caplog.set_level(logging.INFO)
    script = (failure(404), answer(body={"size": 1}), answer(body={"size": 1}), answer(body={"size": 2}))
    problems = ["there is none: make one", "size 1 is too small", "size 1 is too small", None]
    async with running(*script) as world:
        for number, problem in enumerate(problems, start=1):
            assert world.precondition.check() == problem
            assert len(world.transport.requests) == number
            assert world.worked == (problem is None)
            await world.clock.advance(29)
            assert len(world.transport.requests) == number
            await world.clock.advance(1.1)
        await world.clock.advance(3600)
        assert len(world.transport.requests) == 4
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("ERROR", "there is none: make one"),
        ("ERROR", "size 1 is too small"),
        ("INFO", f"{PATH} is as it has to be now: work begins"),
    ]


async def test_what_may_not_be_read_holds_up_nothing(caplog) -> None:
    caplog.set_level(logging.INFO)
    async with running(failure(403, message="cannot get things")) as world:
        assert world.worked == 1
        assert world.precondition.check() is None
    assert "cannot get things" in caplog.text


@pytest.mark.parametrize("trouble", [failure(500), TransportError("no route")])
async def test_a_server_in_trouble_is_asked_again(trouble) -> None:
    async with running(trouble, *([trouble] * 20)) as world:
        await world.clock.advance(20)
        assert world.worked == 0
        assert "cannot be read" in (world.precondition.check() or "")
        world.transport.script[:] = [answer(body={"size": 2})]
        await world.clock.advance(60)
        assert world.worked == 1


async def test_the_end_of_the_work_is_the_end_of_holding() -> None:
    world = World(answer(body={"size": 2}))
    run = asyncio.create_task(world.precondition.run())
    await world.precondition.hold(world.work)
    assert world.worked == 1
    assert not run.done(), "a background task that ends would stop everything"
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


def sized(size: int, generation: int, *, uid: str = "u"):
    return answer(body={"size": size, "metadata": {"uid": uid, "generation": generation}})


async def test_another_object_of_the_same_name_is_looked_at_though_it_counts_from_one_again() -> None:
    world = World(sized(2, 1), sized(1, 1, uid="another"))
    task = asyncio.create_task(world.precondition.run())
    await settle()
    world.changes.see(1, uid="another")
    with pytest.raises(PreconditionLost, match="size 1"):
        await task


async def test_a_change_that_is_as_it_has_to_be_costs_one_look_and_one_of_the_status_none() -> None:
    async with running(sized(2, 1), sized(3, 2)) as world:
        world.changes.see(1)
        await settle()
        assert len(world.transport.requests) == 1
        world.changes.see(2)
        await settle()
        assert len(world.transport.requests) == 2
        world.changes.see(2)
        await settle()
        assert len(world.transport.requests) == 2
        assert world.precondition.check() is None


@pytest.mark.parametrize(("late", "words"), [(sized(1, 2), "size 1 is too small"), (failure(404), "there is none")])
async def test_a_change_for_the_worse_ends_the_work(late, words: str) -> None:
    world = World(sized(2, 1), late)
    task = asyncio.create_task(world.precondition.run())
    await settle()
    world.changes.see(None if words == "there is none" else 2)
    with pytest.raises(PreconditionLost, match=words):
        await task


async def test_a_change_that_cannot_be_read_is_looked_at_again() -> None:
    world = World(sized(2, 1), failure(403), failure(400), sized(1, 3))
    task = asyncio.create_task(world.precondition.run())
    await settle()
    world.changes.see(2)
    await settle()
    assert len(world.transport.requests) == 2, "what may not be read is not asked for in vain"
    world.changes.see(3)
    await settle()
    assert not task.done()
    await world.clock.advance(31)
    with pytest.raises(PreconditionLost, match="size 1"):
        await task
