"""The connection for acting: what stands in its way is a failed remedy, never a crash."""

import asyncio
import socket

import pytest

from premortem.app.assemble import settings_of
from premortem.app.config import Config
from premortem.app.sql_hand import SqlHand
from premortem.app.watch_site import make_watch
from premortem.remedies._hands import RemedyFailed


async def test_a_server_that_refuses_is_a_failed_remedy() -> None:
    hand = SqlHand.to("host=127.0.0.1 port=9 user=x dbname=y")
    await hand.hold()
    with pytest.raises(RemedyFailed, match="not connected"):
        await hand("select 1", ())
    await hand.close()


async def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        hand = SqlHand.to(f"host=127.0.0.1 port={silent.getsockname()[1]} user=x dbname=y")
        async with asyncio.timeout(10):
            with pytest.raises(RemedyFailed):
                await hand("select 1", ())
        await hand.close()


@pytest.mark.parametrize("act", [True, False])
def test_only_a_watch_that_may_act_holds_one(act: bool) -> None:
    config = Config.model_validate(
        {"site": {"shop": {"dsn": "host=db user=x"}}, "policy": {"act": act}}
    )
    watch = make_watch(settings_of(config, "shop"), lambda: 0.0)
    assert len(watch.held) == act
    assert (watch.hands.sql is not None) == act
    assert bool(watch.remedies) == act
