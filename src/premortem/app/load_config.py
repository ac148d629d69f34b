"""``[load]`` of premortem.toml: bars every run must clear, and what a test may do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from premortem.app.config import BadConfig
from premortem.load.bars import Bar, parse_bar
from premortem.load.safety import Ceilings, StopRules

__all__ = ["LoadConfig", "load_table"]

CEILINGS, RULES = Ceilings(), StopRules()


class LoadConfig(BaseModel):
    """The table ``[load]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bars: tuple[str, ...] = ()
    """Such as ``["p99<300ms", "failed<0.1% over 10s"]``; ``--bars`` replaces them."""
    rate_max_per_s: float = Field(default=CEILINGS.rate_max_per_s, gt=0)
    seconds_max: float = Field(default=CEILINGS.seconds_max, gt=0)
    stop_failed_share: float = Field(default=RULES.failed_share, gt=0, le=1)
    stop_after_s: int = Field(default=RULES.after_s, ge=1)
    stop_causes: tuple[str, ...] = RULES.causes
    timeout_ms: float = Field(default=10_000.0, gt=0)
    """Long, so that a test sees how slow it gets; the drill's visitors leave after 1 s."""
    retries: int = Field(default=0, ge=0)
    lag_p99_ms_max: float = Field(default=10.0, gt=0)
    """How late the generator may send; on a shared machine it is later than on one of its own."""
    keep: Path | None = None
    """File of the store in which results are kept; by default that of ``[history]``."""

    @field_validator("bars")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_bar(text)
        return value

    def parsed_bars(self) -> tuple[Bar, ...]:
        return tuple(parse_bar(text) for text in self.bars)

    def ceilings(self) -> Ceilings:
        return Ceilings(self.rate_max_per_s, self.seconds_max)

    def stop_rules(self) -> StopRules:
        return StopRules(self.stop_failed_share, self.stop_after_s, causes=self.stop_causes)


def load_table(table: Mapping[str, Any], where: str = "premortem.toml") -> LoadConfig:
    """Check the table. Raises :class:`BadConfig` with one line."""
    try:
        return LoadConfig.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in ("load", *first["loc"]))
        raise BadConfig(f"{where}: [{key}]: {first['msg']}") from None
