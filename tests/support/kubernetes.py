"""A real control plane for tests: etcd, kube-apiserver and kube-controller-manager on loopback, with TLS and RBAC.

It has no scheduler, no kubelet and no provisioner; where a test needs those, our node takes their place. Everything it keeps lies in
one temporary directory (in memory where the machine has /dev/shm) and goes with it.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.certificates import Authority, KeyPair, signing_key
from cluster.control_plane import (
    AUDIT_POLICY,
    CONTROLLERS,
    api_server_flags,
    controller_manager_flags,
    etcd_flags,
)
from support.programs import GO, Program, ProgramError, Undertaker, free_ports
from support.request_counts import AuditEntry, RequestCounts, parse_request_counts, read_audit_log

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD_PROGRAM = REPOSITORY / "tools" / "build.py"
CURE = "python tools/build.py kubernetes"
PATIENCE = 90.0
"""Seconds that a part may take to become ready: two on an idle machine, fifteen have been seen on a very busy one."""

ADMIN = "admin"
ADMIN_GROUP = "system:masters"


class MissingPrograms(Exception):
    """The programs cannot be had; the message is the cure."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are. The last two are absent from some bundles (those for envtest have no controller-manager)."""

    etcd: Path
    api_server: Path
    controller_manager: Path | None
    kubectl: Path | None


def find_programs() -> Programs:
    """Return the programs that are there already; builds nothing. Raises MissingPrograms."""
    answer = subprocess.run(
        [sys.executable, BUILD_PROGRAM, "kubernetes", "--print"], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        reason = answer.stderr.strip().removeprefix("kubernetes: ")
        raise MissingPrograms(f"no etcd and kube-apiserver: {reason} (once, about 8 minutes)")
    directory = Path(answer.stdout.strip())

    def optional(name: str) -> Path | None:
        beside = directory / name
        if os.access(beside, os.X_OK):
            return beside
        elsewhere = shutil.which(name)
        return Path(elsewhere) if elsewhere else None

    return Programs(
        etcd=directory / "etcd",
        api_server=directory / "kube-apiserver",
        controller_manager=optional("kube-controller-manager"),
        kubectl=optional("kubectl"),
    )


class ControlPlane:
    """The three programs, and the ways to talk to them, to count what they were asked, and to make them fail.

    Guarantees: after `stop`, or after our own end of whatever kind, nothing of it runs and its directory is gone.
    Assumptions: loopback ports are free to take; `logs` outlives this object and is the caller's to remove.
    Caveats: it is single-use; counters start anew when the API server is started again.
    """

    def __init__(self, programs: Programs, *, logs: Path, controllers: Sequence[str] = CONTROLLERS) -> None:
        self.programs = programs
        self.logs = logs
        self.authority = Authority()
        self._controllers = tuple(controllers)
        memory = Path("/dev/shm")
        parent = memory if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None
        self.directory = Path(tempfile.mkdtemp(prefix="datamover-kubernetes-", dir=parent))
        self._undertaker = Undertaker(self.directory)
        self._admin = self.authority.client(ADMIN, [ADMIN_GROUP])
        self._tokens = 0
        self._paused = False

    # Life ---------------------------------------------------------------------------------------------------------

    def start(self, *, manifests: Iterable[Mapping[str, Any]] = ()) -> None:
        """Start all three and wait until they are ready. Raises ProgramError, and leaves nothing running then.

        `manifests` (custom resource definitions mostly) are created before the controller-manager starts: its garbage collector
        looks for new kinds only every 30 seconds, and so knows these from the first moment.
        """
        try:
            self._write_files()
            for attempt in range(3):  # another program may take a port between our choice and the server's start
                self._choose_ports()
                try:
                    self.start_etcd()
                    self.start_api_server()
                    break
                except ProgramError as error:
                    self._stop_programs()
                    if attempt == 2 or "address already in use" not in str(error):
                        raise
            for manifest in manifests:
                self.create(manifest)
            self.start_controller_manager()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything in order and remove the directory. Safe to call twice."""
        self.resume()
        self._stop_programs()
        self._undertaker.close()

    def pause(self) -> None:
        """Hold all three as they are until `resume`, or until somebody calls: one that nobody asks anything takes a thirtieth of a core."""
        if not self._paused:
            self._paused = True
            for part in reversed(self.parts):
                part.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Have them go on. Does nothing when they were not paused."""
        if self._paused:
            self._paused = False
            for part in self.parts:
                part.send(signal.SIGCONT)

    def start_etcd(self) -> None:
        """Start etcd and wait until it answers."""
        self.etcd.start()
        self.etcd.wait_until(
            lambda: self._get(self.etcd_port, "/health", self._etcd_client)[0] == 200, seconds=PATIENCE
        )

    def start_api_server(self) -> None:
        """Start the API server and wait until it is ready. Same port, same certificates as before."""
        self.api_server.start()
        self.api_server.wait_until(lambda: self.call("GET", "/readyz")[0] == 200, seconds=PATIENCE)

    def start_controller_manager(self) -> None:
        """Start the controllers and wait until they work: healthy, and the first service account made. Nothing without the program."""
        manager = self.controller_manager
        if manager is None:
            return
        manager.start()
        manager.wait_until(
            lambda: self._get(self._manager_port, "/healthz", self._admin_context)[0] == 200, seconds=PATIENCE
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        manager.wait_until(lambda: self.call("GET", account)[0] == 200, seconds=PATIENCE)

    def restart_api_server(self) -> None:
        """Kill the API server and start it again: a crash. Clients see refused connections meanwhile."""
        self.api_server.kill()
        self.start_api_server()

    def restart_etcd(self) -> None:
        """Kill etcd and start it again on the same data; returns when the API server is ready again."""
        self.etcd.kill()
        self.start_etcd()
        self.api_server.wait_until(lambda: self.call("GET", "/readyz")[0] == 200, seconds=PATIENCE)

    def restart_controller_manager(self) -> None:
        """Kill the controllers and start them again."""
        if self.controller_manager is not None:
            self.controller_manager.kill()
        self.start_controller_manager()

    @property
    def parts(self) -> tuple[Program, ...]:
        """The programs, in the order in which they start."""
        parts = (
            getattr(self, "etcd", None),
            getattr(self, "api_server", None),
            getattr(self, "controller_manager", None),
        )
        return tuple(part for part in parts if isinstance(part, Program))

    # Talking ------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    def tls(self, user: KeyPair | None = None) -> ssl.SSLContext:
        """Return a context that trusts the API server and identifies as `user` (default: the administrator)."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        pair = user or self._admin
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            certificate, key = pair.write(Path(directory), "client")
            context.load_cert_chain(certificate, key)
        return context

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> tuple[int, Any]:
        """Ask the API server as administrator; return the status and the JSON (or the text). Raises OSError when it is away."""
        self.resume()
        return self._get(self.port, path, self._admin_context, method=method, body=body, kind=kind)

    def create(self, manifest: Mapping[str, Any]) -> Any:
        """Create an object of any kind, and wait until a custom resource definition is served. Raises ProgramError."""
        path = collection_path(manifest)
        status, answer = self.call("POST", path, manifest)
        if status != 201:
            raise ProgramError(f"creating {manifest['kind']} {manifest['metadata'].get('name')}: {status} {answer}")
        if manifest["kind"] == "CustomResourceDefinition":
            spec = manifest["spec"]
            for version in (each["name"] for each in spec["versions"] if each["served"]):
                served = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
                self.api_server.wait_until(lambda served=served: self.call("GET", served)[0] == 200, seconds=30)
        return answer

    def create_namespace(self, name: str) -> None:
        """Create a namespace, and wait until Pods can be created in it (its default service account is there)."""
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if self.controller_manager is not None and self.controller_manager.running:
            path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            self.api_server.wait_until(lambda: self.call("GET", path)[0] == 200, seconds=30)

    def kubectl(
        self, *arguments: str, kubeconfig: Path | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, as administrator unless told otherwise; `text` is its standard input. Raises MissingPrograms without one."""
        if self.programs.kubectl is None:
            raise MissingPrograms(f"there is no kubectl. Cure: {CURE}")
        return subprocess.run(
            [self.programs.kubectl, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=GO
            | {
                "PATH": os.environ["PATH"],
                "HOME": str(self.directory),
                "KUBECONFIG": str(kubeconfig or self.admin_kubeconfig),
            },
        )

    # Identities ---------------------------------------------------------------------------------------------------

    @property
    def admin_kubeconfig(self) -> Path:
        """A kubeconfig of the administrator, who may do anything."""
        return self.directory / "admin.kubeconfig"

    def user_kubeconfig(self, user: str, groups: Sequence[str] = (), *, namespace: str = "default") -> Path:
        """Write a kubeconfig for any user, by client certificate, and return its path. Rights are the test's to grant."""
        pair = self.authority.client(user, groups)
        credentials = {"client-certificate-data": _encode(pair.certificate), "client-key-data": _encode(pair.key)}
        return self._write_kubeconfig(user, credentials, namespace=namespace)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Create the service account when it is missing, and return the path of a kubeconfig with a token of it."""
        collection = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.call("POST", collection, {"metadata": {"name": name}})
        token = self.service_account_token(namespace, name)
        return self._write_kubeconfig(f"{namespace}-{name}", {"token": token}, namespace=namespace)

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a fresh token of one hour for an existing service account. Raises ProgramError."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        status, answer = self.call(
            "POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        )
        if status != 201:
            raise ProgramError(f"no token for {namespace}/{name}: {status} {answer}")
        return answer["status"]["token"]

    # Counting -----------------------------------------------------------------------------------------------------

    def counts(self) -> RequestCounts:
        """Return how many requests the API server has answered since its start, of every client, the controllers included."""
        status, text = self.call("GET", "/metrics")
        if status != 200:
            raise ProgramError(f"/metrics answered {status}")
        return parse_request_counts(text)

    def audit(self, *, user: str | None = None, since: int = 0) -> tuple[AuditEntry, ...]:
        """Return the requests of `user` (a user name, or all) as the API server's audit log has them, from entry number `since` on.

        Unlike `counts` it tells who asked. A watch appears when it ends.
        """
        return read_audit_log(self.directory / "audit.log", user=user, since=since)

    def compact(self) -> int:
        """Forget every revision of etcd but the present one, and return it. What the API server's watch cache holds stays there."""
        status, answer = self._etcd("/v3/kv/range", {"key": _encode(b"/")})
        if status != 200:
            raise ProgramError(f"etcd answered {status} {answer}")
        revision = int(answer["header"]["revision"])
        status, answer = self._etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        if status != 200:
            raise ProgramError(f"compaction answered {status} {answer}")
        return revision

    # Inner --------------------------------------------------------------------------------------------------------

    def _stop_programs(self) -> None:
        for part in reversed(self.parts):
            part.stop()

    def _write_files(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        directory = self.directory
        (directory / "ca.crt").write_bytes(self.authority.pem)
        self.authority.server("kube-apiserver").write(directory, "serving")
        self.authority.server("etcd", calls_itself=True).write(directory, "etcd")  # its JSON gateway is its own client
        etcd_client = self.authority.client("kube-apiserver-etcd-client")
        etcd_client.write(directory, "etcd-client")
        self.authority.client("kube-apiserver-kubelet-client", [ADMIN_GROUP]).write(directory, "kubelet-client")
        private, public = signing_key()
        (directory / "tokens.key").write_bytes(private)
        (directory / "tokens.pub").write_bytes(public)
        (directory / "audit.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
        self._etcd_client = self.tls(etcd_client)
        self._admin_context = self.tls()

    def _choose_ports(self) -> None:
        self.etcd_port, peer_port, self.port, self._manager_port = free_ports(4)
        self._write_kubeconfig(
            ADMIN,
            {"client-certificate-data": _encode(self._admin.certificate), "client-key-data": _encode(self._admin.key)},
        )
        self.etcd = self._program(
            "etcd", self.programs.etcd, etcd_flags(self.directory, port=self.etcd_port, peer_port=peer_port)
        )
        self.api_server = self._program(
            "kube-apiserver",
            self.programs.api_server,
            api_server_flags(self.directory, port=self.port, etcd_port=self.etcd_port),
        )
        self.controller_manager = None
        if self.programs.controller_manager is not None:
            user = "system:kube-controller-manager"
            pair = self.authority.client(user)
            credentials = {"client-certificate-data": _encode(pair.certificate), "client-key-data": _encode(pair.key)}
            kubeconfig = self._write_kubeconfig("kube-controller-manager", credentials)
            flags = controller_manager_flags(
                self.directory, port=self._manager_port, kubeconfig=kubeconfig, controllers=self._controllers
            )
            self.controller_manager = self._program("kube-controller-manager", self.programs.controller_manager, flags)

    def _program(self, name: str, program: Path, flags: Mapping[str, str]) -> Program:
        arguments = [str(program), *(f"--{flag}={value}" for flag, value in flags.items())]
        return Program(name, arguments, log=self.logs / f"{name}.log", undertaker=self._undertaker)

    def _write_kubeconfig(self, user: str, credentials: Mapping[str, str], *, namespace: str = "default") -> Path:
        path = self.directory / f"{user.replace(':', '-').replace('/', '-')}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": self.url, "certificate-authority-data": _encode(self.authority.pem)},
                }
            ],
            "users": [{"name": user, "user": dict(credentials)}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    def _etcd(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        return self._get(self.etcd_port, path, self._etcd_client, method="POST", body=body)

    @staticmethod
    def _get(
        port: int,
        path: str,
        context: ssl.SSLContext,
        *,
        method: str = "GET",
        body: Any = None,
        kind: str = "application/json",
    ) -> tuple[int, Any]:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": kind} if payload else {})
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text


LASTING: list[ControlPlane] = []
"""Those that last as long as this process: they are paused while tests run that want none (tests/conftest.py)."""


@contextlib.contextmanager
def lasting(plane: ControlPlane) -> Iterator[None]:
    """Have a control plane that runs pause and go on with the tests; stop it in the end."""
    LASTING.append(plane)
    try:
        yield
    finally:
        LASTING.remove(plane)
        plane.stop()


def collection_path(manifest: Mapping[str, Any]) -> str:
    """Return the path to which an object of a known or regular kind is posted."""
    version, kind = manifest["apiVersion"], manifest["kind"].lower()
    plural = {"storageclass": "storageclasses", "networkpolicy": "networkpolicies"}.get(kind, f"{kind}s")
    namespace = manifest["metadata"].get("namespace")
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def wait_for(condition: Any, *, seconds: float = 30, what: str = "the condition", pause: float = 0.05) -> Any:
    """Poll a plain function, every `pause` seconds, until it returns something true, and return that. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true in {seconds:.0f} s")
        time.sleep(pause)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
