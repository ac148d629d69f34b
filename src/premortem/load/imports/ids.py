"""Which parts of a path are ids, and what a path is called without them. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

__all__ = ["Routes", "is_id", "is_static", "template"]

UUID = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE
)
HEX = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}", re.IGNORECASE)
OPAQUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}")
"""ULIDs, base64 and the like: long, letters and digits; words joined by hyphens are excepted."""
STATIC = frozenset(
    [
        "avif",
        "bmp",
        "css",
        "eot",
        "gif",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "map",
        "mjs",
        "mov",
        "mp3",
        "mp4",
        "otf",
        "pdf",
        "png",
        "svg",
        "ttf",
        "txt",
        "wasm",
        "webm",
        "webmanifest",
        "webp",
        "woff",
        "woff2",
        "xml",
        "zip",
    ]
)
CHILDREN_MAX = 20
"""More different names at one place of a path are ids: slugs of articles, names of users. A site
has more sections than that rarely, and then too the requests stay the same: only the report's
grouping is coarser."""


def is_id(part: str) -> bool:
    """Whether a part of a path, or a value, looks like made by a machine.

    >>> [is_id(p) for p in ("17", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "deadbeef42", "v2")]
    [True, True, True, False]
    >>> is_id("blue-shoes-and-hats-2024"), is_id("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    (False, True)
    """
    if part.isdigit() or UUID.fullmatch(part) or HEX.fullmatch(part):
        return True
    return bool(OPAQUE.fullmatch(part)) and part.count("-") < 2


def is_static(path: str) -> bool:
    """Whether a path is a file that a CDN or the web server alone answers.

    >>> is_static("/a/app.3f2.js"), is_static("/feed"), is_static("/v1.2/users")
    (True, False, False)
    """
    name = path.partition("?")[0].rpartition("/")[2]
    return name.rpartition(".")[2].lower() in STATIC if "." in name else False


def template(path: str) -> str:
    """A path with ``:id`` for its ids, without its query.

    >>> template("/shop/17/item/3fa85f64-5717-4562-b3fc-2c963f66afa6?x=1"), template("/")
    ('/shop/:id/item/:id', '/')
    """
    parts = path.partition("?")[0].split("/")
    return "/".join(":id" if is_id(part) else part for part in parts) or "/"


class Routes:
    """Groups targets into routes: by how ids look, and by too many names at one place."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        self.targets = targets

    def grouped(self) -> dict[str, Counter[str]]:
        """Route to its targets, with how often each was asked for."""
        keys = {target: self._key(target) for target in self.targets}
        depth = 1
        while any(len(key) > depth for key in keys.values()):
            children: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
            for key in keys.values():
                if len(key) > depth and key[depth] != ":id":
                    children[key[:depth]].add(key[depth])
            crowded = {before for before, names in children.items() if len(names) > CHILDREN_MAX}
            keys = {
                target: (*key[:depth], ":id", *key[depth + 1 :])
                if len(key) > depth and key[:depth] in crowded
                else key
                for target, key in keys.items()
            }
            depth += 1
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for target, key in keys.items():
            found["/".join(key) or "/"][target] += self.targets[target]
        return dict(found)

    @staticmethod
    def _key(target: str) -> tuple[str, ...]:
        return tuple(template(target).split("/"))
