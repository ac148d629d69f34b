"""What an expression of a locustfile stands for: a value, a hole, or something not mapped.

The file is read, never run: only what is written in it counts.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from premortem.load.imports.draft import literal, slug

__all__ = ["Asked", "NotMapped", "Scope"]


class NotMapped(ValueError):
    """An expression whose value cannot be told without running the file."""


@dataclass(slots=True)
class Asked:
    """The answer to a request: what is taken from it becomes the step's extraction."""

    step: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an answer: ``response.json()["a"]["b"]``, ``.text``, ``.headers`` …"""

    asked: Asked
    kind: str
    path: tuple[str, ...] = ()


@dataclass(slots=True)
class Scope:
    """What names stand for, in one task."""

    values: dict[str, Any] = field(default_factory=dict)
    """``x`` and ``self.x``."""
    feeds: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Names of variables that are extracted somewhere."""
    ask: Callable[[ast.Call], Asked] | None = None
    """Writes a request down."""

    def inner(self) -> Scope:
        """For a task: sees what is there, keeps its own."""
        return Scope(dict(self.values), self.feeds, self.taken)

    def bind(self, target: ast.expr, value: Any) -> None:
        """``target = value``; a part of an answer becomes an extraction of that name."""
        name = dotted(target)
        if name:
            self.values[name] = self._extracted(value, slug(name.rpartition(".")[2]))

    def text(self, node: ast.expr) -> str:
        """The expression as text."""
        value = self.value(node)
        if isinstance(value, (_Part, Asked)):
            value = self._extracted(value, "value")
        return value if isinstance(value, str) else str(value)

    def plain(self, node: ast.expr) -> Any:
        """The expression as data: strings, numbers, lists and dicts of them."""
        value = self._extracted(self.value(node), "value")
        if isinstance(value, Asked):
            raise NotMapped("a whole answer")
        return value

    def value(self, node: ast.expr) -> Any:
        """What it stands for. Raises :class:`NotMapped`."""
        reader = READERS.get(type(node))
        if reader is None:
            raise NotMapped(ast.unparse(node)[:60])
        return reader(self, node)

    def _extracted(self, value: Any, name: str) -> Any:
        if not isinstance(value, _Part):
            return value
        where = ".".join(value.path)
        known = value.asked.step.setdefault("extract", {})
        for variable, how in known.items():
            if how == {value.kind: where}:
                return f"{{{variable}}}"
        variable = next(n for n in (name, *(f"{name}_{i}" for i in range(2, 10**6)))
                        if n not in self.taken)  # fmt: skip
        self.taken.add(variable)
        known[variable] = {value.kind: where}
        return f"{{{variable}}}"

    # -- one reader a kind of expression

    def _constant(self, node: ast.Constant) -> Any:
        return literal(node.value) if isinstance(node.value, str) else node.value

    def _joined(self, node: ast.JoinedStr) -> str:
        return "".join(
            self.text(part.value) if isinstance(part, ast.FormattedValue) else self.text(part)
            for part in node.values
        )

    def _name(self, node: ast.Name | ast.Attribute) -> Any:
        name = dotted(node)
        if name in self.values:
            return self.values[name]
        if isinstance(node, ast.Attribute) and not name.startswith("self."):
            owner = self.value(node.value)
            kinds = {"headers": "header", "cookies": "cookie"}
            if isinstance(owner, Asked) and node.attr in kinds:
                return _Part(owner, kinds[node.attr])
        raise NotMapped(name or ast.unparse(node)[:60])

    def _subscript(self, node: ast.Subscript) -> Any:
        if ast.unparse(node.value) == "os.environ":
            return f"{{env.{self.text(node.slice)}}}"
        return self._at(self.value(node.value), self.value(node.slice))

    @staticmethod
    def _at(owner: Any, key: Any) -> Any:
        if isinstance(owner, _Part) and isinstance(key, (str, int)):
            return _Part(owner.asked, owner.kind, (*owner.path, str(key)))
        try:
            return owner[key]
        except (LookupError, TypeError) as error:
            raise NotMapped(f"[{key!r}]") from error

    def _sum(self, node: ast.BinOp) -> Any:
        left = self.plain(node.left)
        if isinstance(node.op, ast.Add):
            right = self.plain(node.right)
            both = isinstance(left, str) or isinstance(right, str)
            return f"{left}{right}" if both else left + right
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            given = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            return _percent(left, [self.text(one) for one in given])
        raise NotMapped(ast.unparse(node)[:60])

    def _list(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self.plain(one) for one in node.elts]

    def _dict(self, node: ast.Dict) -> dict[str, Any]:
        if any(key is None for key in node.keys):
            raise NotMapped("a dict with ** in it")
        pairs = zip(node.keys, node.values, strict=True)
        return {self.text(key): self.plain(value) for key, value in pairs if key is not None}

    def _call(self, node: ast.Call) -> Any:
        name = dotted(node.func)
        if name in CALLS:
            return CALLS[name](self, node)
        if name.startswith("self.client.") and self.ask is not None:
            return self.ask(node)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value)
            if isinstance(owner, Asked) and node.func.attr == "json":
                return _Part(owner, "json")
            if isinstance(owner, _Part) and node.func.attr == "get" and node.args:
                return self._at(owner, self.value(node.args[0]))
            if isinstance(owner, str) and node.func.attr == "format" and not node.keywords:
                return _braces(owner, [self.text(one) for one in node.args])
        raise NotMapped(ast.unparse(node)[:60])

    # -- calls that are known

    def _range(self, node: ast.Call, *, above: bool) -> str:
        numbers = [self.plain(one) for one in node.args]
        low, high = numbers if len(numbers) == 2 else (0, *numbers)
        if not (isinstance(low, int) and isinstance(high, int)) or low < 0:
            raise NotMapped(ast.unparse(node))
        return f"{{{low}..{high - above}}}"

    def _choice(self, node: ast.Call) -> str:
        values = self.plain(node.args[0])
        if not isinstance(values, list) or not values:
            raise NotMapped(ast.unparse(node)[:60])
        if any(isinstance(value, (dict, list)) for value in values):
            raise NotMapped(ast.unparse(node)[:60])
        rows = [{"value": str(value)} for value in values]
        for feed, there in self.feeds.items():
            if there == rows:
                return f"{{{feed}.value}}"
        feed = f"choice_{len(self.feeds) + 1}"
        self.feeds[feed] = rows
        return f"{{{feed}.value}}"


def _percent(form: str, values: list[str]) -> str:
    parts = form.replace("%d", "%s").split("%s")
    if len(parts) != len(values) + 1 or "%" in "".join(parts).replace("%%", ""):
        raise NotMapped(f"{form!r} %")
    return "".join(part + value for part, value in zip(parts, [*values, ""], strict=True))


def _braces(form: str, values: list[str]) -> str:
    parts = form.split("{}")
    if len(parts) != len(values) + 1 or "{" in "".join(parts):
        raise NotMapped(f"{form!r}.format")
    return "".join(part + value for part, value in zip(parts, [*values, ""], strict=True))


def dotted(node: ast.expr) -> str:
    """``self.client.get`` as text; empty when it is no chain of names.

    >>> dotted(ast.parse("a.b.c", mode="eval").body), dotted(ast.parse("a().b", mode="eval").body)
    ('a.b.c', '')
    """
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


READERS: Mapping[type[ast.expr], Callable[[Scope, Any], Any]] = {
    ast.Constant: Scope._constant, ast.JoinedStr: Scope._joined, ast.Name: Scope._name,
    ast.Attribute: Scope._name, ast.Subscript: Scope._subscript, ast.BinOp: Scope._sum,
    ast.List: Scope._list, ast.Tuple: Scope._list, ast.Dict: Scope._dict, ast.Call: Scope._call,
}  # fmt: skip


def _environment(scope: Scope, node: ast.Call) -> str:
    return f"{{env.{scope.text(node.args[0])}}}"


def _as_text(scope: Scope, node: ast.Call) -> str:
    return scope.text(node.args[0])


CALLS: Mapping[str, Callable[[Scope, ast.Call], Any]] = {
    **dict.fromkeys(("random.randint", "randint"), lambda s, n: s._range(n, above=False)),
    **dict.fromkeys(("random.randrange", "randrange"), lambda s, n: s._range(n, above=True)),
    **dict.fromkeys(("random.choice", "choice"), lambda s, n: s._choice(n)),
    **dict.fromkeys(("uuid.uuid4", "uuid4"), lambda s, n: "{uuid}"),
    **dict.fromkeys(("os.getenv", "os.environ.get"), _environment),
    **dict.fromkeys(("str", "int"), _as_text),
}
