"""One topology for many machines: the files of systemd, Ansible, compose or Kubernetes.

Everything is text from a topology: nothing is read, written or asked here. Passwords come from
the caller and appear in files that say so (``File.secret``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from premortem.cluster.confs import Secrets
from premortem.cluster.render.ansible import ansible
from premortem.cluster.render.compose import compose
from premortem.cluster.render.file import File
from premortem.cluster.render.kubernetes import kubernetes
from premortem.cluster.render.systemd import systemd
from premortem.cluster.topology import BadTopology, Topology

__all__ = ["TARGETS", "File", "Target", "render"]

Target = Literal["systemd", "ansible", "compose", "kubernetes"]
TARGETS: tuple[str, ...] = get_args(Target)

_MAKE: Mapping[str, Callable[[Topology, Secrets], tuple[File, ...]]] = {
    "systemd": systemd,
    "ansible": ansible,
    "compose": compose,
    "kubernetes": kubernetes,
}


def render(topology: Topology, target: str, secrets: Secrets) -> tuple[File, ...]:
    """The files of one target. Raises ``BadTopology`` for an unknown one or for ``trust``."""
    if target not in _MAKE:
        raise BadTopology(f"no target {target!r}; there are {', '.join(TARGETS)}")
    if topology.postgres.auth == "trust":
        raise BadTopology("auth = 'trust' is never rendered: set auth = \"scram-sha-256\"")
    return _MAKE[target](topology, secrets)
