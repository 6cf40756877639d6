"""Whether the kernel of this machine can confine a process."""

import subprocess
import sys


def confinement_works() -> bool:
    """Try it in a process of its own."""
    code = "import sys; from datamover.agent.rsync.confinement import Reach, confine; sys.exit(not confine(Reach(owned=('/tmp',))))"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
