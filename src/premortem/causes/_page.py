"""docs/causes.md, made from the causes' own docstrings.

``python -m premortem.causes._page > docs/causes.md`` writes it; a test compares the two.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from types import ModuleType

from premortem.model import TIER_DEPTH
from premortem.parts import modules, part_class

__all__ = ["HEADINGS", "comments", "render"]

HEADINGS = ("Shows:", "Ruled out by:", "First help:", "Not this:")
"""What every runbook says, in this order."""

_HEAD = """# Causes

Made from the docstrings by `python -m premortem.causes._page`; do not edit.

A request's time is accept queue + worker wait + web CPU + pool wait + database connect +
database {CPU, I/O, lock, lightweight lock, client} + other services. The part that grew most is the
suspect; where an upper queue grew and a deeper tier is saturated, the deeper one is named.

A verdict is `confirmed` (a positive discriminator was measured, for some seconds), `suspected`,
`ruled_out` (a measurement excludes it) or `cannot_exclude` (the deciding metric is missing, or lies
in between; the verdict then says what is cheapest to check next). Of several confirmed causes the
one of the deepest tier is named: """


def render() -> str:
    """The whole page."""
    causes = modules("premortem.causes")
    tiers = " < ".join(TIER_DEPTH)  # declared shallow first
    lines = [f"{_HEAD}{tiers}.", "", "| cause | tier | first line |", "|---|---|---|"]
    for name, module in causes.items():
        part = part_class(module)
        first = (module.__doc__ or "").splitlines()[0]
        lines.append(f"| [{name}](#{name}) | {part.tier} | {first} |")  # type: ignore[attr-defined]
    for name, module in causes.items():
        lines += _section(name, module)
    return "\n".join(lines) + "\n"


def _section(name: str, module: ModuleType) -> Iterator[str]:
    part = part_class(module)
    said = vars(part)
    yield from ("", f"## {name}", "", f"Tier: {said['tier']}.", "")
    yield from _runbook(inspect.cleandoc(part.__doc__ or ""))
    remedies = ", ".join(f"`{r}`" for r in said["remedies"])
    yield from ("", f"Discriminator: {said['check']}.", "", f"Remedies, mildest first: {remedies}.")
    deciding = ", ".join(f"`{m}`" for m in said["deciding"]) or "none; it reads the whole request"
    yield from ("", f"Deciding metrics: {deciding}.", "")
    yield from ("| setting | default | why |", "|---|---|---|")
    whys = comments(module, part.__name__)
    for field in fields(part):
        yield f"| `{field.name}` | {field.default} | {whys.get(field.name, '')} |"
    for title in ("FIRES", "SILENT", "NEAR_MISS"):
        worlds = "; ".join(example.world for example in getattr(module, title))
        yield from ("", f"{title.replace('_', ' ').capitalize()}: {worlds}.")


def _runbook(text: str) -> Iterator[str]:
    """The docstring with each of its headings as a paragraph of its own."""
    for line in filter(None, text.splitlines()):
        heading = next((h for h in HEADINGS if line.startswith(h)), None)
        if heading is None:
            yield line
        else:
            yield from ("", f"**{heading}**{line.removeprefix(heading)}")


def comments(module: ModuleType, name: str) -> dict[str, str]:
    """The docstring under each field, which Python itself does not keep."""
    tree = ast.parse(inspect.getsource(module))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


if __name__ == "__main__":
    sys.stdout.write(render())
