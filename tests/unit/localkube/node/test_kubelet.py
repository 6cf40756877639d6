import asyncio
import base64
import os
import time

import pytest

from kubekit.client.errors import BadRequest
from localkube.node.kinds import CLAIMS, CONFIG_MAPS, NODES, SECRETS
from localkube.node.names import LIMITS_ANNOTATION
from localkube.node.pod_kinds import PODS

ROOT = "$DATAMOVER_ROOT"


def terminated(pod, index=0):
    return pod.status.container_statuses[index]["state"]["terminated"]


def condition(pod, type_):
    return next(c for c in pod.status.conditions if c["type"] == type_)


async def until_log(world, word, name="p"):
    async def has():
        try:
            return word in await world.log(name)
        except Exception:
            return False

    await world.until(has, what=f"{word} in the log")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_pod_runs_to_its_end(world):
    await world.pod(script=f"echo out; echo said > {ROOT}/dev/termination-log")
    pod = await world.until_phase()
    assert pod.status.phase == "Succeeded"
    assert pod.node == "n"
    end = terminated(pod)
    assert (end["exitCode"], end["reason"], end["message"]) == (0, "Completed", "said\n")
    assert (pod.status.pod_ip, pod.status.host_ip) == ("127.0.0.1", "127.0.0.1")
    assert condition(pod, "PodScheduled")["status"] == "True"
    assert (condition(pod, "Ready")["status"], condition(pod, "Ready")["reason"]) == ("False", "PodCompleted")
    assert await world.log() == "out\n"


@pytest.mark.parametrize(
    ("script", "code", "number"), [("exit 3", 3, None), ("kill -TERM $$$$", 143, 15), ("no-such", 127, None)]
)
async def test_a_pod_fails_with_its_container(world, script, code, number):
    await world.pod(script=script)
    pod = await world.until_phase()
    assert pod.status.phase == "Failed"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"], terminated(pod).get("signal")) == (
        code,
        "Error",
        number,
    )


async def test_while_it_runs_a_pod_is_running_and_ready(world):
    await world.pod(script="echo up; sleep 30")
    pod = await world.until_phase("p", "Running")
    assert condition(pod, "Ready")["status"] == "True"
    assert pod.status.container_statuses[0]["ready"] is True
    await world.delete(PODS, "p", grace_period_seconds=0)


async def test_termination_messages_are_cut_and_fall_back_to_the_log(world):
    await world.pod("long", f"head -c 9000 /dev/zero | tr '\\0' x > {ROOT}/dev/termination-log")
    await world.pod(
        "log", "echo one; echo two; exit 1", container={"terminationMessagePolicy": "FallbackToLogsOnError"}
    )
    await world.pod("fine", "echo one", container={"terminationMessagePolicy": "FallbackToLogsOnError"})
    await world.pod("where", f"echo here > {ROOT}/run/end", container={"terminationMessagePath": "/run/end"})
    assert terminated(await world.until_phase("long"))["message"] == "x" * 4096
    assert terminated(await world.until_phase("log"))["message"] == "one\ntwo"
    assert "message" not in terminated(await world.until_phase("fine"))
    assert terminated(await world.until_phase("where"))["message"] == "here\n"


@pytest.mark.parametrize(
    "trick",
    [
        "mkfifo termination-log",
        "ln -s {elsewhere}/termination-log .",
        "cd ..; rmdir dev; ln -s {elsewhere} dev",
        "mkdir termination-log",
    ],
)
async def test_a_termination_message_is_a_file_of_the_containers_own(world, tmp_path, trick):
    """What a container leaves in its place neither holds up the node nor leads it elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "termination-log").write_text("not yours")
    await world.pod(script=f"cd {ROOT}/dev; rm termination-log; {trick.format(elsewhere=tmp_path / 'elsewhere')}")
    pod = await world.until_phase()
    assert terminated(pod)["exitCode"] == 0
    assert "message" not in terminated(pod)


async def test_environment_from_secrets_config_maps_and_fields(world):
    await world.create(SECRETS, {"metadata": {"name": "s"}, "data": {"KEY": base64.b64encode(b"val=ue\nx").decode()}})
    await world.create(CONFIG_MAPS, {"metadata": {"name": "m"}, "data": {"HOST": "h"}})
    env = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "URL", "value": "http://$(HOST)/$(KEY)"},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    sources = [
        {"secretRef": {"name": "s"}},
        {"configMapRef": {"name": "m"}},
        {"secretRef": {"name": "none", "optional": True}},
    ]
    script = (
        'printf "%s|%s|%s|%s|%s" "$NODE" "$URL" "$HOSTNAME" "$HOME" "$TMPDIR"; touch "$TMPDIR/x"; [ "$CPU" -ge 1000 ]'
    )
    await world.pod(script=script, container={"env": env, "envFrom": sources})
    assert (await world.until_phase()).status.phase == "Succeeded"
    node, url, host, home, tmp = (await world.log()).split("|")
    assert (node, url, host) == ("n", "http://h/val=ue\nx", "p")
    assert tmp == f"{home}/tmp"
    assert home.startswith(str(world.state))


async def test_where_the_mounts_are_is_the_nodes_to_say(world):
    """A mover's Pod names the place of a container, and a Secret may name any."""
    place = base64.b64encode(b"/elsewhere").decode()
    await world.create(SECRETS, {"metadata": {"name": "s"}, "data": {"DATAMOVER_ROOT": place}})
    env = [{"name": "DATAMOVER_ROOT", "value": "/"}]
    await world.pod(
        script=f"echo said > {ROOT}/dev/termination-log",
        container={"env": env, "envFrom": [{"secretRef": {"name": "s"}}]},
    )
    assert terminated(await world.until_phase())["message"] == "said\n"


async def test_the_nodes_own_environment_is_not_passed_on(world, monkeypatch):
    monkeypatch.setenv("OPERATOR_SECRET", "hush")
    await world.pod(script="env")
    await world.until_phase()
    assert "OPERATOR_SECRET" not in await world.log()
    assert "PYTHONPATH" not in await world.log()


@pytest.mark.parametrize(
    ("container", "create", "message"),
    [
        ({"envFrom": [{"secretRef": {"name": "s"}}]}, SECRETS, 'secret "s" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}]},
            CONFIG_MAPS,
            'configmap "s" not found',
        ),
    ],
)
async def test_what_is_missing_is_waited_for_and_heals(world, container, create, message):
    await world.pod(script="echo ran", container=container)
    assert await world.until_waiting("CreateContainerConfigError") == {
        "reason": "CreateContainerConfigError",
        "message": message,
    }
    assert await world.told("Failed") == f"Error: {message}"
    await world.create(create, {"metadata": {"name": "s"}, "data": {"k": "dg=="} if create is SECRETS else {"k": "v"}})
    assert (await world.until_phase()).status.phase == "Succeeded"


async def test_a_missing_key_is_named_and_heals_when_it_is_added(world):
    await world.create(SECRETS, {"metadata": {"name": "s"}, "data": {}})
    await world.pod(container={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]})
    waiting = await world.until_waiting("CreateContainerConfigError")
    assert waiting["message"] == "couldn't find key k in Secret default/s"
    await world.patch(SECRETS, "s", {"stringData": {"k": "v"}})
    assert (await world.until_phase()).status.phase == "Succeeded"


async def test_mounts_are_links_below_the_root(world):
    await world.storage_class()
    await world.claim()
    directory = await world.bound()
    (directory / "file").write_text("content")
    (directory / "sub").mkdir()
    (directory / "sub/inner").write_text("inner")
    await world.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "secret"}})
    await world.create(CONFIG_MAPS, {"metadata": {"name": "m"}, "data": {"a": "1", "b": "2"}})
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "config", "configMap": {"name": "m", "items": [{"key": "b", "path": "deep/b", "mode": 0o600}]}},
        {"name": "about", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "m"}}]}},
    ]
    mounts = [
        {"name": "data", "mountPath": "/data/", "readOnly": True},
        {"name": "data", "mountPath": "/inner", "subPath": "sub"},
        {"name": "scratch", "mountPath": "/config"},
        {"name": "secret", "mountPath": "/etc/secret"},
        {"name": "config", "mountPath": "/etc/config"},
        {"name": "about", "mountPath": "/etc/about"},
        {"name": "all", "mountPath": "/etc/all"},
    ]
    script = f"""cd {ROOT}; cat data/file inner/inner etc/secret/k etc/config/deep/b etc/about/name; echo x > config/made
        printf '|'; {{ ls etc/all; ls etc/config; stat -c %a etc/secret/k etc/config/deep/b; }} | tr '\\n' '|'"""
    await world.pod(script=script, container={"volumeMounts": mounts}, volumes=volumes)
    assert (await world.until_phase()).status.phase == "Succeeded"
    assert await world.log() == "contentinnersecret2p|a|b|k|deep|400|600|"
    pod = await world.get(PODS, "p")
    await world.delete(PODS, "p")
    await world.until_gone(PODS, "p")
    assert (directory / "file").read_text() == "content"

    async def removed():
        return not (world.state / "pods" / pod.metadata.uid).exists()

    await world.until(removed)


@pytest.mark.parametrize(
    ("spec", "container", "part"),
    [
        (
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/host"}]},
            "of a type that this node does not provide",
        ),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages"}}]}, {}, "medium HugePages is not supported"),
        ({}, {"securityContext": {"privileged": True}}, "runs no privileged containers"),
        ({}, {"livenessProbe": {"exec": {"command": ["true"]}}}, "does not run probes (livenessProbe)"),
        ({}, {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}, "does not run lifecycle hooks"),
        ({}, {"tty": True}, "attaches no terminal"),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a/b"}]},
            "cannot mount inside another mount",
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumeMounts": [{"name": "v", "mountPath": "/"}]},
            'cannot mount volume "v" at /',
        ),
        ({}, {"image": "greeter", "command": ["sh"]}, "by its own entrypoint only"),
        ({}, {"image": "host", "command": None}, "needs a command"),
    ],
)
async def test_what_the_node_cannot_do_is_refused_by_name(world, spec, container, part):
    await world.pod(container=container, **spec)
    waiting = await world.until_waiting("CreateContainerError")
    assert part in waiting["message"]
    assert part in await world.told("Failed")
    await world.quiet()
    assert (await world.get(PODS, "p")).status.phase == "Pending"
    await world.delete(PODS, "p")
    await world.until_gone(PODS, "p")


async def test_an_unknown_image_is_not_pulled(world):
    await world.pod(container={"image": "nginx:1", "command": None})
    waiting = await world.until_waiting("ErrImagePull")
    assert "runs only greeter, host" in waiting["message"]
    assert 'Failed to pull image "nginx:1"' in await world.told("Failed")


async def test_an_image_name_that_is_none(world):
    await world.pod(container={"image": "Not An Image", "command": None})
    assert "invalid reference format" in (await world.until_waiting("InvalidImageName"))["message"]


async def test_args_are_added_to_the_images_command(world):
    await world.pod(
        container={"image": "greeter:v9", "command": None, "args": ["$(WHO)"], "env": [{"name": "WHO", "value": "you"}]}
    )
    await world.until_phase()
    assert await world.log() == "hello you\n"


async def test_a_program_that_cannot_be_executed_is_a_start_error(world):
    await world.pod(container={"command": ["/no/such/program"]})
    pod = await world.until_phase()
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (128, "StartError")
    assert "no such file" in terminated(pod)["message"]


async def test_init_containers_run_first_one_after_another(world):
    init = [
        {
            "name": name,
            "image": "host",
            "command": ["sh", "-c", f"echo {name} >> {ROOT}/shared/log; sleep 0.05"],
            "volumeMounts": [{"name": "v", "mountPath": "/shared"}],
        }
        for name in ("one", "two")
    ]
    await world.pod(
        script=f"cat {ROOT}/shared/log",
        container={"volumeMounts": [{"name": "v", "mountPath": "/shared"}]},
        initContainers=init,
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    pod = await world.until_phase()
    assert await world.log() == "one\ntwo\n"
    assert [s["state"]["terminated"]["exitCode"] for s in pod.status.init_container_statuses] == [0, 0]
    assert condition(pod, "Initialized")["status"] == "True"


async def test_a_failed_init_container_fails_the_pod(world):
    await world.pod(initContainers=[{"name": "init", "image": "host", "command": ["sh", "-c", "exit 4"]}])
    pod = await world.until_phase()
    assert pod.status.phase == "Failed"
    assert pod.status.container_statuses[0]["state"]["waiting"]["reason"] == "PodInitializing"


async def test_several_containers_succeed_together(world):
    second = {"name": "second", "image": "host", "command": ["sh", "-c", "sleep 0.2; exit 5"]}
    main = {"name": "main", "image": "host", "command": ["true"]}
    await world.create(
        PODS, {"metadata": {"name": "p"}, "spec": {"restartPolicy": "Never", "containers": [main, second]}}
    )
    pod = await world.until_phase()
    assert pod.status.phase == "Failed"
    assert [s["state"]["terminated"]["exitCode"] for s in pod.status.container_statuses] == [0, 5]


async def test_on_failure_restarts_in_place_until_it_succeeds(world):
    script = f"echo x >> {ROOT}/keep/n; [ $(wc -l < {ROOT}/keep/n) -ge 3 ]"
    await world.pod(
        script=script,
        restartPolicy="OnFailure",
        container={"volumeMounts": [{"name": "v", "mountPath": "/keep"}]},
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    pod = await world.until_phase()
    assert pod.status.phase == "Succeeded"
    assert pod.status.container_statuses[0]["restartCount"] == 2
    assert pod.status.container_statuses[0]["lastState"]["terminated"]["exitCode"] == 1


async def test_between_restarts_a_container_is_in_crash_loop_back_off(offline):
    await offline.start_node(crash_base=30.0)
    await offline.pod(script="exit 1", restartPolicy="Always")
    waiting = await offline.until_waiting("CrashLoopBackOff")
    assert waiting["message"].startswith("back-off 30s restarting failed container=main pod=p_default(")
    assert (await offline.get(PODS, "p")).status.phase == "Running"


async def test_deletion_asks_first_and_the_end_is_reported(world):
    await world.pod(script="trap 'echo saved; exit 0' TERM; echo up; sleep 30 & wait", terminationGracePeriodSeconds=20)
    await until_log(world, "up")
    started = time.monotonic()
    await world.patch(PODS, "p", {"metadata": {"finalizers": ["test/hold"]}})
    await world.delete(PODS, "p")
    pod = await world.until_phase()
    assert pod.status.phase == "Succeeded"
    assert "saved" in await world.log()
    assert time.monotonic() - started < 10
    await world.patch(PODS, "p", {"metadata": {"finalizers": None}})
    await world.until_gone(PODS, "p")


async def test_what_does_not_listen_is_killed_after_the_grace(world):
    await world.pod(script="trap '' TERM; echo $$$$; while :; do sleep 100; done")

    async def said():
        try:
            return (await world.log()).strip()
        except BadRequest:
            return ""

    pid = int(await world.until(said))
    await world.delete(PODS, "p", grace_period_seconds=1)
    await world.until_gone(PODS, "p")
    assert not alive(pid)


async def test_a_pod_that_is_deleted_by_force_takes_its_processes_along(world):
    await world.pod(script="echo $$$$; exec sleep 100")
    await until_log(world, "\n")
    pid = int(await world.log())
    await world.delete(PODS, "p", grace_period_seconds=0)
    await world.until_gone(PODS, "p")

    async def dead():
        return not alive(pid) and not list((world.state / "pods").glob("*"))

    await world.until(dead)


async def test_a_pod_past_its_deadline_is_ended(world):
    await world.pod(script="exec sleep 30", activeDeadlineSeconds=1)
    pod = await world.until_phase()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")
    assert terminated(pod)["exitCode"] == 143


async def test_a_waiting_pod_can_be_deleted(world):
    await world.pod(container={"envFrom": [{"secretRef": {"name": "gone"}}]})
    await world.until_waiting("CreateContainerConfigError")
    await world.delete(PODS, "p")
    await world.until_gone(PODS, "p")


async def test_a_new_pod_of_the_same_name_is_another_pod(world):
    await world.pod(script="echo first")
    first = await world.until_phase()
    await world.delete(PODS, "p", grace_period_seconds=0)
    await world.pod(script="echo second")
    second = await world.until_phase()
    assert second.metadata.uid != first.metadata.uid
    assert await world.log() == "second\n"


async def test_an_idle_node_writes_nothing_and_neither_does_its_restart(world):
    await world.pod(script="exit 0")
    await world.pod("waits", container={"envFrom": [{"secretRef": {"name": "gone"}}]})
    await world.until_phase()
    await world.until_waiting("CreateContainerConfigError", "waits")
    await world.quiet()
    before = world.writes()
    await asyncio.sleep(0.3)
    assert world.writes() == before
    await world.stop_node()
    before = world.writes()
    await world.start_node()
    await asyncio.wait_for(world.node.ready.wait(), 5)
    await world.quiet(0.3)
    assert world.writes() - before == 2  # the Node and its status


async def test_the_node_says_what_it_does_not_enforce(world):
    await world.node.ready.wait()
    node = await world.client.request_json("GET", NODES.path(name="n"))
    assert "runAsUser" in node["metadata"]["annotations"][LIMITS_ANNOTATION]
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n"
    assert node["status"]["allocatable"]["pods"] == "110"


async def test_after_a_stop_of_the_node_a_cut_off_pod_has_failed_and_says_why(world):
    await world.pod(script="echo up; exec sleep 100")
    await until_log(world, "up")
    await world.stop_node()
    await world.start_node()
    pod = await world.until_phase()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "NodeRestart")
    assert terminated(pod)["exitCode"] == 143
    disrupted = condition(pod, "DisruptionTarget")
    assert (disrupted["status"], disrupted["reason"]) == ("True", "TerminationByKubelet")


async def test_a_pod_that_ended_while_the_node_was_away_is_reported_as_it_ended(world):
    await world.pod(script=f"trap 'echo done > {ROOT}/dev/termination-log; exit 0' TERM; echo up; sleep 100 & wait")
    await until_log(world, "up")
    await world.stop_node()
    await world.start_node()
    pod = await world.until_phase()
    assert (pod.status.phase, terminated(pod)["message"]) == ("Succeeded", "done\n")


async def test_a_pod_whose_directory_is_lost_is_not_started_again(world):
    await world.pod(script=f"echo ran >> {world.state.parent}/ran; exec sleep 100")
    await world.until_phase("p", "Running")
    await world.stop_node()
    for path in (world.state / "pods").iterdir():
        from localkube.node.walking import remove_tree

        remove_tree(path)
    await world.start_node()
    pod = await world.until_phase()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "NodeRestart")
    assert (world.state.parent / "ran").read_text() == "ran\n"


async def test_many_pods_run_at_once(world):
    for number in range(40):
        await world.pod(f"p{number}", f"exit {number % 2}")
    phases = [(await world.until_phase(f"p{number}")).status.phase for number in range(40)]
    assert phases == ["Succeeded", "Failed"] * 20


async def test_secret_files_are_for_the_nodes_user_only(world):
    await world.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "secret"}})
    await world.pod(
        script="echo up; exec sleep 100",
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        volumes=[{"name": "s", "secret": {"secretName": "s"}}],
    )
    await until_log(world, "up")
    (directory,) = (world.state / "pods").iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    await world.delete(PODS, "p", grace_period_seconds=0)


async def test_a_claim_that_is_missing_or_goes_holds_the_container_back(world):
    """The Pod names its node itself, so no scheduler has looked at the claim."""
    await world.storage_class()
    await world.pod(nodeName="n", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    assert await world.told("FailedMount") == 'persistentvolumeclaim "c" not found'
    await world.until_waiting("ContainerCreating")
    await world.claim()
    assert (await world.until_phase()).status.phase == "Succeeded"
    await world.delete(CLAIMS, "c")
    await world.pod("late", nodeName="n", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])

    async def told():
        return [
            note for _, reason, note in await world.events() if reason == "FailedMount" and "is being deleted" in note
        ]

    await world.until(told)
    assert (await world.get(PODS, "late")).status.phase == "Pending"


async def test_a_container_that_may_have_run_is_not_run_again(world):
    """The supervisor notes the start before it executes anything."""
    await world.pod(script="echo up; exec sleep 100")
    await until_log(world, "up")
    pod = await world.get(PODS, "p")
    await world.stop_node()
    record = world.state / "pods" / pod.metadata.uid / "containers/main/0.json"
    record.write_text('{"id": "x"}')
    await world.patch(PODS, "p", {"phase": "Pending", "containerStatuses": None}, status=True)
    await world.start_node()
    ended = await world.until_phase()
    assert (ended.status.phase, ended.status.reason) == ("Failed", "NodeRestart")
