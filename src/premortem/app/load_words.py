"""Load shapes as people write them: ``ramp 10..200 60s; constant 200 5m``."""

from __future__ import annotations

import re
from typing import Any

from premortem.load.pace import BadPace, Pacer, pace_from

__all__ = ["FORMS", "pace_from_words", "seconds_from"]

FORMS = (
    "constant RATE TIME", "ramp FROM..TO TIME", "steps RATE,RATE,... TIME_EACH",
    "sine MEAN+-SWING PERIOD TIME",
)  # fmt: skip
NUMBER = r"(\d+(?:\.\d+)?)"
TIME = r"(\d+(?:\.\d+)?(?:ms|s|m|h)?)"
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds_from(text: str) -> float:
    """A length of time in seconds; without a unit it is seconds. Raises :class:`BadPace`.

    >>> seconds_from("90s"), seconds_from("1.5m"), seconds_from("20")
    (90.0, 90.0, 20.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip(), re.ASCII)
    if found is None:
        raise BadPace(f"{text!r} is no length of time: write 90s, 1.5m or 2h")
    return float(found[1]) * UNITS_S[found[2] or ""]


def _segment(words: str) -> dict[str, Any]:
    words = " ".join(words.split())
    if found := re.fullmatch(rf"constant {NUMBER} {TIME}", words):
        return {"kind": "constant", "rate": float(found[1]), "seconds": seconds_from(found[2])}
    if found := re.fullmatch(rf"ramp {NUMBER} ?\.\. ?{NUMBER} {TIME}", words):
        ends = {"from": float(found[1]), "to": float(found[2])}
        return {"kind": "ramp", **ends, "seconds": seconds_from(found[3])}
    if found := re.fullmatch(rf"steps ((?:{NUMBER},? ?)+?) {TIME}", words):
        rates = [float(rate) for rate in re.split(r"[, ]+", found[1].strip(", "))]
        return {"kind": "steps", "rates": rates, "step_s": seconds_from(found[found.re.groups])}
    if found := re.fullmatch(rf"sine {NUMBER} ?(?:\+-|±) ?{NUMBER} {TIME} {TIME}", words):
        wave = {"mean": float(found[1]), "swing": float(found[2])}
        times = {"period_s": seconds_from(found[3]), "seconds": seconds_from(found[4])}
        return {"kind": "sine", **wave, **times}
    raise BadPace(f"pace {words!r}: write {'; '.join(FORMS)}")


def pace_from_words(text: str) -> Pacer:
    """One shape after the other, parted by semicolons. Raises :class:`BadPace`.

    >>> pace_from_words("ramp 10..200 60s; constant 200 1m").count(120.0)
    18300.0
    """
    return pace_from([_segment(part) for part in text.split(";") if part.strip()])
