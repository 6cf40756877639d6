from datetime import timedelta

import msgspec
import pytest

from kubekit.words import timestamps
from localkube.node.pod_kinds import Pod
from localkube.node.pods import (
    ContainerView,
    End,
    PodView,
    Rest,
    Running,
    Start,
    Terminated,
    Waiting,
    next_step,
    phase,
    refusal,
    status,
    unchanged,
)

NOW = timestamps.parse("2026-01-01T12:00:00Z")


def at(seconds):
    return timestamps.micros(NOW + timedelta(seconds=seconds))


def pod(policy="Never", *, init=(), containers=("main",), status=None, container=None):
    return msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {
                "restartPolicy": policy,
                "initContainers": [{"name": name} for name in init],
                "containers": [{"name": name, **(container or {})} for name in containers],
            },
            "status": status,
        },
        Pod,
    )


def ended(code=0, seconds=0, ran=1):
    return Terminated(code, "Completed" if code == 0 else "Error", started=at(seconds - ran), finished=at(seconds))


def view(*, doom=None, **containers):
    made = {name: each if isinstance(each, ContainerView) else ContainerView(each) for name, each in containers.items()}
    return PodView(made, "2026-01-01T11:00:00Z", doom=doom)


WAITING, RUNNING = Waiting(), Running(at(-5))


def step(made, seen):
    return next_step(made, seen, NOW, crash_base=10)


@pytest.mark.parametrize(
    ("policy", "state", "expected"),
    [
        ("Never", WAITING, Start(("main",))),
        ("Never", RUNNING, Rest()),
        ("Never", ended(0), End("Succeeded")),
        ("Never", ended(1), End("Failed")),
        ("OnFailure", ended(0), End("Succeeded")),
        ("OnFailure", ended(1), Rest(10)),
        ("OnFailure", ended(1, seconds=-10), Start(("main",))),
        ("Always", ended(0), Rest(10)),
        ("Always", ended(0, seconds=-10), Start(("main",))),
        ("OnFailure", ended(1, ran=700), Start(("main",))),
    ],
)
def test_the_restart_policy_decides_what_is_next(policy, state, expected):
    assert step(pod(policy), view(main=state)) == expected


@pytest.mark.parametrize(("restarts", "pause"), [(0, 10), (1, 20), (2, 40), (5, 300), (60, 300)])
def test_crash_back_off_doubles_up_to_five_minutes(restarts, pause):
    assert step(pod("Always"), view(main=ContainerView(ended(1), restarts=restarts))) == Rest(pause)


def test_a_container_that_sits_out_a_back_off_is_started_when_it_is_over():
    known = ContainerView(Waiting("CrashLoopBackOff"), last=ended(1, seconds=-4))
    assert step(pod("Always"), view(main=known)) == Rest(6)
    known = ContainerView(Waiting("CrashLoopBackOff"), last=ended(1, seconds=-10))
    assert step(pod("Always"), view(main=known)) == Start(("main",))


def test_init_containers_run_one_after_another_before_all_others():
    made = pod(init=("a", "b"), containers=("x", "y"))
    assert step(made, view(a=WAITING, b=WAITING, x=WAITING, y=WAITING)) == Start(("a",))
    assert step(made, view(a=RUNNING, b=WAITING, x=WAITING, y=WAITING)) == Rest()
    assert step(made, view(a=ended(), b=WAITING, x=WAITING, y=WAITING)) == Start(("b",))
    assert step(made, view(a=ended(), b=ended(), x=WAITING, y=WAITING)) == Start(("x", "y"))
    assert step(made, view(a=ended(1), b=WAITING, x=WAITING, y=WAITING)) == End("Failed")


def test_a_failed_init_container_is_tried_again_unless_never():
    assert step(pod("OnFailure", init=("a",)), view(a=ended(1, seconds=-10), main=WAITING)) == Start(("a",))


def test_one_container_that_still_runs_keeps_the_pod_open():
    made = pod(containers=("x", "y"))
    assert step(made, view(x=ended(1), y=RUNNING)) == Rest()
    assert phase(made, view(x=ended(1), y=RUNNING)) == "Running"
    assert step(made, view(x=ended(1), y=ended(0))) == End("Failed")


@pytest.mark.parametrize(
    ("made", "seen", "expected"),
    [
        (pod(), view(main=WAITING), "Pending"),
        (pod(), view(main=RUNNING), "Running"),
        (pod(), view(main=ended()), "Succeeded"),
        (pod(), view(main=ended(2)), "Failed"),
        (pod("Always"), view(main=ended()), "Running"),
        (pod("Always"), view(main=ContainerView(Waiting("CrashLoopBackOff"), last=ended(1))), "Running"),
        (pod(init=("a",)), view(a=RUNNING, main=WAITING), "Pending"),
        (pod(init=("a",)), view(a=ended(1), main=WAITING), "Failed"),
        (pod(), view(main=RUNNING, doom=("Why", "because")), "Failed"),
    ],
)
def test_the_phase_follows_from_the_containers(made, seen, expected):
    assert phase(made, seen) == expected


def conditions(found):
    return {c["type"]: (c["status"], c.get("reason", "")) for c in found["conditions"]}


def test_conditions_follow_the_containers():
    waiting = conditions(status(pod(init=("a",)), view(a=WAITING, main=WAITING), NOW))
    assert waiting["Initialized"] == ("False", "ContainersNotInitialized")
    assert waiting["Ready"] == ("False", "ContainersNotReady")
    running = conditions(status(pod(), view(main=RUNNING), NOW))
    assert (running["Ready"], running["ContainersReady"]) == (("True", ""), ("True", ""))
    done = conditions(status(pod(), view(main=ended()), NOW))
    assert done["Ready"] == ("False", "PodCompleted")


def test_conditions_of_others_stay_and_ours_keep_their_time():
    before = {
        "conditions": [
            {"type": "Theirs", "status": "True"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Initialized", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]
    }
    found = {c["type"]: c for c in status(pod(status=before), view(main=RUNNING), NOW)["conditions"]}
    assert found["Theirs"] == {"type": "Theirs", "status": "True"}
    assert found["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert found["Initialized"]["lastTransitionTime"] == "2026-01-01T12:00:00Z"


def test_how_a_container_ended_is_told_in_full():
    end = Terminated(143, "Error", started=at(-9), finished=at(-1), signal=15, message="m", id="/state#u/main/0")
    known = ContainerView(end, last=ended(1), restarts=3, id="/state#u/main/0")
    (told,) = status(pod(), view(main=known), NOW)["containerStatuses"]
    assert told["state"]["terminated"] == {
        "exitCode": 143,
        "reason": "Error",
        "startedAt": "2026-01-01T11:59:51Z",
        "finishedAt": "2026-01-01T11:59:59Z",
        "message": "m",
        "signal": 15,
        "containerID": "local://u/main/0",
    }
    assert (told["restartCount"], told["lastState"]["terminated"]["exitCode"]) == (3, 1)


def test_a_status_that_says_the_same_is_not_written_again():
    wanted = status(pod(), view(main=RUNNING), NOW)
    assert unchanged(pod(status=wanted), status(pod(status=wanted), view(main=RUNNING), NOW + timedelta(hours=1)))
    assert not unchanged(pod(status=wanted), status(pod(status=wanted), view(main=ended()), NOW))
    assert not unchanged(pod(), wanted)


def test_a_server_that_leaves_out_empty_fields_compares_equal():
    wanted = status(pod(), view(main=ended(0)), NOW)
    stored = msgspec.json.decode(msgspec.json.encode(wanted))
    for each in stored["containerStatuses"]:
        for name in [name for name, value in each.items() if value in ("", {}, None)]:
            del each[name]
    assert unchanged(pod(status=stored), wanted)


@pytest.mark.parametrize(
    ("container", "part"),
    [
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"readinessProbe": {}}, "readinessProbe"),
        ({"startupProbe": {}}, "startupProbe"),
        ({"lifecycle": {}}, "lifecycle"),
        ({"stdin": True}, "stdin"),
        ({"restartPolicy": "Always"}, "sidecars"),
    ],
)
def test_what_is_not_done_is_refused(container, part):
    assert part in refusal(pod(container=container))


def test_what_is_accepted_but_not_enforced_is_not_refused():
    fine = {
        "securityContext": {"runAsUser": 65534, "readOnlyRootFilesystem": True},
        "resources": {"limits": {"cpu": "1"}},
    }
    assert refusal(pod(container=fine)) is None
