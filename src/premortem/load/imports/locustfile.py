"""A locustfile → journeys, where it maps. Read with ``ast``, never run.

A user class becomes a journey: ``on_start`` its steps, each ``@task`` a task with its weight,
``wait_time`` its pause. Requests, sleeps, loops over constants, ``random``, values taken from
answers and helpers of the same class are followed; everything else is named with its line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.load.imports.draft import BadImport, Draft, read_text
from premortem.load.imports.locust_steps import Walk
from premortem.load.imports.locust_values import NotMapped, Scope, dotted

__all__ = ["from_locustfile", "locust_draft"]

USERS = frozenset({"HttpUser", "FastHttpUser", "HttpLocust", "FastHttpLocust"})
TASK_SETS = frozenset({"TaskSet", "SequentialTaskSet"})
ROUNDS = 10
"""Locust's users never leave; here a user leaves after so many tasks."""
NESTED_MAX = 5


@dataclass(slots=True)
class _File:
    """The classes of a file, and what is said about them."""

    classes: dict[str, ast.ClassDef]
    scope: Scope
    notes: list[str] = field(default_factory=list)

    def bases(self, node: ast.ClassDef) -> set[str]:
        """The names of all classes it derives from."""
        found: set[str] = set()
        waiting = [node]
        while waiting:
            for base in waiting.pop().bases:
                name = dotted(base).rpartition(".")[2]
                if name not in found:
                    found.add(name)
                    waiting += [self.classes[name]] if name in self.classes else []
        return found

    def members(self, node: ast.ClassDef) -> dict[str, ast.stmt]:
        """Methods, inner classes and assignments by name, inherited ones too."""
        found: dict[str, ast.stmt] = {}
        for base in node.bases:
            inherited = self.classes.get(dotted(base).rpartition(".")[2])
            found |= self.members(inherited) if inherited is not None else {}
        for one in node.body:
            if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
                found[one.name] = one
            elif isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                found[one.targets[0].id] = one
        return found


def locust_draft(source: str) -> Draft:
    """The journeys of a locustfile's text. Raises :class:`BadImport`."""
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise BadImport(f"not a Python file: {error}") from error
    classes = {n.name: n for n in ast.walk(module) if isinstance(n, ast.ClassDef)}
    file = _File(classes, Scope())
    for one in module.body:
        if isinstance(one, ast.Assign):
            _bind(file.scope, one)
    journeys = [
        journey
        for node in module.body
        if isinstance(node, ast.ClassDef) and file.bases(node) & USERS
        for journey in _journey(file, node)
    ]
    if not journeys:
        raise BadImport("no user class with requests: " + ("; ".join(file.notes) or "none found"))
    notes = [f"users leave after {ROUNDS} tasks, as Locust's never do", *file.notes]
    return Draft({"journey": journeys}, tuple(dict.fromkeys(notes)), _used(journeys, file.scope))


def _used(journeys: object, scope: Scope) -> dict[str, list[dict[str, str]]]:
    text = repr(journeys)
    return {name: rows for name, rows in scope.feeds.items() if f"{{{name}.value}}" in text}


def _bind(scope: Scope, node: ast.Assign, prefix: str = "") -> None:
    """Constants of a module or class; others are looked at where they are used."""
    try:
        value = scope.plain(node.value)
    except NotMapped:
        return
    if isinstance(node.targets[0], ast.Name):
        scope.values[prefix + node.targets[0].id] = value


def _journey(file: _File, node: ast.ClassDef) -> Iterator[dict[str, Any]]:
    members = file.members(node)
    scope = file.scope.inner()
    for one in members.values():
        if isinstance(one, ast.Assign):
            _bind(scope, one, "self.")
    if scope.values.get("self.abstract"):
        return
    start = _steps(file, members, scope, "on_start")
    tasks = list(_tasks(file, members, scope, 1.0, 0))
    if not tasks:
        file.notes.append(f"class {node.name}: no task with a request that maps")
        return
    journey: dict[str, Any] = {"name": node.name, "weight": scope.values.get("self.weight", 1)}
    think = _wait(file, members.get("wait_time"), scope)
    if "self.host" in scope.values:
        file.notes.append(f"class {node.name}: its host is {scope.values['self.host']}")
    yield {
        **journey, "rounds": ROUNDS, **({"think_s": think} if think else {}),
        **({"step": start} if start else {}), "task": tasks,
    }  # fmt: skip


def _wait(file: _File, node: ast.stmt | None, scope: Scope) -> Any:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
        return None
    kind = dotted(node.value.func).rpartition(".")[2]
    try:
        numbers = [scope.plain(one) for one in node.value.args]
    except NotMapped:
        numbers = []
    if kind == "between" and len(numbers) == 2:
        return numbers
    if kind == "constant" and len(numbers) == 1:
        return numbers[0]
    file.notes.append(
        f"line {node.lineno}: wait_time = {kind}(…) is not mapped: set think_s or a pace"
    )
    return None


def _tasks(
    file: _File, members: dict[str, ast.stmt], scope: Scope, share: float, depth: int
) -> Iterator[dict[str, Any]]:
    """The tasks of a class; those of a task set inside share its weight."""
    for name, weight, node in _weighted(file, members):
        if isinstance(node, ast.FunctionDef):
            steps = _steps(file, {**members, name: node}, scope, name)
            if steps:
                yield {"name": name, "weight": share * weight, "step": steps}
        elif depth < NESTED_MAX:
            yield from _task_set(file, node, scope, share * weight, depth)


def _task_set(
    file: _File, node: ast.ClassDef, scope: Scope, share: float, depth: int
) -> Iterator[dict[str, Any]]:
    members = file.members(node)
    inner = scope.inner()
    if "SequentialTaskSet" in file.bases(node):
        steps = [
            step
            for name in ("on_start", *(name for name, _, _ in _weighted(file, members)))
            for step in _steps(file, members, inner, name, shared=True)
        ]
        if steps:
            yield {"name": node.name, "weight": share, "step": steps}
        return
    found = list(_tasks(file, members, inner, 1.0, depth + 1))
    total = sum(task["weight"] for task in found)
    before = _steps(file, members, inner, "on_start")
    for task in found:
        weight = round(share * task["weight"] / total, 4)
        yield {**task, "weight": weight, "step": [*before, *task["step"]]}


def _weighted(
    file: _File, members: dict[str, ast.stmt]
) -> Iterator[tuple[str, float, ast.FunctionDef | ast.ClassDef]]:
    """``(name, weight, function or class)`` of ``@task`` and of ``tasks = …``."""
    for name, one in members.items():
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            for decorator in one.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                if dotted(call.func if call else decorator).rpartition(".")[2] == "task":
                    given = call.args if call else []
                    weight = given[0].value if given and isinstance(given[0], ast.Constant) else 1
                    yield name, float(weight) if isinstance(weight, (int, float)) else 1.0, one
    listed = members.get("tasks")
    if isinstance(listed, ast.Assign):
        yield from _listed(file, members, listed)


def _listed(
    file: _File, members: dict[str, ast.stmt], node: ast.Assign
) -> Iterator[tuple[str, float, ast.FunctionDef | ast.ClassDef]]:
    keys: Sequence[ast.expr | None]
    weights: Sequence[ast.expr | None]
    if isinstance(node.value, ast.Dict):
        keys, weights = node.value.keys, node.value.values
    else:
        keys = getattr(node.value, "elts", [])
        weights = [None] * len(keys)
    for key, weight in zip(keys, weights, strict=True):
        name = dotted(key) if key is not None else ""
        one = members.get(name) or file.classes.get(name)
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            value = weight.value if isinstance(weight, ast.Constant) else 1
            yield name, float(value) if isinstance(value, (int, float)) else 1.0, one
        else:
            file.notes.append(f"line {node.lineno}: task {name or '?'} is not in this file's class")


def _steps(
    file: _File, members: dict[str, ast.stmt], scope: Scope, name: str, *, shared: bool = False
) -> list[dict[str, Any]]:
    """The steps of one method; what ``on_start`` learns, and parts of a sequence, are shared."""
    node = members.get(name)
    if not isinstance(node, ast.FunctionDef):
        return []
    methods = {n: m for n, m in members.items() if isinstance(m, ast.FunctionDef)}
    inner = scope if shared or name == "on_start" else scope.inner()
    walk = Walk(inner, methods, file.notes)
    walk.body(node.body)
    return walk.steps


def from_locustfile(path: Path) -> Draft:
    """Read a locustfile. Raises :class:`BadImport`."""
    return locust_draft(read_text(path))
