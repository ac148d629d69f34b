"""JUnit XML: a bar is a test case, so that every CI system shows which promise was broken."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from premortem.load.outputs.document import Document

__all__ = ["to_junit"]

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (section 2.2)."""


def to_junit(document: Document) -> str:
    """One suite: whether the run is to be believed, whether it stopped itself, each bar."""
    cases = [_case("the generator kept its schedule", document.get("invalid"), kind="error")]
    cases.append(_case("the run went on to its end", document.get("stopped")))
    for bar in document.get("bars", ()):
        message = None if bar["held"] else f"{bar['text']}: was {bar['words']}"
        cases.append(_case(bar["text"], message))
    failures = sum(case.find("failure") is not None for case in cases)
    errors = sum(case.find("error") is not None for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors)}
    suite = Element("testsuite", {"name": _plain(f"load of {document['site']}"), **counts})
    suite.set("time", f"{document.get('seconds', 0):.3f}")
    suite.extend(cases)
    root = Element("testsuites", counts)
    root.append(suite)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(name: str, message: str | None, *, kind: str = "failure") -> Element:
    case = Element("testcase", classname="premortem.load", name=_plain(name))
    if message is not None:
        SubElement(case, kind, message=_plain(message))
    return case


def _plain(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
