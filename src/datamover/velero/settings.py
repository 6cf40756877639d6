"""What a Velero server tells its plugins: its own arguments and its environment. Pure but for the one file that names the namespace.

A plugin is started with the arguments of the server itself (`--log-level debug --features EnableCSI --client-qps 100`), so most are not for it,
and those of tomorrow are unknown: whatever is not understood is passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_NAMESPACE = "velero"
LEVELS = ("trace", "debug", "info", "warn", "error")
_LEVEL_WORDS = {"warning": "warn", "fatal": "error", "panic": "error"}
_LOW, _HIGH = 10_000, 25_000
"""The ports that a host offers when it says nothing, first and last."""
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`command` is the path by which the program was started; `kubeconfig` and `context` are None where Velero was told none."""

    command: str
    log_level: str = "info"
    namespace: str = DEFAULT_NAMESPACE
    kubeconfig: Path | None = None
    context: str | None = None
    ports: range = range(_LOW, _HIGH + 1)
    socket_directory: str | None = None


def read_settings(
    argv: Sequence[str], environ: Mapping[str, str], *, namespace_file: Path = _NAMESPACE_FILE
) -> Settings:
    """Return what the arguments (the program's own path first) and the environment say. Nothing in them is an error."""
    told = _flags(argv[1:])
    level = (told.get("log-level") or "info").lower()
    level = _LEVEL_WORDS.get(level, level)
    namespace = told.get("namespace") or told.get("n") or environ.get("VELERO_NAMESPACE") or _own(namespace_file)
    return Settings(
        command=argv[0],
        log_level=level if level in LEVELS else "info",
        namespace=namespace or DEFAULT_NAMESPACE,
        kubeconfig=Path(told["kubeconfig"]) if told.get("kubeconfig") else None,
        context=told.get("kubecontext") or None,
        ports=_ports(environ),
        socket_directory=environ.get("PLUGIN_UNIX_SOCKET_DIR") or None,
    )


def _flags(words: Sequence[str]) -> dict[str, str]:
    """Return the values of those few flags that concern a plugin, as `--flag value`, `--flag=value`, and `-n value`."""
    found: dict[str, str] = {}
    wanted = ("log-level", "namespace", "n", "kubeconfig", "kubecontext")
    for at, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or name not in wanted:
            continue
        if equals:
            found[name] = value
        elif at + 1 < len(words):
            found[name] = words[at + 1]
    return found


def _own(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _ports(environ: Mapping[str, str]) -> range:
    low = _port(environ.get("PLUGIN_MIN_PORT", ""), _LOW)
    high = _port(environ.get("PLUGIN_MAX_PORT", ""), _HIGH)
    return range(low, high + 1) if low <= high else range(_LOW, _HIGH + 1)


def _port(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65_536 else otherwise
