"""Finds parts by file name: the file ``lock_contention.py`` holds the class ``LockContention``.

There is no registry: a part exists because its file does.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

__all__ = ["class_name", "modules", "part_class", "parts"]


def class_name(name: str) -> str:
    """The class a part's file must hold.

    >>> class_name("db_cpu_by_traffic")
    'DbCpuByTraffic'
    """
    return "".join(word.capitalize() for word in name.split("_"))


def modules(package: str) -> dict[str, ModuleType]:
    """Every public module directly in ``package``, by name, in alphabetical order."""
    home = importlib.import_module(package)
    names = sorted(m.name for m in pkgutil.iter_modules(home.__path__) if not m.ispkg)
    return {n: importlib.import_module(f"{package}.{n}") for n in names if not n.startswith("_")}


def part_class(module: ModuleType) -> type:
    """The class a part's module is named after. Raises ``TypeError`` when it holds none."""
    wanted = class_name(module.__name__.rpartition(".")[2])
    found = getattr(module, wanted, None)
    if not isinstance(found, type):
        raise TypeError(f"{module.__name__} must hold a class {wanted}")
    return found


def parts(package: str, *, besides: tuple[str, ...] = ()) -> dict[str, type]:
    """Every part of ``package`` by name, ``besides`` aside.

    Modules that start with ``_`` are helpers, not parts.
    """
    return {n: part_class(m) for n, m in modules(package).items() if n not in besides}
