"""The switchover: only on a cluster that is well, and it can be taken back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from premortem.causes._cluster import CLUSTER
from premortem.model import History, Reading
from premortem.remedies._hands import Hands, RemedyFailed
from premortem.remedies.switchover import ClusterHands, Switchover
from premortem.sources._declared import declared_metrics


class Members:
    """A cluster's double: remembers who leads."""

    def __init__(self) -> None:
        self.primary = "node1"

    async def move(self, to: str) -> Mapping[str, object]:
        before, self.primary = self.primary, to or "node2"
        return {"from": before, "primary": self.primary}


def history(**changed: float) -> History:
    found = History(declared_metrics())
    values = {k: float(v) for k, v in CLUSTER.items()}
    values |= {f"db.cluster.{k}": v for k, v in changed.items()}
    found.observe(Reading("patroni", "c", 1.0, values))
    return found


async def test_it_moves_the_primary_and_moves_it_back() -> None:
    members = Members()
    hands = ClusterHands(move=members.move)
    action = await Switchover().apply(hands, history())
    assert action is not None
    assert members.primary == "node2"
    assert action.data == {"from": "node1", "primary": "node2"}
    assert action.undo == "switch over to node1"
    await Switchover().undo(hands, action)
    assert members.primary == "node1"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"primaries": 2.0}, "not exactly one"),
        ({"primaries": 0.0}, "not exactly one"),
        ({"leaders": 0.0}, "not exactly one"),
        ({"followers": 0.0}, "no replica streams"),
        ({"sync_standbys": 0.0}, "no replica confirms"),
        ({"sync_wanted": 0.0, "lag_bytes": 5e6}, "lacks 5.0 MB"),
        ({"failsafe": 1.0}, "cannot elect"),
        ({"paused": 1.0}, "cannot elect"),
    ],
)
async def test_a_cluster_that_is_not_well_is_left_alone(
    changed: dict[str, float], why: str
) -> None:
    members = Members()
    with pytest.raises(RemedyFailed, match=why):
        await Switchover().apply(ClusterHands(move=members.move), history(**changed))
    assert members.primary == "node1"


async def test_an_asynchronous_cluster_may_switch_when_nothing_is_missing() -> None:
    members = Members()
    asynchronous = history(sync_wanted=0.0, sync_standbys=0.0, lag_bytes=100.0)
    assert await Switchover().apply(ClusterHands(move=members.move), asynchronous) is not None


async def test_without_a_cluster_it_says_so() -> None:
    with pytest.raises(RemedyFailed, match="stands alone"):
        await Switchover().apply(Hands(), history())


async def test_a_cluster_nobody_watches_is_left_alone() -> None:
    members = Members()
    with pytest.raises(RemedyFailed, match="not exactly one"):
        await Switchover().apply(ClusterHands(move=members.move), History(declared_metrics()))
