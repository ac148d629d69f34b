"""Prints docs/metrics.md from the declarations: ``python -m premortem.sources._docs``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from premortem import parts
from premortem.sources._declared import declared_by_source

__all__ = ["document", "main"]

_HEAD = """\
# Metrics

Every series that premortem's sources can report, with its unit. This file is written by
`python -m premortem.sources._docs > docs/metrics.md`; a test keeps it true.

Names are `tier.thing.measure_unit`. A metric that is missing could not be seen: it is never
reported as 0. Rates and ratios are over the time since the source's last reading."""


def _lines() -> Iterator[str]:
    yield _HEAD
    for name, module in parts.modules("premortem.sources").items():
        yield f"\n## {name}\n\n{(module.__doc__ or '').strip().split(chr(10) * 2)[0]}\n"
        metrics = declared_by_source()[name]
        if not metrics:
            continue
        yield "| metric | unit | meaning |\n|---|---|---|"
        for m in sorted(metrics, key=lambda m: m.name):
            yield f"| `{m.name}` | {m.unit} | {m.meaning} |"


def document() -> str:
    """The whole text of docs/metrics.md."""
    return "\n".join(_lines()) + "\n"


def main() -> None:
    """Write the document to standard output."""
    sys.stdout.write(document())


if __name__ == "__main__":
    main()
