"""What the commands over a bucket load: they work where there is no cluster and no embedded one, and start quickly."""

import subprocess
import sys

ROOMS = ("comparing", "listing", "reading", "restoring", "verifying")


def test_nothing_of_a_cluster_is_loaded_and_nothing_that_has_one() -> None:
    script = (
        "import sys, datamover.cli.entry, datamover.cli.main\n"
        f"for room in {ROOMS}: __import__(f'datamover.cli.points.{{room}}')\n"
        "print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = set(ended.stdout.split())
    assert {f"datamover.cli.points.{room}" for room in ROOMS} <= loaded
    strange = (
        "localkube",
        "kubekit.client",
        "kubekit.runtime.informer",
        "datamover.reconcilers",
        "datamover.cli.run",
        "datamover.cli.embedded",
    )
    assert not [name for name in loaded if name.startswith(strange) and not name.startswith("datamover.cli.runnables")]
    assert not loaded & {"aiohttp", "asyncio", "prometheus_client"}
