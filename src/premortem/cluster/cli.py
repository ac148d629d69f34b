"""``premortem cluster``: the commands. Exit codes: 0 fine, 1 refused or unhealthy, 2 bad input,
3 cannot reach what it needs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, get_args

from cyclopts import App, Parameter
from rich.console import Console
from rich.live import Live

from premortem.cluster.check import check, refused
from premortem.cluster.client import Cluster
from premortem.cluster.place import default_folder, local_topology
from premortem.cluster.render import Target, render
from premortem.cluster.state import new_secrets
from premortem.cluster.topology import BadTopology, Sync, Topology, read_topology
from premortem.cluster.view import masked, view
from premortem.engines.errors import EngineError

__all__ = ["app"]

FINE, UNMET, BAD_INPUT, CANNOT_REACH = 0, 1, 2, 3
P = ParamSpec("P")

app = App(name="cluster", help="Three PostgreSQL servers that stand in for each other.")

Name = Annotated[str, Parameter(help="Several clusters may run side by side, each with a name.")]
Folder = Annotated[Path | None, Parameter(help="Where the cluster lives; default by its name.")]
Json = Annotated[bool, Parameter(name="--json", help="One JSON object instead of text.")]


def _one_line(command: Callable[P, int]) -> Callable[P, int]:
    """Every expected failure becomes one line and a code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except BadTopology as error:
            print(f"premortem cluster: {error}", file=sys.stderr)
            return BAD_INPUT
        except EngineError as error:
            print(f"premortem cluster: {error}", file=sys.stderr)
            return CANNOT_REACH
        except OSError as error:
            where = error.filename or ""
            print(f"premortem cluster: {error.strerror} {where}".rstrip(), file=sys.stderr)
            return BAD_INPUT

    return run


def _cluster(name: str, folder: Path | None, *, quiet: bool = False) -> Cluster:
    def say(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    return Cluster((folder or default_folder(name)).absolute(), (lambda _: None) if quiet else say)


def _show(result: Mapping[str, object] | None, as_json: bool, text: str) -> int:
    print(json.dumps(result or {}, default=str) if as_json else text)
    return FINE


@app.command
@_one_line
def up(
    *,
    name: Name = "main",
    folder: Folder = None,
    nodes: int = 3,
    sync: Sync = "quorum",
    topology: Path | None = None,
    port: int | None = None,
    embedded: bool = True,
    json_: Json = False,
) -> int:
    """Start a cluster on this machine, or start it again; ready in some ten seconds.

    Prints two DSNs: ``app`` (read-write) and ``app_ro`` (replicas, may lag). They hold passwords.

    Example: premortem cluster up --nodes 3 --sync quorum

    Parameters
    ----------
    nodes
        Servers, 1 to 9. Three survive the loss of any one.
    sync
        quorum: a commit waits for any replica. on: for a named one. off: for none, and a crash
        may lose the last commits.
    topology
        A topology file whose nodes are all on loopback, instead of --nodes and --sync.
    port
        Where sites connect; default: a free one.
    embedded
        PostgreSQL from the wheel (the only kind this command starts).
    """
    cluster = _cluster(name, folder, quiet=json_)
    if not 1 <= nodes <= 9:
        raise BadTopology(f"--nodes {nodes}: between 1 and 9")
    if not embedded:
        raise BadTopology("--no-embedded: render the topology for systemd instead")
    known = (cluster.folder / "cluster.json").exists()
    wanted: Topology | None = None
    if topology is not None:
        wanted = _read(topology)
        if not wanted.loopback:
            raise BadTopology(f"{topology}: has nodes elsewhere: use premortem cluster render")
    elif not known:
        wanted = local_topology(name, nodes, sync if nodes > 1 else "off", port=port)
    result = cluster.up(wanted)
    lines = [view(result), "", f"app     {result['app']}", f"app_ro  {result['app_ro']}"]
    return _show(result, json_, "\n".join(lines))


@app.command
@_one_line
def status(
    *,
    name: Name = "main",
    folder: Folder = None,
    watch: bool = False,
    show_passwords: bool = False,
    json_: Json = False,
) -> int:
    """Roles, lag, synchronous standbys, etcd, routes and pools. Exit 1 without a primary.

    Example: premortem cluster status --watch

    Parameters
    ----------
    watch
        A live view, once a second, until Ctrl-C.
    show_passwords
        Also in the two DSNs.
    """
    cluster = _cluster(name, folder)

    def look() -> Mapping[str, object]:
        found = cluster.status()
        return found if show_passwords else masked(found)

    result = look()
    if watch and not json_:
        _live(look)
    else:
        _show(result, json_, view(result))
    return FINE if result["primary"] else UNMET


def _live(look: Callable[[], Mapping[str, object]]) -> None:
    console = Console()
    try:
        with Live(view(look()), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(1.0)
                live.update(view(look()), refresh=True)
    except KeyboardInterrupt:
        return


@app.command
@_one_line
def down(*, name: Name = "main", folder: Folder = None, json_: Json = False) -> int:
    """Stop every process in order; the data stays.

    Example: premortem cluster down
    """
    _cluster(name, folder).down()
    return _show(None, json_, "stopped; the data is kept (premortem cluster up starts it again)")


@app.command
@_one_line
def destroy(
    *, name: Name = "main", folder: Folder = None, yes: bool = False, json_: Json = False
) -> int:
    """Stop every process and delete all data of the cluster.

    Example: premortem cluster destroy --yes

    Parameters
    ----------
    yes
        Needed: there is no way back.
    """
    cluster = _cluster(name, folder)
    if not yes:
        raise BadTopology(f"this deletes all data in {cluster.folder}: add --yes")
    cluster.destroy()
    return _show(None, json_, "gone: no process and no file is left")


@app.command
@_one_line
def switchover(
    to: str = "", /, *, name: Name = "main", folder: Folder = None, json_: Json = False
) -> int:
    """Make another server primary; pooled clients wait and see no error.

    Example: premortem cluster switchover

    Parameters
    ----------
    to
        Which one. Naming one uses Patroni's own switchover: some 4.5 s without a commit.
    """
    result = _cluster(name, folder, quiet=json_).switchover(to)
    return _show(result, json_, f"primary: {result['primary']}")


@app.command
@_one_line
def restart(*, name: Name = "main", folder: Folder = None, json_: Json = False) -> int:
    """Restart every server in turn, replicas first; pooled clients see no error.

    Example: premortem cluster restart
    """
    result = _cluster(name, folder, quiet=json_).rolling_restart()
    return _show(result, json_, "every server was restarted")


@app.command
@_one_line
def add_node(
    node: str = "", /, *, name: Name = "main", folder: Folder = None, json_: Json = False
) -> int:
    """Add a replica on this machine and wait until it streams.

    Example: premortem cluster add-node
    """
    result = _cluster(name, folder, quiet=json_).add_node(node)
    return _show(result, json_, f"{result['node']} streams")


@app.command
@_one_line
def remove_node(
    node: str, /, *, name: Name = "main", folder: Folder = None, json_: Json = False
) -> int:
    """Stop a replica and delete its data. Its etcd member, if it has one, goes on voting.

    Example: premortem cluster remove-node node4
    """
    result = _cluster(name, folder, quiet=json_).remove_node(node)
    return _show(result, json_, f"{node} is removed")


@app.command
@_one_line
def reinit(node: str, /, *, name: Name = "main", folder: Folder = None, json_: Json = False) -> int:
    """Throw a replica's data away and copy the primary afresh.

    Example: premortem cluster reinit node2
    """
    result = _cluster(name, folder, quiet=json_).reinit(node)
    return _show(result, json_, f"{node} streams again")


@app.command
@_one_line
def logs(
    part: str = "",
    /,
    *,
    lines: int = 20,
    name: Name = "main",
    folder: Folder = None,
    json_: Json = False,
) -> int:
    """The last lines of every part's log, or of one: supervisor, patroni-node1, haproxy …

    Example: premortem cluster logs supervisor --lines 50
    """
    found = _cluster(name, folder).logs(part, max(1, min(lines, 10_000)))
    text = "\n".join(f"== {n}\n" + "\n".join(said) for n, said in found.items())
    return _show(found, json_, text)


@app.command
@_one_line
def plan(topology: Path, /, *, json_: Json = False) -> int:
    """Check a topology file: what would bite, why, and the mend. Exit 1 when it is refused.

    Example: premortem cluster plan shop.toml
    """
    t = _read(topology)
    found = check(t)
    facts: dict[str, Any] = {
        "name": t.name,
        "refused": refused(found),
        "problems": [
            {"rule": p.rule, "severity": p.severity, "what": p.what, "why": p.why, "mend": p.mend}
            for p in found
        ],
    }
    head = f"{t.name}: {len(t.servers)} servers, {len(t.voters)} etcd members, sync = {t.sync}"
    text = "\n".join([head, *(str(p) for p in found), "" if found else "nothing would bite"])
    _show(facts, json_, text.rstrip())
    return UNMET if refused(found) else FINE


@app.command(name="render")
@_one_line
def render_(
    topology: Path,
    /,
    *,
    target: Target = "systemd",
    out: Path = Path("cluster-files"),
    json_: Json = False,
) -> int:
    """Write the topology for many machines, with fresh passwords. Exit 1 when it is refused.

    Example: premortem cluster render shop.toml --target systemd --out shop-files

    Parameters
    ----------
    target
        systemd, ansible (an Autobase inventory), compose, or kubernetes (CloudNativePG).
    out
        A folder that does not exist yet.
    """
    t = _read(topology)
    found = check(t)
    if refused(found):
        for p in found:
            print(str(p), file=sys.stderr)
        return UNMET
    if target not in get_args(Target):
        raise BadTopology(f"--target {target}: one of {', '.join(get_args(Target))}")
    if out.exists():
        raise BadTopology(f"{out} exists: choose another --out, it will hold passwords")
    files = render(t, target, new_secrets())
    for file in files:
        path = out / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600 if file.secret else 0o644)
        path.write_text(file.text)
        if file.program:
            path.chmod(0o755)
    facts = {"out": str(out), "files": [f.path for f in files]}
    secret = [f.path for f in files if f.secret]
    text = f"{len(files)} files in {out}; with passwords (mode 0600): {', '.join(secret)}"
    return _show(facts, json_, text)


def _read(path: Path) -> Topology:
    try:
        return read_topology(path.read_text(), str(path))
    except UnicodeDecodeError as error:
        raise BadTopology(f"{path}: not text") from error
