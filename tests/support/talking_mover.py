"""A mover of somebody else's: it moves nothing and says what it is told to say. Run as a program by the node.

`LOG` is printed, `WORDS` go into the termination message, `CODE` is the exit code. Long texts are built here: `@N` at the end of `WORDS`
repeats its last letter N times, because a Pod's environment is no place for a megabyte.
"""

import os
import sys
from pathlib import Path


def main() -> int:
    """Say it."""
    words, mark, times = os.environ.get("WORDS", "").partition("@")
    if mark:
        words += words[-1] * int(times)
    print(os.environ.get("LOG", ""), flush=True)
    Path(os.environ.get("DATAMOVER_ROOT", "") + "/dev/termination-log").write_text(words, encoding="utf-8")
    return int(os.environ.get("CODE", "0"))


if __name__ == "__main__":
    sys.exit(main())
