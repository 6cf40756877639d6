"""The command line of the cluster. Exit codes: 0 done (for `status`: everything runs), 1 it could not be done, 2 wrong arguments,
130 interrupted.
"""

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import cluster
from cluster.images import bring_images
from cluster.layout import ClusterError, find_layout
from cluster.machine import say
from cluster.rig import SERVER_IMAGE, Rig, as_json, describe_status


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
    commands.add_parser("images", help="build the project's images and bring them to the node")
    image = commands.add_parser("server-image", help="write the image of the tests' S3 server, for another cluster")
    image.add_argument("file", type=Path, metavar="FILE", help="the docker-archive file to write")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(arguments, Rig(find_layout()))
    except (ClusterError, OSError, subprocess.SubprocessError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped halfway; `up` goes on from here, `down` takes away what there is")
        return 130


def _run(arguments: argparse.Namespace, rig: Rig) -> int:
    if arguments.command == "up":
        rig.up()
        print(f"export KUBECONFIG={rig.layout.kubeconfig}")
    elif arguments.command == "down":
        gone = rig.down()
        say("nothing of it is left" if gone else f"no cluster at {rig.layout.directory}; nothing was touched")
    elif arguments.command == "load":
        rig.load(arguments.files)
    elif arguments.command == "images":
        print("\n".join(bring_images(rig).values()))
    elif arguments.command == "server-image":
        rig.write_server_image(arguments.file)
        print(SERVER_IMAGE)
    else:
        entries = rig.status()
        print(as_json(entries) if arguments.output == "json" else describe_status(entries))
        return 0 if all(entry["pid"] is not None for entry in entries) else 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
