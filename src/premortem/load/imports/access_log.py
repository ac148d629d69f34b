"""Access logs of nginx and Apache → a journey: which routes how often, think times, the rate.

The combined format (and the common one, where a visitor is an address). A visit ends after 30
minutes of silence. What people did is written as tasks taken by chance in the log's proportions:
so the mix of routes, the requests a visit, the pauses and the requests a minute are the log's; the
order of pages is not kept.
"""

from __future__ import annotations

import gzip
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, urlencode

from premortem.load.imports.draft import BadImport, Draft, LeftOut, secret
from premortem.load.imports.ids import is_static
from premortem.load.imports.mix import busiest_stretch, pace_of, tasks_of, think_of

__all__ = ["Log", "from_access_logs", "opened"]

LINE = re.compile(
    r'(?:\S+:\d+ )?(?P<address>\S+) \S+ .*?\[(?P<at>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" '
    r'(?P<status>\d{3}) (?:\d+|-)(?: "(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
MACHINES = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|monitor|pingdom|uptime|kube-probe|healthcheck|prometheus|curl/"
    r"|wget/|python-|go-http|libwww|headless",
    re.IGNORECASE,
)
VISIT_GAP_S = 1800.0
"""The convention of web analytics: half an hour of silence ends a visit."""
THINK_S_MIN = 0.5
"""The log counts whole seconds; two requests in the same one are on average a third apart."""
GAPS_MAX = 100_000
"""Pauses kept, by reservoir sampling: a percentile of so many is within 0.2 % of rank."""
TARGETS_MAX = 500_000
"""Different targets counted; a log with more is counted by those seen first, and says so."""
VISITORS_MAX = 2_000_000
LINES_AT_ONCE = 50_000


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """A log as text, also when compressed. Raises :class:`BadImport`."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
                yield file
        else:
            with path.open(encoding="utf-8", errors="replace") as file:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        raise BadImport(f"{path}: {error}") from error


@lru_cache(maxsize=8)
def _minute(at: str) -> float:
    return datetime.strptime(at, "%d/%b/%Y:%H:%M %z").timestamp()


def _instant(at: str) -> float:
    """Seconds since the epoch of ``10/Oct/2000:13:55:36 -0700``.

    >>> _instant("10/Oct/2000:13:55:36 -0700")
    971211336.0
    """
    return _minute(at[:17] + at[20:]) + int(at[18:20])


@dataclass(slots=True)
class Log:
    """What was seen so far. Feed it lines, in any number of files, each in the order of time."""

    bots: bool = False
    left_out: LeftOut = field(default_factory=LeftOut)
    lines: int = 0
    kept: int = 0
    visits: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    per_second: Counter[int] = field(default_factory=Counter)
    gaps_s: list[float] = field(default_factory=list)
    _gaps: int = 0
    _last: dict[tuple[str, str], float] = field(default_factory=dict)
    _dice: random.Random = field(default_factory=lambda: random.Random(1))

    def feed(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.strip():
                self.lines += 1
                self._take(line)

    def _take(self, line: str) -> None:
        found = LINE.match(line)
        if found is None:
            self.left_out.note(
                "lines that are not in the combined format", repr(line[:60].rstrip())
            )
            return
        try:
            at = _instant(found["at"])
        except ValueError:
            self.left_out.note("lines with another form of time", found["at"])
            return
        request = found["request"].split(" ")
        why = self._unwanted(request, int(found["status"]), found["agent"] or "")
        if why is not None:
            self.left_out.note(*why)
            return
        self._request(at, (found["address"], found["agent"] or ""), _clean(request[1]))

    def _unwanted(self, request: Sequence[str], status: int, agent: str) -> tuple[str, str] | None:
        """Why a request is no part of the journey; ``None`` when it is."""
        if len(request) != 3 or not request[1].startswith("/"):
            return "lines without a request", repr(" ".join(request)[:40])
        method, target, _ = request
        moved = 300 <= status < 400 and status != 304
        checks = (
            (method != "GET", f"requests by {method}: their bodies are not in a log"),
            (is_static(target), "static files"),
            (moved, "redirects: the engine follows them itself"),
            (400 <= status < 500, f"requests answered {status}"),
            (not self.bots and MACHINES.search(agent), "requests by programs (--bots keeps them)"),
        )
        return next(((why, target[:60]) for holds, why in checks if holds), None)

    def _request(self, at: float, visitor: tuple[str, str], target: str) -> None:
        last = self._last.get(visitor)
        if last is None and len(self._last) >= VISITORS_MAX:
            self.left_out.note(f"requests of visitors beyond the first {VISITORS_MAX}")
            return
        self._last[visitor] = at
        if last is None or at - last > VISIT_GAP_S:
            self.visits += 1
        else:
            self._gap(max(THINK_S_MIN, at - last))
        self.kept += 1
        self.per_second[int(at)] += 1
        if target in self.targets or len(self.targets) < TARGETS_MAX:
            self.targets[target] += 1

    def _gap(self, gap_s: float) -> None:
        self._gaps += 1
        if len(self.gaps_s) < GAPS_MAX:
            self.gaps_s.append(gap_s)
        elif (place := self._dice.randrange(self._gaps)) < GAPS_MAX:
            self.gaps_s[place] = gap_s

    def draft(self) -> Draft:
        """The journey. Raises :class:`BadImport` when nothing was kept."""
        if not self.kept:
            found = "; ".join(self.left_out.lines()) or "the file is empty"
            raise BadImport(f"no request to imitate: {found}")
        tasks, feeds, rare = tasks_of(self.targets)
        per_visit = self.kept / self.visits
        journey: dict[str, object] = {"name": "visitor", "rounds": {"mean": round(per_visit, 3)}}
        think = think_of(self.gaps_s)
        if think:
            journey["think_s"] = think
        of_time = busiest_stretch(self.per_second)
        pace = pace_of(of_time, per_visit)
        notes = [*self._summary(of_time, per_visit, think), *self.left_out.lines(), *rare]
        return Draft({"pace": [pace], "journey": [{**journey, "task": tasks}]}, tuple(notes), feeds)

    def _summary(
        self, of_time: Counter[int], per_visit: float, think: dict[str, float]
    ) -> list[str]:
        seconds = max(of_time) - min(of_time) + 1
        elsewhere = self.kept - of_time.total()
        odd = [f"{elsewhere} requests a month or more away from the rest are not in the pace"]
        pauses = f"; pauses: median {think['p50']:g} s, p90 {think['p90']:g} s" if think else ""
        return [
            f"kept {self.kept} of {self.lines} lines, {self.visits} visits over {seconds} s: "
            f"{per_visit:.1f} requests a visit{pauses}",
            "the order of pages within a visit is not kept, only how often each is asked for",
            *(odd if elsewhere else []),
        ]


def _clean(target: str) -> str:
    """The target without the parameters that hold secrets."""
    path, question, query = target.partition("?")
    if not question:
        return target
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(secret(name) for name, _ in pairs):
        return target
    kept = urlencode([(name, value) for name, value in pairs if not secret(name)])
    return f"{path}?{kept}" if kept else path


def from_access_logs(
    paths: Sequence[Path], *, bots: bool = False, on_lines: Callable[[int], None] | None = None
) -> Draft:
    """Read logs, oldest first. ``on_lines`` hears now and then how many lines were read. Raises
    :class:`BadImport`."""
    log = Log(bots)
    for path in paths:
        with opened(path) as file:
            while lines := list(islice(file, LINES_AT_ONCE)):
                log.feed(lines)
                if on_lines is not None:
                    on_lines(log.lines)
    return log.draft()
