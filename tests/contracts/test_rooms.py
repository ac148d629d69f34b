"""What import-linter cannot say: parts do not know each other, every part keeps its shape."""

import ast
import inspect
from pathlib import Path

import pytest

import premortem
from premortem.parts import modules, parts

SOURCE = Path(premortem.__file__).parent
KINDS = {
    "premortem.causes": (),
    "premortem.remedies": ("policy",),
    "premortem.sources": (),
    "premortem.detectors": (),
}


@pytest.mark.parametrize("package", KINDS)
def test_parts_are_documented_and_named_after_their_file(package: str) -> None:
    found = parts(package, besides=KINDS[package])
    assert found
    for name, part in found.items():
        assert inspect.getdoc(part), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", ["premortem.causes", "premortem.remedies"])
def test_parts_do_not_import_each_other(package: str) -> None:
    for name, module in modules(package).items():
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for node in ast.walk(tree):
            origin = node.module if isinstance(node, ast.ImportFrom) else None
            if origin and origin.startswith(package + "."):
                other = origin.removeprefix(package + ".")
                assert other.startswith("_"), f"{name} imports {other}"


def test_broad_excepts_stand_only_in_the_loop_and_the_daemons_shelter() -> None:
    broad = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") == "Exception")
    }
    assert broad == {"app/loop.py", "app/shelter.py"}


def test_remedies_a_cause_names_are_words_people_can_look_up() -> None:
    documented = (SOURCE.parents[1] / "docs" / "causes.md").read_text()
    for cause in parts("premortem.causes").values():
        for remedy in cause.remedies:
            assert remedy in documented
