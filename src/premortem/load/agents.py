"""The same attack from several machines, merged exactly.

An agent is this engine at the other end of a command (``ssh HOST premortem load agent``) and speaks
JSON Lines: the attack and its files come in on standard input, then ``{"start_in_s": …}`` once all
are ready; rows and at the end the whole result go out on standard output. Each sends every n-th
user of one seeded schedule. When standard input ends, so does the attack: an agent whose caller has
gone sends nobody.
"""

from __future__ import annotations

import json
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from tempfile import TemporaryFile
from typing import IO, Any

from premortem.load.attack import Result
from premortem.load.carried import result_from, second_from
from premortem.load.shipped import files_of, spec_of
from premortem.load.spec import Attack
from premortem.load.stats import Second
from premortem.load.workers import Seconds, merge_results

__all__ = ["AGENT_COMMAND", "PROTOCOL", "AgentFailed", "attack_on_agents", "ssh_command"]

PROTOCOL = 1
AGENT_COMMAND = "premortem load agent"
AGENTS_MAX = 100
SSH = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
READY_S_MAX = 60.0
"""Logging in and importing, on a slow machine far away."""
START_IN_S = 0.5
"""Until all have heard that they may start: longer than a round trip round the world."""
GRACE_S = 30.0
"""After the last user may have ended; then an agent is taken for dead."""


class AgentFailed(RuntimeError):
    """An agent could not be reached, or refused the attack."""


def ssh_command(host: str, command: str = AGENT_COMMAND) -> list[str]:
    """How an agent on ``host`` is reached. Never asks for a password. Raises ``ValueError``.

    >>> ssh_command("me@web2")[-2:]
    ['me@web2', 'premortem load agent']
    """
    if not host or host.startswith("-") or any(c.isspace() for c in host):
        raise ValueError(f"not a host: {host!r}")
    options = [
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    ]
    return ["ssh", "-T", *(word for option in options for word in ("-o", option)), host, command]


@dataclass(slots=True)
class _Agent:
    """One agent, and a thread that reads what it says."""

    number: int
    command: Sequence[str]
    said: queue.Queue[tuple[int, Mapping[str, Any] | None]]
    process: subprocess.Popen[str] = field(init=False)
    errors: IO[bytes] = field(init=False)
    thread: threading.Thread = field(init=False)

    @property
    def name(self) -> str:
        return shlex.join(self.command)[:80]

    def start(self, task: Mapping[str, Any]) -> None:
        self.errors = TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                text=True, process_group=0,
            )  # fmt: skip
        except OSError as error:
            self.errors.close()
            raise AgentFailed(f"{self.name}: {error.strerror}") from error
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.tell(task)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError):  # an agent that says something else has failed
            for line in self.process.stdout:
                self.said.put((self.number, dict(json.loads(line))))
        self.said.put((self.number, None))

    def tell(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it has gone: the reader notices
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def hang_up(self) -> None:
        """Have it end with what it has."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def last_words(self) -> str:
        """Why it ended, as far as it said."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        self.errors.seek(0)
        lines = self.errors.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        self.hang_up()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.thread.join(5.0)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()


def attack_on_agents(
    plan: Attack,
    journey: object,
    commands: Sequence[Sequence[str]],
    on_second: Callable[[Second], None] | None = None,
    stop: Callable[[Callable[[], None]], None] | None = None,
    *,
    processes: int = 1,
) -> Result:
    """Run ``plan`` on the agents behind ``commands``, each with ``processes`` processes.

    ``journey`` is how the plan's journeys are named in a spec: the files it names are sent along.
    ``stop`` is handed a function that ends the run early. Raises :class:`AgentFailed` when an agent
    cannot be reached or refuses; one that dies later makes the result invalid. Raises
    ``ValueError`` for what cannot be sent to another machine.
    """
    if not 1 <= len(commands) <= AGENTS_MAX:
        raise ValueError(f"agents: from 1 to {AGENTS_MAX}, not {len(commands)}")
    if plan.ack_file is not None:
        raise ValueError("acknowledgements are written where the users are: not with agents")
    task = {
        "premortem_agent": PROTOCOL,
        "spec": {**spec_of(plan, journey), "processes": processes},
        "files": files_of(journey, plan.ca_file),
    }
    said: queue.Queue[tuple[int, Mapping[str, Any] | None]] = queue.Queue()
    agents: list[_Agent] = []
    try:
        for number, command in enumerate(commands):
            agent = _Agent(number, command, said)
            agent.start({**task, "share": [number, len(commands)]})
            agents.append(agent)
        _ready(agents, said)
        if stop is not None:
            stop(lambda: _hang_up(agents))
        plan = replace(plan, start_at=time.time() + START_IN_S)
        for agent in agents:
            agent.tell({"start_in_s": START_IN_S})
        return _collect(plan, agents, said, on_second or (lambda row: None))
    finally:
        for agent in agents:
            agent.close()


def _hang_up(agents: Sequence[_Agent]) -> None:
    for agent in agents:
        agent.hang_up()


def _ready(
    agents: Sequence[_Agent], said: queue.Queue[tuple[int, Mapping[str, Any] | None]]
) -> None:
    """Wait until all have the attack and could begin it."""
    end = time.monotonic() + READY_S_MAX
    waiting = {agent.number for agent in agents}
    while waiting:
        try:
            number, message = said.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            names = ", ".join(agents[number].name for number in sorted(waiting))
            raise AgentFailed(f"not ready within {READY_S_MAX:g} s: {names}") from None
        if message is None or "error" in message:
            agent = agents[number]
            if message is None:
                with suppress(subprocess.TimeoutExpired):
                    agent.process.wait(2.0)  # so that its last words are there
            raise AgentFailed(
                f"{agent.name}: {message['error'] if message else agent.last_words()}"
            )
        waiting.discard(number)


def _collect(
    plan: Attack,
    agents: Sequence[_Agent],
    said: queue.Queue[tuple[int, Mapping[str, Any] | None]],
    on_second: Callable[[Second], None],
) -> Result:
    """Rows as they come, then one result of all."""
    seconds = Seconds(len(agents), on_second)
    longest_s = plan.pace.seconds + plan.settings.drain_s + GRACE_S
    end = time.monotonic() + longest_s
    results: dict[int, Result] = {}
    lost: dict[int, str] = {}
    while len(results) + len(lost) < len(agents):
        try:
            number, message = said.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            silent = {a.number for a in agents} - set(results) - set(lost)
            lost |= dict.fromkeys(silent, f"no result after {longest_s:g} s")
            break
        if number in results or number in lost:
            continue
        try:
            if message is None:
                lost[number] = agents[number].last_words()
            elif "final" in message:
                results[number] = result_from(message["final"])
            else:
                seconds.take(second_from(message))
        except (KeyError, TypeError, ValueError) as error:
            lost[number] = f"not an answer: {error!r}"
    result = merge_results(plan, list(results.values()), len(agents))
    why = tuple(f"agent lost: {agents[n].name}: {words}" for n, words in sorted(lost.items()))
    return replace(result, reasons=result.reasons + why)
