"""Starts the supervisor again when it is killed: ``twin.py PID COMMAND…``. Standard library only.

The supervisor stops its twin before it ends in order, so whenever the twin sees the supervisor
gone, it was killed.
"""

import os
import subprocess
import sys
import time

LOOK_S = 0.2


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie (our parent's death makes us an orphan)."""
    return os.getppid() == pid


def main() -> int:
    """Wait for our parent's end, start the command, end: the new supervisor makes a new twin."""
    pid, command = int(sys.argv[1]), sys.argv[2:]
    while alive(pid):
        time.sleep(LOOK_S)
    subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
