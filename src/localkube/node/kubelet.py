"""Runs the Pods that are bound to this node, as child processes.

Level-triggered like everything else: each look at a Pod takes the object, what is on disk and what runs, and does the next step.

Guarantees:
- a container of a Pod with restartPolicy Never is never started twice, also over crashes of the node;
- before a container starts, and before what is on disk of a Pod goes, what the API server holds is durable (`settle`, law L6);
- no process of a Pod runs any more when the Pod is reported as ended or is gone, but for those that hide from it (`leftovers`);
- what cannot be done is said in a container's waiting reason and an event, and is taken up again when what was missing appears.
Assumptions: one node for each state directory; `processes` was opened, so nothing of an earlier node runs any more.
Caveats: see `localkube.node.names.LIMITS`. A Pod with restartPolicy Never whose container was cut off by the end of its node is
Failed with reason NodeRestart and the condition DisruptionTarget, so that a podFailurePolicy can tell it from a failure of its own.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words import timestamps
from kubekit.words.meta import Manifest
from localkube.node import pods
from localkube.node.conflicts import done_on_conflict
from localkube.node.directories import Settle, settled
from localkube.node.launch import Launcher, NotReady, Unready
from localkube.node.local_pod import LocalPod, absorb_ends, find, recover
from localkube.node.names import FIELD_MANAGER
from localkube.node.pod_directory import PodDirectory, all_directories
from localkube.node.pod_kinds import PODS, Container, Pod
from localkube.node.pods import ContainerView, End, Rest, Running, Start, Terminated, Waiting
from localkube.node.process import Exit, Processes, StartRefused

_log = logging.getLogger(__name__)

WORKERS = 8
DEFAULT_GRACE = 30
DEFAULT_CRASH_BASE = 10.0


class Kubelet:
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        *,
        node: str,
        state_dir: Path,
        processes: Processes,
        launcher: Launcher,
        clock: Clock,
        events: EventRecorder,
        pods_informer: Informer[Pod],
        crash_base: float = DEFAULT_CRASH_BASE,
        settle: Settle = settled,
    ) -> None:
        self._client = client
        self._node = node
        self._pods_dir = state_dir / "pods"
        self._processes = processes
        self._launcher = launcher
        self._clock = clock
        self._events = events
        self._pods = pods_informer
        self._crash_base = crash_base
        self._settle = settle
        self._local: dict[str, LocalPod] = {}
        self._uids: dict[Key, set[str]] = {}
        self._by_id: dict[str, tuple[str, str]] = {}
        self.controller = Controller(
            "kubelet",
            reconcile=done_on_conflict(self.reconcile),
            queue=Workqueue("kubelet", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=WORKERS,
            clock=clock,
        )
        self.controller.watch(pods_informer, self._keys)
        processes.on_exit(self._hear_exit)
        launcher.on_change(self._wake)

    async def recover(self) -> None:
        """Take in what is on disk. Call after `processes` is open and before the controller runs."""
        for uid, directory in await asyncio.to_thread(all_directories, self._pods_dir):
            key = await asyncio.to_thread(directory.key)
            if key is None:
                await asyncio.to_thread(directory.remove)
                continue
            self._enter(LocalPod(uid, key, directory))
            self.controller.queue.add(key)

    def _enter(self, local: LocalPod) -> LocalPod:
        self._local[local.uid] = local
        self._uids.setdefault(local.key, set()).add(local.uid)
        return local

    def _leave(self, local: LocalPod) -> None:
        self._local.pop(local.uid, None)
        uids = self._uids.get(local.key, set())
        uids.discard(local.uid)
        if not uids:
            self._uids.pop(local.key, None)

    async def find_log(self, key: Key, container: str, *, previous: bool) -> tuple[Path, Callable[[], bool]]:
        """Return a container's log file, and what tells whether it will still grow. Raises KeyError when there is none."""
        pod = self._pods.store.get(key)
        local = self._local.get(pod.metadata.uid) if pod is not None else None
        if local is None:
            raise KeyError(f'pod "{key}" is not on this node')
        attempts = await asyncio.to_thread(local.directory.attempts, container)
        index = -2 if previous else -1
        if len(attempts) < -index:
            view = local.views.get(container, ContainerView())
            why = view.state.reason if isinstance(view.state, Waiting) else "it was not started before"
            raise KeyError(f'container "{container}" in pod "{key.name}" is waiting to start: {why}')
        attempt = attempts[index]

        def ended() -> bool:
            view = local.views.get(container)
            return view is None or view.id != attempt.id or not isinstance(view.state, Running)

        return local.directory.log(container, attempt.number), ended

    def _keys(self, old: Pod | None, new: Pod | None) -> list[Key]:
        pod = new or old
        return [key_of(pod.metadata)] if pod is not None and pod.node == self._node else []

    def _wake(self, uid: str) -> None:
        local = self._local.get(uid)
        if local is not None:
            self.controller.queue.add(local.key)

    def _hear_exit(self, id_: str, end: Exit) -> None:
        uid, container = self._by_id.pop(id_, ("", ""))
        local = self._local.get(uid)
        if local is not None:
            local.ends[container] = end
            self.controller.queue.add(local.key)

    async def reconcile(self, key: Key) -> Result:
        """Bring one Pod a step on."""
        pod = self._pods.store.get(key)
        waits: list[float] = []
        for local in [self._local[uid] for uid in self._uids.get(key, ())]:
            if pod is None or pod.metadata.uid != local.uid:
                wait = await self._remove_local(local)
                waits += [wait] if wait is not None else []
        if pod is not None and pod.node == self._node:
            wait = await self._bring_on(pod)
            waits += [wait] if wait is not None else []
        return After(min(waits)) if waits else DONE

    async def _remove_local(self, local: LocalPod) -> float | None:
        """The Pod object is gone: so must be everything of it."""
        await absorb_ends(local, None, clock=self._clock)
        if local.running:
            return self._kill(local, 2)
        self._launcher.forget(local.uid)
        await self._settle()
        await asyncio.to_thread(local.directory.remove)
        self._leave(local)
        return None

    async def _bring_on(self, pod: Pod) -> float | None:
        uid = pod.metadata.uid
        local = self._local.get(uid)
        if local is None:
            if pod.finished and not pod.metadata.terminating:
                return None
            local = self._enter(LocalPod(uid, key_of(pod.metadata), PodDirectory(self._pods_dir / uid)))
            if not pod.finished:
                await asyncio.to_thread(local.directory.make, local.key)
        if not local.recovered:
            await recover(pod, local, clock=self._clock)
        await absorb_ends(local, pod, clock=self._clock)
        if pod.metadata.terminating:
            return await self._terminate(pod, local)
        if pod.finished:
            await self._retire(local)
            return None
        return await self._sync(pod, local)

    # --- what to do -----------------------------------------------------------------------------

    async def _sync(self, pod: Pod, local: LocalPod) -> float | None:
        now = self._clock.now()
        left = self._deadline_left(pod, local, now)
        if left is not None and left <= 0 and local.doom is None:
            message = "Pod was active on the node longer than the specified deadline"
            local.doom = ("DeadlineExceeded", message)
            self._tell(pod, "Normal", "DeadlineExceeded", message, "Kill")
        if local.doom is not None:
            if local.running:
                return self._kill(local, _grace(pod))
            await self._write_status(pod, local)
            return None
        refusal = pods.refusal(pod)
        if refusal is not None:
            self._wait_all(local, Waiting("CreateContainerError", refusal))
            self._tell(pod, "Warning", "Failed", f"Error: {refusal}", "Start")
            await self._write_status(pod, local)
            return left
        step = pods.next_step(pod, local.view, now, crash_base=self._crash_base)
        wait: float | None = None
        if isinstance(step, Start):
            wait = await self._start_all(pod, local, step.names)
        elif isinstance(step, Rest):
            wait = step.seconds
            self._note_back_off(pod, local)
        await self._write_status(pod, local)
        if isinstance(step, End):
            self._launcher.forget(local.uid)
            return None
        return min((each for each in (wait, left) if each is not None), default=None)

    def _deadline_left(self, pod: Pod, local: LocalPod, now: datetime) -> float | None:
        seconds = pod.spec.active_deadline_seconds if pod.spec else None
        if seconds is None:
            return None
        return (timestamps.parse(local.started) - now).total_seconds() + seconds

    async def _start_all(self, pod: Pod, local: LocalPod, names: tuple[str, ...]) -> float | None:
        waits: list[float] = []
        for name in names:
            container = find(pod, name)
            if container is not None:
                wait = await self._start(pod, local, container)
                waits += [wait] if wait is not None else []
        begun = all(not isinstance(view.state, Waiting) for view in local.views.values())
        if begun and pod.spec is not None and pod.spec.restart_policy == "Never":
            self._launcher.forget(local.uid)  # nothing of it will be needed again
        return min(waits, default=None)

    async def _start(self, pod: Pod, local: LocalPod, container: Container) -> float | None:
        view = local.views[container.name]
        again = isinstance(view.state, Terminated) or view.last is not None
        number = view.restarts + 1 if again else 0
        id_ = self._launcher.container_id(local.uid, container.name, number)
        try:
            command = await self._launcher.prepare(pod, container, local.directory, number=number)
        except NotReady:
            return None  # the launcher wakes us
        except Unready as problem:
            self._hold(pod, local, container, problem)
            return problem.again
        await self._settle()
        last = view.state if isinstance(view.state, Terminated) else view.last
        self._by_id[id_] = (local.uid, container.name)
        try:
            await self._processes.start(id_, command)
        except StartRefused as error:
            self._by_id.pop(id_, None)
            now = self._now()
            end = Terminated(128, "StartError", started=now, finished=now, message=str(error), id=id_)
            local.views[container.name] = ContainerView(end, last=last, restarts=number, id=id_)
            self._tell(pod, "Warning", "Failed", f"Error: {error}", "Start")
            self.controller.queue.add(local.key)
            return None
        local.kill_at, local.killed = None, False
        local.views[container.name] = ContainerView(Running(self._now()), last=last, restarts=number, id=id_)
        self._tell(pod, "Normal", "Started", f"Started container {container.name}", "Start")
        return None

    def _hold(self, pod: Pod, local: LocalPod, container: Container, problem: Unready) -> None:
        view = local.views[container.name]
        last = view.state if isinstance(view.state, Terminated) else view.last
        local.views[container.name] = replace(view, state=Waiting(problem.reason, problem.message), last=last)
        self._tell(pod, "Warning", problem.event, problem.event_message, "Start")

    def _note_back_off(self, pod: Pod, local: LocalPod) -> None:
        """A container that sits out a back-off is waiting, with its end in `last`."""
        for name, view in local.views.items():
            if not isinstance(view.state, Terminated) or not pods.restarts(pod, view.state):
                continue
            pause = pods.crash_pause(view, self._crash_base)
            where = f"{local.key.name}_{local.key.namespace}({local.uid})"
            message = f"back-off {pause:g}s restarting failed container={name} pod={where}"
            local.views[name] = replace(view, state=Waiting("CrashLoopBackOff", message), last=view.state)
            self._tell(pod, "Warning", "BackOff", f"Back-off restarting failed container {name}", "Restart")

    def _wait_all(self, local: LocalPod, waiting: Waiting) -> None:
        for name, view in local.views.items():
            if isinstance(view.state, Waiting):
                local.views[name] = replace(view, state=waiting)

    # --- the end --------------------------------------------------------------------------------

    def _kill(self, local: LocalPod, grace: float) -> float:
        """Ask what runs to end, and make it end after `grace` seconds. Return in how many seconds to look again."""
        now = self._clock.monotonic()
        if local.kill_at is None:
            local.kill_at = now + grace
            for view in local.running:
                self._processes.send_signal(view.id, signal.SIGTERM)
        local.kill_at = min(local.kill_at, now + grace)
        if now >= local.kill_at and not local.killed:
            local.killed = True
            for view in local.running:
                self._processes.send_signal(view.id, signal.SIGKILL)
        return max(local.kill_at - now, 0.05) if not local.killed else 1.0

    async def _terminate(self, pod: Pod, local: LocalPod) -> float | None:
        """The Pod is to go: end its processes, say how they ended, let the object go."""
        meta = pod.metadata
        grace = meta.deletion_grace_period_seconds if meta.deletion_grace_period_seconds is not None else _grace(pod)
        if local.running:
            if local.kill_at is None:
                self._tell(pod, "Normal", "Killing", "Stopping containers", "Kill")
            return self._kill(local, grace)
        self._launcher.forget(local.uid)
        if not pod.finished:
            view = local.view
            wanted = pods.status(pod, view, self._clock.now())
            ends = [view.containers[c.name].state for c in pods.containers_of(pod)]
            done = bool(ends) and all(isinstance(end, Terminated) and end.code == 0 for end in ends)
            wanted["phase"] = "Succeeded" if done else "Failed"
            await self._patch_status(pod, wanted)
        await self._retire(local)
        if meta.deletion_grace_period_seconds != 0:
            try:
                await self._client.delete(
                    PODS, meta.name, namespace=meta.namespace, uid=meta.uid, grace_period_seconds=0
                )
            except (NotFound, Conflict):
                return None
        return None

    async def _retire(self, local: LocalPod) -> None:
        """Nothing of it runs again: volumes go, logs stay until the object goes."""
        self._launcher.forget(local.uid)
        if not local.volumes_gone:
            await self._settle()
            await asyncio.to_thread(local.directory.remove_volumes)
            local.volumes_gone = True

    # --- telling --------------------------------------------------------------------------------

    async def _write_status(self, pod: Pod, local: LocalPod) -> None:
        wanted = pods.status(pod, local.view, self._clock.now())
        if not pods.unchanged(pod, wanted):
            await self._patch_status(pod, wanted)

    async def _patch_status(self, pod: Pod, status: Manifest) -> None:
        meta = pod.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": status}
        try:
            after = await self._client.patch(
                PODS, meta.name, patch, namespace=meta.namespace, subresource="status", field_manager=FIELD_MANAGER
            )
        except (NotFound, Conflict):
            return  # gone, or another Pod by now
        self._pods.store.observe(after)

    def _tell(self, pod: Pod, type_: str, reason: str, message: str, action: str) -> None:
        self._events.record(pod.metadata, PODS, type_, reason, message, action)

    def _now(self) -> str:
        return timestamps.micros(self._clock.now())


def _grace(pod: Pod) -> int:
    seconds = pod.spec.termination_grace_period_seconds if pod.spec else None
    return DEFAULT_GRACE if seconds is None else seconds
