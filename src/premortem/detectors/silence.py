"""A metric that was reported and no longer is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from premortem.model import History, Signal

__all__ = ["Silence"]

LOOK_BACK_S = 120.0
"""Silent for longer than this reads as this."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Signals when ``metric`` was reported before and has been missing for ``after_s``."""

    metric: str
    after_s: float = 6.0
    """Five missed samples and a half: a slow tick or a restart of the watch is shorter."""
    words: str = ""

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal for each target that fell silent."""
        for target in history.targets(self.metric):
            if history.value(self.metric, target=target, max_age_s=self.after_s) is not None:
                continue
            at = history.window(self.metric, LOOK_BACK_S, target=target).at
            since = at[-1] if at else history.now - LOOK_BACK_S
            silent_s = history.now - since
            tail = f": {self.words}" if self.words else ""
            note = f"no {self.metric} from {target} for {silent_s:.0f} s{tail}"
            yield Signal("silence", self.metric, silent_s, self.after_s, since, 0.0, note)
