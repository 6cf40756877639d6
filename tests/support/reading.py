"""Objects of a cluster as `kubectl get -o json` shows them, without a process for each look.

Scenarios look some thousand times, mostly while they wait, and each kubectl is 65 ms of a core that the cluster wants.
"""

import base64
import http.client
import json
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_FRESH = 30.0
"""Seconds for which the kinds that a server has are believed to be the same."""
_BUSY = {429, 503}


@dataclass(frozen=True)
class Kind:
    """A kind as the server lists it. `name`: plural and group, as `kubectl api-resources -o name` prints it."""

    name: str
    kind: str
    version: str
    """Group and version, as in `apiVersion`."""
    plural: str
    namespaced: bool
    listed: bool


class Reader:
    """Reads with the credentials of a kubeconfig.

    Raises ValueError at the start for a kubeconfig whose credentials are not in it (a program asks for them, say), AssertionError with the
    server's words for what it refuses, OSError when it is away.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config.get("current-context", ""))["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        address = urllib.parse.urlsplit(cluster["server"])
        if address.scheme != "https" or "certificate-authority-data" not in cluster:
            raise ValueError("the authority of the server is not in the kubeconfig")
        if not user.keys() & {"client-certificate-data", "token"}:
            raise ValueError("the credentials are not in the kubeconfig")
        self._connection: http.client.HTTPSConnection | None = None
        self._address = (str(address.hostname), address.port or 443)
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pair:
                for part in ("client-certificate-data", "client-key-data"):
                    pair.write(base64.b64decode(user[part]) + b"\n")
                pair.flush()
                self._tls.load_cert_chain(pair.name)
        self._kinds: list[Kind] = []
        self._words: dict[str, Kind] = {}
        self._learned = 0.0
        self._lock = threading.Lock()

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get ARGUMENTS -o json --ignore-not-found` shows: KIND[,KIND] [NAME], -n, -l, --all-namespaces."""
        words, namespace, query = list(arguments), "default", {}
        for option in ("-n", "-l"):
            if option in words:
                at = words.index(option)
                _, value = words[at : at + 2]
                del words[at : at + 2]
                if option == "-n":
                    namespace = value
                else:
                    query = {"labelSelector": value}
        if "--all-namespaces" in words:
            words.remove("--all-namespaces")
            namespace = ""
        if len(words) == 2:
            return _shown(self._ask(f"{self._path(self.kind(words[0]), namespace)}/{words[1]}"))
        (kinds,) = words
        found: list[dict[str, Any]] = []
        for word in kinds.split(","):
            kind = self.kind(word)
            listed = self._ask(self._path(kind, namespace) + (f"?{urllib.parse.urlencode(query)}" if query else ""))
            named = {"apiVersion": kind.version, "kind": kind.kind}
            found += [_shown({**named, **item}) for item in listed.get("items") or ()]
        return {"apiVersion": "v1", "kind": "List", "items": found}

    def kind(self, word: str) -> Kind:
        """Return the kind that kubectl understands by a word: plural, singular, short, with or without its group."""
        if word not in self._words:
            self._learn()
        assert word in self._words, f"the server has no {word}"
        return self._words[word]

    def kinds(self, *, namespaced: bool) -> set[str]:
        """Return the names of all kinds that can be listed."""
        if time.monotonic() > self._learned + _FRESH or not self._kinds:
            self._learn()
        return {kind.name for kind in self._kinds if kind.listed and kind.namespaced == namespaced}

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:  # nobody says when a kubectl is done with
        if hasattr(self, "_connection"):
            self.close()

    # Inner ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _path(kind: Kind, namespace: str) -> str:
        root = f"/apis/{kind.version}" if "/" in kind.version else f"/api/{kind.version}"
        inside = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
        return f"{root}{inside}/{kind.plural}"

    def _learn(self) -> None:
        kinds: dict[str, Kind] = {}
        words: dict[str, Kind] = {}
        for root in ("/api", "/apis"):
            for group in self._ask(root, accept=_DISCOVERY)["items"]:
                name = group["metadata"].get("name", "")
                # the version that the server prefers comes first
                for version, each in ((v["version"], r) for v in group["versions"] for r in v.get("resources", ())):
                    kind = Kind(
                        name=f"{each['resource']}.{name}" if name else each["resource"],
                        kind=each["responseKind"]["kind"],
                        version=f"{name}/{version}" if name else version,
                        plural=each["resource"],
                        namespaced=each["scope"] == "Namespaced",
                        listed="list" in each["verbs"],
                    )
                    kinds.setdefault(kind.name, kind)
                    # the core group comes first, as with kubectl
                    for word in (kind.name, kind.plural, each.get("singularResource", ""), *each.get("shortNames", ())):
                        words.setdefault(word, kind)
        self._kinds, self._words, self._learned = list(kinds.values()), words, time.monotonic()

    def _ask(self, path: str, *, accept: str = "application/json") -> dict[str, Any]:
        with self._lock:
            for pause in (0.5, 1.0, 2.0, 0):
                status, content = self._request(path, accept=accept)
                if status not in _BUSY or not pause:
                    break
                time.sleep(pause)
        if status == 404:
            return {}
        assert status == 200, f"GET {path}: {status} {content.decode(errors='replace')}"
        return json.loads(content)

    def _request(self, path: str, *, accept: str) -> tuple[int, bytes]:
        kept = self._connection is not None
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(*self._address, timeout=60, context=self._tls)
        try:
            self._connection.request("GET", path, headers={**self._headers, "Accept": accept})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept:  # the server has closed it meanwhile, or was started anew
                return self._request(path, accept=accept)
            raise OSError(f"GET {path}: {error}") from error


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what kubectl does not show unless it is told to."""
    found.get("metadata", {}).pop("managedFields", None)
    return found


def _named(listed: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(each for each in listed if each["name"] == name)
