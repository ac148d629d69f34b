"""Two rehearsals on the same cores take turns."""

import asyncio

from premortem.drills.cores import claimed

CORES = (9_001, 9_002)


async def hold(log: list[str], name: str, seconds: float) -> None:
    async with claimed(CORES, lambda: log.append(f"{name} waits")):
        log.append(f"{name} begins")
        await asyncio.sleep(seconds)
        log.append(f"{name} ends")


async def test_the_second_waits_for_the_first() -> None:
    log: list[str] = []
    first = asyncio.create_task(hold(log, "a", 0.3))
    await asyncio.sleep(0.05)
    await asyncio.gather(first, hold(log, "b", 0.0))
    assert log == ["a begins", "b waits", "a ends", "b begins", "b ends"]


async def test_other_cores_are_free() -> None:
    async with claimed(CORES, lambda: None):
        async with asyncio.timeout(1):
            async with claimed((9_003,), lambda: None):
                pass


async def test_no_cores_no_claim() -> None:
    async with claimed((), lambda: None), claimed((), lambda: None):
        pass
