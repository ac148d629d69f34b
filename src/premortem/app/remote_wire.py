"""Remote write 1.0, the three messages of it, and what of our readings goes into them. Pure.

The messages (https://prometheus.io/docs/specs/prw/remote_write_spec/)::

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    Label        { string name = 1; string value = 2; }
    Sample       { double value = 1; int64 timestamp = 2; }

Labels are sorted by name, samples by time, each series stands once in a request.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from premortem.app.series_names import READING, error_label, series_name
from premortem.model import Reading

__all__ = ["Grouper", "Labels", "Points", "write_request"]

Labels = tuple[tuple[str, str], ...]
"""``__name__`` among them, sorted by name."""
Points = list[tuple[int, float]]
"""(milliseconds since the epoch, value), in order."""

_OTHER = "other errors"


@dataclass(slots=True)
class Grouper:
    """Sorts readings into series, and remembers of each how far it has come.

    A receiver refuses a whole request for one sample that is not newer than the last of its series,
    so such samples are left out here; a ``History`` would have left them out as well.
    """

    series_max: int = 50_000
    """A site has some 120 series; beyond this the newest are left out, and counted."""
    errors_max: int = 500
    """Texts of errors that become a label; later ones are called ``other errors``."""
    left_out: int = 0
    _known: dict[tuple[str, str, str, str], Labels] = field(default_factory=dict)
    _reached_ms: dict[Labels, int] = field(default_factory=dict)
    _errors: set[str] = field(default_factory=set)

    def group(self, readings: Iterable[tuple[str, Reading]]) -> dict[Labels, Points]:
        """The series of ``(site, reading)`` in the order in which they came."""
        found: dict[Labels, Points] = {}
        for site, reading in readings:
            if not math.isfinite(reading.at):
                continue
            at_ms = round(reading.at * 1000)
            for labels, value in self._samples(site, reading):
                if at_ms <= self._reached_ms.get(labels, -1) or self._full(labels):
                    self.left_out += 1
                    continue
                self._reached_ms[labels] = at_ms
                found.setdefault(labels, []).append((at_ms, value))
        return found

    def _samples(self, site: str, reading: Reading) -> Iterator[tuple[Labels, float]]:
        where = (site, reading.source, reading.target)
        error = self._bounded(error_label(reading.error))
        yield _labels(READING, *where, error), float(not error)
        for metric, value in reading.values.items():
            if math.isfinite(value):
                key = (metric, *where)
                labels = self._known.get(key)
                if labels is None:
                    labels = _labels(series_name(metric), *where)
                    if len(self._known) < self.series_max:
                        self._known[key] = labels
                yield labels, float(value)

    def _bounded(self, error: str) -> str:
        if error and error not in self._errors:
            if len(self._errors) >= self.errors_max:
                return _OTHER
            self._errors.add(error)
        return error

    def _full(self, labels: Labels) -> bool:
        return labels not in self._reached_ms and len(self._reached_ms) >= self.series_max


def _labels(name: str, site: str, source: str, target: str, error: str = "") -> Labels:
    """A label without a value is no label."""
    pairs = (("__name__", name), ("error", error), ("site", site), ("source", source))
    return tuple((k, v) for k, v in (*pairs, ("target", target)) if v)


def write_request(series: Mapping[Labels, Points]) -> bytes:
    """The protobuf text of a ``WriteRequest``, not yet compressed.

    >>> write_request({(("__name__", "up"),): [(1000, 1.0)]}).hex()
    '0a1e0a0e0a085f5f6e616d655f5f12027570120c09000000000000f03f10e807'
    """
    return b"".join(_field(1, _time_series(labels, points)) for labels, points in series.items())


def _time_series(labels: Labels, points: Points) -> bytes:
    parts = [
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels
    ]
    parts += [
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms))
        for at_ms, value in points
    ]
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    """A field of wire type 2: its tag, its length, its bytes."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first. A negative int64 would take its two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
