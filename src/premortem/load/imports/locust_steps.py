"""Walks the statements of a Locust task and writes down the requests it makes."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from premortem.load.imports.locust_values import Asked, NotMapped, Scope, dotted
from premortem.load.steps import METHODS

__all__ = ["Walk"]

STEPS_MAX = 100
TURNS_MAX = 20
"""Of a loop that are written out."""
HELPERS_MAX = 5
SLEEPS = frozenset({"time.sleep", "sleep", "gevent.sleep", "self.wait"})
HARMLESS = frozenset({"self.interrupt", "self.stop", "print", "logging.info", "logger.info"})
IGNORED = frozenset({"catch_response", "timeout", "verify", "allow_redirects", "stream", "context"})


@dataclass(slots=True)
class Walk:
    """One task on its way through its statements."""

    scope: Scope
    methods: Mapping[str, ast.FunctionDef]
    notes: list[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    depth: int = 0

    def __post_init__(self) -> None:
        self.scope.ask = self._request

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for one in statements:
            if isinstance(one, ast.Return) and one.value is None:
                return
            try:
                self._statement(one)
            except NotMapped as why:
                self._note(one, f"not mapped: {why}")

    def _note(self, node: ast.stmt | ast.expr, words: str) -> None:
        self.notes.append(f"line {node.lineno}: {words}")

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.Expr, ast.Return)) and node.value is not None:
            if not isinstance(node.value, ast.Constant):  # a docstring
                self._value(node.value)
        elif isinstance(node, ast.Assign):
            value = self._value(node.value)
            for target in node.targets:
                self.scope.bind(target, value)
        elif isinstance(node, (ast.With, ast.For, ast.If, ast.Try, ast.Assert)):
            self._block(node)
        elif not isinstance(node, ast.Pass):
            raise NotMapped(ast.unparse(node).partition("\n")[0][:60])

    def _block(self, node: ast.With | ast.For | ast.If | ast.Try | ast.Assert) -> None:
        if isinstance(node, ast.With):
            for item in node.items:
                value = self._value(item.context_expr)
                if item.optional_vars is not None:
                    self.scope.bind(item.optional_vars, value)
            self.body(node.body)
        elif isinstance(node, ast.For):
            self._loop(node)
        elif isinstance(node, ast.Try):
            self.body(node.body)
        elif isinstance(node, ast.Assert):
            self._check(node, node.test)
        elif not self._judges(node):
            self._note(node, f"the condition is not kept: {ast.unparse(node.test)[:60]}")
            self.body(node.body)

    def _value(self, node: ast.expr) -> Any:
        """What an expression stands for; the requests in it are written down."""
        name = dotted(node.func) if isinstance(node, ast.Call) else ""
        helper = self.methods.get(name.removeprefix("self."))
        if isinstance(node, ast.Call) and name in SLEEPS:
            self._sleep(node)
        elif isinstance(node, ast.Call) and helper is not None:
            self._helper(node, helper)
        elif name not in HARMLESS:
            return self.scope.value(node)
        return None

    def _helper(self, call: ast.Call, method: ast.FunctionDef) -> None:
        if self.depth >= HELPERS_MAX:
            raise NotMapped(f"helpers more than {HELPERS_MAX} deep")
        names = [argument.arg for argument in method.args.args[1:]]
        for name, given in zip(names, call.args, strict=False):
            self.scope.values[name] = self.scope.value(given)
        inner = Walk(self.scope, self.methods, self.notes, self.steps, self.depth + 1)
        inner.body(method.body)

    def _sleep(self, node: ast.Call) -> None:
        seconds = self.scope.plain(node.args[0]) if node.args else None
        if not isinstance(seconds, (int, float)) or not self.steps:
            raise NotMapped(ast.unparse(node)[:60])
        self.steps[-1]["think_s"] = self.steps[-1].get("think_s", 0) + seconds

    def _loop(self, node: ast.For) -> None:
        turns = self._turns(node.iter)
        if len(turns) > TURNS_MAX:
            self._note(node, f"a loop of {len(turns)}: its first {TURNS_MAX} turns are written out")
        for value in turns[:TURNS_MAX]:
            self.scope.bind(node.target, value)
            self.body(node.body)

    def _turns(self, node: ast.expr) -> list[Any]:
        if isinstance(node, ast.Call) and dotted(node.func) == "range":
            numbers = [self.scope.plain(one) for one in node.args]
            if all(isinstance(number, int) for number in numbers):
                return list(range(*numbers))
        else:
            values = self.scope.plain(node)
            if isinstance(values, list):
                return values
        raise NotMapped(f"a loop over {ast.unparse(node)[:50]}")

    # -- what is demanded of an answer

    def _judges(self, node: ast.If) -> bool:
        """``if …: response.failure(…)``: true when it was mapped or says nothing new."""
        calls = [dotted(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)]
        if not any(name.endswith((".failure", ".success")) for name in calls):
            return False
        if node.orelse or "status_code" not in ast.unparse(node.test):
            self._check(node, ast.UnaryOp(ast.Not(), node.test))
        return True

    def _check(self, node: ast.stmt, test: ast.expr) -> None:
        """``"words" in response.text`` becomes a check of the last request."""
        holds = True
        while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            holds, test = not holds, test.operand
        if isinstance(test, ast.Compare) and isinstance(test.left, ast.Constant) and self.steps:
            inside = isinstance(test.ops[0], (ast.In, ast.NotIn))
            words = test.left.value
            if inside and isinstance(words, str) and dotted(test.comparators[0]).endswith(".text"):
                contains = holds == isinstance(test.ops[0], ast.In)
                key = "contains" if contains else "lacks"
                self.steps[-1].setdefault("check", {})[key] = words
                return
        if "status_code" not in ast.unparse(test):
            self._note(node, f"a check is not mapped: {ast.unparse(test)[:60]}")

    # -- requests

    def _request(self, node: ast.Call) -> Asked:
        method = dotted(node.func).rpartition(".")[2]
        args = list(node.args)
        if method == "request" and args:
            method = self.scope.text(args.pop(0)).lower()
        given = {word.arg: word.value for word in node.keywords if word.arg}
        url = args[0] if args else given.get("url")
        if method not in METHODS or url is None:
            raise NotMapped(ast.unparse(node)[:60])
        if "files" in given:
            raise NotMapped(f"an upload to {ast.unparse(url)[:40]}")
        if len(self.steps) >= STEPS_MAX:
            raise NotMapped(f"more than {STEPS_MAX} requests in a task")
        step: dict[str, Any] = {method: self._path(node, self.scope.text(url))}
        if "name" in given:
            step["name"] = self.scope.text(given["name"])
        if len(args) > 1 and method in ("post", "put", "patch"):
            given.setdefault("data", args[1])
        for key in ("params", "headers", "json"):
            if key in given:
                step[key] = self.scope.plain(given[key])
        if "data" in given:
            data = self.scope.plain(given["data"])
            step["form" if isinstance(data, dict) else "body"] = data
        for key in set(given) - IGNORED - {"name", "params", "headers", "json", "data", "url"}:
            self._note(node, f"{key}= is not mapped")
        self.steps.append(step)
        return Asked(step)

    def _path(self, node: ast.expr, url: str) -> str:
        if url.startswith("/"):
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise NotMapped(f"the address {url[:50]!r}")
        self._note(node, f"the host {parts.netloc} is dropped: one site at a time")
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
