"""Keeps one part's bug from the others: the loop's second half, and like it may catch anything.

A cause that raises is judged ``cannot_exclude`` (the honest answer to missing evidence), a detector
that raises sees nothing, a watch that ends by a bug is started again. Each is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from premortem.model import History, Signal, Verdict
from premortem.pipeline import Cause, Detector, Pipeline, Tick

__all__ = ["Shelter", "contained", "describe", "kind_and_place", "supervised"]

AGAIN_AFTER_S, AGAIN_AFTER_MAX_S = 1.0, 60.0
"""Doubled at each crash up to a minute: a bug at every start must not become a load."""

HELD_S = 600.0
"""A watch that held this long before it crashed starts from the shortest wait again."""


class Shelter:
    """Bugs of detectors and causes, each told once: ``bugs`` maps the part to its latest error."""

    def __init__(self) -> None:
        self.bugs: dict[str, str] = {}

    def over(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline, whose parts cannot stop each other."""
        detectors = [_Detector(d, self.bugs) for d in pipeline.detectors]
        causes = [_Cause(c, self.bugs) for c in pipeline.causes]
        return Pipeline(pipeline.history, detectors, causes)


class _Detector:
    def __init__(self, part: Detector, bugs: dict[str, str]) -> None:
        self._part, self._bugs = part, bugs

    def detect(self, history: History) -> Iterable[Signal]:
        try:
            return tuple(self._part.detect(history))
        except Exception as error:  # noqa: BLE001 - see the module's first paragraph
            self._bugs[type(self._part).__name__] = describe(error)
            return ()


class _Cause:
    def __init__(self, part: Cause, bugs: dict[str, str]) -> None:
        self._part, self._bugs = part, bugs
        self.remedies = part.remedies
        self._last: Verdict | None = None

    def judge(self, history: History) -> Verdict:
        try:
            self._last = self._part.judge(history)
        except Exception as error:  # noqa: BLE001 - see the module's first paragraph
            name, text = type(self._part).__name__, describe(error)
            self._bugs[name] = text
            return self._unjudged(name, text)
        return self._last

    def _unjudged(self, name: str, text: str) -> Verdict:
        because = f"could not be judged: {text}"
        if self._last is not None:
            return Verdict(self._last.cause, self._last.tier, "cannot_exclude", because)
        cause = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        return Verdict(cause, getattr(self._part, "tier", "web"), "cannot_exclude", because)


def describe(error: BaseException) -> str:
    """One line about a bug: its kind, its words, where it arose."""
    return f"{kind_and_place(error)}: {' '.join(str(error).split())[:200]}"


def kind_and_place(error: BaseException) -> str:
    """A bug's kind and where it arose, without its words: they may hold somebody's secrets."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
    return f"{type(error).__name__}{where}"


def contained(work: Callable[[], bool]) -> bool | str:
    """What ``work`` returns, or what it raised (a service's client may raise anything)."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - see the module's first paragraph
        return kind_and_place(error)


async def supervised(
    start: Callable[[], AsyncGenerator[Tick, None]],
    take: Callable[[Tick], None],
    crashed: Callable[[str, float], None],
    again_after_s: float = AGAIN_AFTER_S,
) -> None:
    """Run a watch to its end; after a crash tell why and when, and start it again."""
    wait_s = again_after_s
    while True:
        begun = time.monotonic()
        try:
            async with aclosing(start()) as ticks:
                async for tick in ticks:
                    take(tick)
        except Exception as error:  # noqa: BLE001 - see the module's first paragraph
            if time.monotonic() - begun > HELD_S:
                wait_s = again_after_s
            crashed(describe(error), wait_s)
        else:
            return
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, AGAIN_AFTER_MAX_S)
