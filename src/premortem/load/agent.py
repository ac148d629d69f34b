"""The other end of :mod:`premortem.load.agents`: an attack from standard input, its results on
standard output, as JSON Lines."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from premortem.load.agents import PROTOCOL
from premortem.load.carried import result_to, second_to
from premortem.load.shipped import unpack
from premortem.load.sockets import resolve
from premortem.load.spec import Attack, BadSpec, spec_from
from premortem.load.workers import attack_many

__all__ = ["serve"]


def serve(lines: IO[str], out: IO[str]) -> int:
    """Run the attack that comes in. Exit code 0, or 2 for one that cannot be.

    Changes this process's folder to a temporary one, in which the attack's files are.
    """

    def say(message: Mapping[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    with TemporaryDirectory(prefix="premortem-agent-") as folder:
        here = Path.cwd()
        try:
            plan, processes = _task(lines.readline(), Path(folder))
            resolve(plan.base_url)  # can this machine find the site?
        except (OSError, ValueError, KeyError, TypeError) as error:
            say({"error": " ".join(str(error).split()) or repr(error)})
            return 2
        finally:
            os.chdir(here)
        say({"ready": True})
        begin = lines.readline()
        if not begin:
            return 0  # whoever called has gone
        start_at = time.time() + float(json.loads(begin)["start_in_s"])
        plan = replace(plan, start_at=start_at)
        result = attack_many(plan, processes, lambda row: say(second_to(row)), _watch(lines))
        say({"final": result_to(result)})
    return 0


def _watch(lines: IO[str]) -> Callable[[Callable[[], None]], None]:
    """End the attack when standard input ends."""

    def watch(end: Callable[[], None]) -> None:
        def wait() -> None:
            while lines.readline():
                pass
            end()

        threading.Thread(target=wait, daemon=True).start()

    return watch


def _task(line: str, folder: Path) -> tuple[Attack, int]:
    """``(attack, processes)``. Raises ``ValueError``, ``KeyError``, ``TypeError``, ``OSError``."""
    task = json.loads(line)
    if task["premortem_agent"] != PROTOCOL:
        raise BadSpec(f"the caller speaks protocol {task['premortem_agent']}, this is {PROTOCOL}")
    unpack(task["files"], folder)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    spec = dict(task["spec"])
    if spec.get("ca_file"):
        spec["ca_file"] = str(folder / spec["ca_file"])
    which, of = task["share"]
    return replace(spec_from(spec), share=(int(which), int(of))), int(spec["processes"])
