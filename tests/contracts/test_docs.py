"""Documents name what there is: links lead somewhere, every command is documented."""

import re
from pathlib import Path

import pytest

from premortem.app.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert missing == []


def test_every_command_is_documented() -> None:
    text = "".join(page.read_text() for page in PAGES)
    commands = [name for name in app if not name.startswith("-")]
    assert "drill" in commands
    assert [c for c in commands if f"premortem {c}" not in text] == []


def test_documents_hold_no_machine_paths() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(home|root|work)/", page.read_text()), page.name
