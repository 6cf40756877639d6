"""The command line of the cluster. Exit codes: 0 done (for `status`: everything runs), 1 it could not be done, 2 wrong arguments."""

import argparse
import sys
from pathlib import Path

import cluster
from cluster.daemons import DaemonError
from cluster.layout import find_layout
from cluster.machine import MachineError, say
from cluster.rig import Rig, RigError, as_json, describe_status


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster", description=cluster.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and wait until it is ready")
    commands.add_parser("down", help="stop everything and leave nothing behind")
    status = commands.add_parser("status", help="tell what runs")
    status.add_argument("-o", "--output", choices=["table", "json"], default="table")
    load = commands.add_parser("load", help="bring images to the node")
    load.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a docker-archive file")
    arguments = parser.parse_args()
    rig = Rig(find_layout())
    try:
        if arguments.command == "up":
            rig.up()
            print(f"export KUBECONFIG={rig.layout.kubeconfig}")
        elif arguments.command == "down":
            rig.down()
            say("nothing of it is left")
        elif arguments.command == "load":
            rig.load(arguments.files)
        else:
            entries = rig.status()
            print(as_json(entries) if arguments.output == "json" else describe_status(entries))
            return 0 if all(entry["pid"] is not None for entry in entries) else 1
    except (RigError, DaemonError, MachineError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
