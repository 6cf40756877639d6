"""The order in which the cluster comes and goes, and above all what `down` does not touch."""

import datetime as dt
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import certificates, directory, machine, network, rig
from cluster.daemons import Daemon
from cluster.directory import DirectoryError
from cluster.layout import PORTS, Layout
from cluster.rig import Rig, RigError

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rig:
    """A rig in a directory of its own. It does not reach the machine: all that would is pretended."""
    monkeypatch.setattr(machine, "demand_root", lambda: None)
    monkeypatch.setattr(machine, "prepare_machine", lambda: None)
    monkeypatch.setattr(network, "taken_ports", lambda _ports: [])
    monkeypatch.setattr(network, "has_bridge", lambda: False)
    monkeypatch.setattr(network, "rules", list)
    monkeypatch.setattr(Rig, "build", lambda _rig, module: tmp_path / module)
    return Rig(Layout(tmp_path / "cluster"))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, cluster: Rig) -> list[str]:
    """What `up` came to, pretended: it goes as far as the files."""
    steps: list[str] = []
    monkeypatch.setattr(Rig, "_lay_out", lambda _rig: steps.append("files"))
    monkeypatch.setattr(machine, "change_settings", lambda _layout: (_ for _ in ()).throw(RigError("far enough")))
    return steps


# Whose it is


def test_a_directory_that_is_no_clusters_is_not_taken_down(cluster: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rig, "_stop", lambda _rig: pytest.fail("it stopped things"))
    assert cluster.down() is False

    cluster.layout.directory.mkdir()
    (cluster.layout.directory / "thesis").touch()

    assert cluster.down() is False
    assert (cluster.layout.directory / "thesis").exists()


def test_up_refuses_a_directory_with_other_things(cluster: Rig, started: list[str]) -> None:
    cluster.layout.directory.mkdir()
    (cluster.layout.directory / "thesis").touch()

    with pytest.raises(DirectoryError, match="is not empty"):
        cluster.up()

    assert started == []
    assert [path.name for path in cluster.layout.directory.iterdir()] == ["thesis"]


@pytest.mark.parametrize("command", ["status", "load"])
def test_without_a_cluster_there_is_nothing_to_ask(cluster: Rig, command: str) -> None:
    with pytest.raises(DirectoryError, match=f"no cluster at {cluster.layout.directory}"):
        cluster.status() if command == "status" else cluster.load([Path("image.tar")])


def test_two_commands_at_once_are_refused(cluster: Rig, started: list[str]) -> None:
    with directory.claimed(cluster.layout):
        with pytest.raises(DirectoryError, match="another `up` or `down`"):
            cluster.up()
        with pytest.raises(DirectoryError, match="another `up` or `down`"):
            cluster.down()
    assert started == []


# What is somebody else's


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [
        ("taken_ports", ["10.213.0.1:10250"], "something else listens at 10.213.0.1:10250"),
        ("has_bridge", True, "the bridge datamover0 is there already"),
        ("rules", [("ip", "kube-proxy")], "another kube-proxy"),
    ],
)
def test_up_refuses_a_machine_on_which_somebody_else_has_what_it_wants(
    monkeypatch: pytest.MonkeyPatch, cluster: Rig, started: list[str], function: str, value: object, words: str
) -> None:
    monkeypatch.setattr(network, function, lambda *_arguments: value)

    with pytest.raises(RigError, match=words):
        cluster.up()

    assert started == []


def test_a_cluster_that_is_there_already_knows_its_own(
    monkeypatch: pytest.MonkeyPatch, cluster: Rig, started: list[str]
) -> None:
    with directory.claimed(cluster.layout):
        cluster.layout.before.touch()
    monkeypatch.setattr(network, "has_bridge", lambda: True)
    monkeypatch.setattr(network, "rules", lambda: [("ip", "kube-proxy")])

    with pytest.raises(RigError, match="far enough"):
        cluster.up()

    assert started == ["files"]


def test_only_the_ports_of_parts_that_do_not_run_have_to_be_free(
    monkeypatch: pytest.MonkeyPatch, cluster: Rig, started: list[str]
) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(network, "taken_ports", lambda ports: asked.extend(ports) or [])
    monkeypatch.setattr(Daemon, "pid", property(lambda part: None if part.name in {"etcd", "containerd"} else 1))

    with pytest.raises(RigError, match="far enough"):
        cluster.up()

    assert asked == list(PORTS["etcd"])


# How long it lasts


def test_certificates_that_have_ended_are_told_instead_of_failing_somewhere(
    monkeypatch: pytest.MonkeyPatch, cluster: Rig
) -> None:
    monkeypatch.setattr(rig.node, "write_files", lambda _layout: None)
    monkeypatch.setattr(machine, "change_settings", lambda _layout: (_ for _ in ()).throw(RigError("far enough")))
    with pytest.raises(RigError, match="far enough"):
        cluster.up()
    monkeypatch.setattr(certificates, "LIFETIME", dt.timedelta(minutes=-1))
    (cluster.layout.secrets / "ca.crt").write_bytes(certificates.Authority().pem)

    with pytest.raises(RigError, match="certificates ended on"):
        cluster.up()


# Down, for real: in namespaces of its own, with directories over all that is the machine's

APART = """
set -e
mount -t tmpfs none /run; mkdir /run/netns
mount -t tmpfs none /sys/fs/cgroup
mount -t tmpfs none /var/lib
"""
CLUSTER = """
mkdir -p $D/pids $D/logs $D/secrets $D/kubelet/pods/uid-1/v $D/containerd
touch $D/secrets/ca.crt
echo '{"/proc/sys/net/ipv4/ip_forward": "0"}' > $D/before.json
echo 1 > /proc/sys/net/ipv4/ip_forward
mount -t tmpfs none $D/kubelet/pods/uid-1/v
mount -t tmpfs none $D/containerd
mkdir -p $D/containerd/up $D/containerd/work $D/containerd/merged
mount -t overlay overlay -o lowerdir=/,upperdir=$D/containerd/up,workdir=$D/containerd/work $D/containerd/merged
unshare --mount chroot $D/containerd/merged sleep 61 &  # in a container of ours
(exec -a kubelet bash -c 'sleep 60; :' --config=$D/secrets/kubelet.yaml) &  # without a record
ip link add datamover0 type bridge; ip address add 10.213.0.1/24 dev datamover0
ip netns add cni-ours; ip link add v1 type veth peer name eth0 netns cni-ours; ip link set v1 master datamover0
ip -n cni-ours address add 10.213.0.5/24 dev eth0
nft add table ip kube-proxy; nft add table ip6 kube-proxy
mkdir -p /var/lib/cni/networks/datamover /sys/fs/cgroup/pids/kubepods/besteffort/poduid-1/container
until [ -e /proc/$!/cmdline ] && tr '\\0' ' ' < /proc/$!/cmdline | grep -q ^kubelet; do sleep 0.01; done
"""
OTHERS = """
(exec -a tail bash -c 'sleep 60; :' -f $D/logs/kubelet.log) & bystander=$!
ip netns add cni-foreign; ip link add v2 type veth peer name eth0 netns cni-foreign
ip -n cni-foreign address add 10.99.0.5/24 dev eth0
nft add table ip mine
mkdir -p /var/lib/cni/networks/podman /sys/fs/cgroup/pids/kubepods/besteffort/poduid-2
set +e
"""
SHOW = """
echo files: $(ls -A $D 2>/dev/null)
echo links: $(ip -brief link | cut -d' ' -f1 | cut -d@ -f1)
echo namespaces: $(ip netns list | cut -d' ' -f1 | sort)
echo tables: $(nft list tables)
echo records: $(ls /var/lib/cni/networks)
echo groups: $(ls /sys/fs/cgroup/pids/kubepods/besteffort)
echo kept: $(kill -0 $bystander && echo bystander)
echo sleeping: $(pgrep -c -f '^kubelet') $(pgrep -c -f '^sleep 61')
cat /proc/sys/net/ipv4/ip_forward
kill $bystander
"""


def run_apart(script: str, place: Path) -> tuple[list[str], str]:
    """Run a script as the first process of namespaces of its own, with all of the machine's state hidden; return lines and errors."""
    apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "PYTHONPATH": str(ROOT / "tools")}
    done = subprocess.run(
        [*apart, "bash", "-c", APART + script],
        env=environment | {"D": str(place), "DATAMOVER_CLUSTER": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    return done.stdout.splitlines(), done.stderr


apart = pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/sbin/nft").exists(), reason="wants root, ip and nft")


@apart
def test_down_takes_all_that_is_the_clusters_and_nothing_else(tmp_path: Path) -> None:
    lines, errors = run_apart(CLUSTER + OTHERS + "$PYTHON -m cluster down; echo $?" + SHOW, tmp_path / "cluster")

    assert lines == [
        "0",
        "files:",
        "links: lo v2",
        "namespaces: cni-foreign",
        "tables: table ip mine",
        "records: podman",
        "groups: poduid-2",
        "kept: bystander",
        "sleeping: 0 0",
        "0",
    ], errors
    assert "nothing of it is left" in errors


@apart
def test_down_of_another_directory_takes_nothing(tmp_path: Path) -> None:
    wrong = "DATAMOVER_CLUSTER=$D-mistyped $PYTHON -m cluster down; echo $?"

    lines, errors = run_apart(CLUSTER + OTHERS + wrong + SHOW, tmp_path / "cluster")

    assert lines[0] == "0"
    assert "no cluster at" in errors
    assert "before.json" in lines[1]
    assert lines[2] == "links: lo datamover0 v1 v2"
    assert lines[3] == "namespaces: cni-foreign cni-ours"
    assert "kube-proxy" in lines[4]
    assert lines[-1] == "1"


@apart
def test_down_after_an_up_that_was_refused_takes_nothing_but_the_directory(tmp_path: Path) -> None:
    """The network and the control groups are another cluster's, which is why it was refused."""
    refused = "D=$D-refused; export DATAMOVER_CLUSTER=$D; mkdir $D; touch $D/.datamover-cluster; $PYTHON -m cluster down; echo $?"
    emptied = "rmdir /sys/fs/cgroup/pids/kubepods/besteffort/*/container /sys/fs/cgroup/pids/kubepods/besteffort/*\n"

    lines, errors = run_apart(CLUSTER + OTHERS + emptied + refused + SHOW, tmp_path / "cluster")

    assert lines[:4] == ["0", "files:", "links: lo datamover0 v1 v2", "namespaces: cni-foreign cni-ours"], errors
    assert "kube-proxy" in lines[4]
    assert lines[6:8] == ["groups:", "kept: bystander"]
    assert "besteffort" not in errors
    assert lines[-1] == "1"


@apart
def test_down_says_what_it_could_not_take_and_keeps_the_files(tmp_path: Path) -> None:
    stubborn = (
        'mkdir $D/bin; printf "#!/bin/sh\\nexit 1\\n" > $D/bin/umount; chmod +x $D/bin/umount; PATH=$D/bin:$PATH '
    )

    lines, errors = run_apart(
        CLUSTER + OTHERS + stubborn + "$PYTHON -m cluster down; echo $?; $PYTHON -m cluster down; echo $?" + SHOW,
        tmp_path / "cluster",
    )

    assert lines[:3] == ["1", "0", "files:"], errors
    assert f"{tmp_path}/cluster stays, for this is left of the cluster: mount {tmp_path}" in errors


@apart
@pytest.mark.parametrize("serves", [True, False])
def test_a_runtime_that_died_is_started_again_to_end_its_containers(tmp_path: Path, serves: bool) -> None:
    """It ends them more cleanly than a kill; where it does not come back, they are killed all the same."""
    programs = tmp_path / "bin"
    programs.mkdir()
    heart = "trap 'exit 0' TERM; while :; do sleep 0.01; done" if serves else "exit 1"
    for name, text in {"containerd": f"echo containerd >> $CALLS; {heart}", "ctr": "echo $5 $6 >> $CALLS"}.items():
        (programs / name).write_text(f"#!/bin/sh\nCALLS={tmp_path}/calls\n{text}\n")
        (programs / name).chmod(0o755)
    died = f"mkdir $D/containerd/state; PATH={programs}:$PATH "

    lines, errors = run_apart(CLUSTER + OTHERS + died + "$PYTHON -m cluster down; echo $?" + SHOW, tmp_path / "cluster")

    assert (lines[0], lines[1], lines[8]) == ("0", "files:", "sleeping: 0 0"), errors
    calls = set((tmp_path / "calls").read_text().splitlines())
    assert calls - {"version"} == ({"containerd", "tasks list", "containers list"} if serves else {"containerd"})


@apart
def test_up_finds_what_listens_on_its_ports(tmp_path: Path) -> None:
    script = "ip link set lo up; $PYTHON -c '" + "from cluster import network; from cluster.layout import PORTS; "
    script += (
        'import socket; server = socket.create_server(("", 10250)); print(network.taken_ports(PORTS["kubelet"]))' + "'"
    )

    assert run_apart(script, tmp_path)[0] == ["['10.213.0.1:10250']"]


def test_a_port_of_the_table_can_be_asked_for() -> None:
    assert all(1 <= port < 65536 and socket.inet_aton(address) for ports in PORTS.values() for address, port in ports)
