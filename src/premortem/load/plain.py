"""Plain journeys: one fixed request a user, serialised once, its objects used again."""

from __future__ import annotations

from premortem.load.journey import Plain
from premortem.load.stats import Arrived
from premortem.load.visitor import Exchange, Site, Visitor

__all__ = ["Lone", "Template"]


class Lone(Exchange):
    """The one request of a plain journey. Its user is only made up where one is looked at."""

    alone = True
    site: Site
    free: list[Lone]
    """Those of its journey that may be used again."""
    before: bytes
    after: bytes
    """What stands around the number in its message."""
    own: Visitor | None = None
    """Its user, once someone looked at them."""

    def __init__(self, number: int, arrived: Arrived, message: bytes) -> None:
        self.number = number
        self.arrived = arrived
        self.message = message

    @property
    def user(self) -> Visitor:  # type: ignore[override] # made when asked for, instead of given
        if self.own is None:
            self.own = Visitor(self.site, self.number, self.arrived)
        return self.own


class Template:
    """The request of a plain journey, serialised but for the number of its user."""

    __slots__ = ("_kind", "after", "before", "free")

    def __init__(self, site: Site, plain: Plain) -> None:
        one = Visitor(site, 0, Arrived(0)).request(
            plain.method, plain.path, name=plain.name, body=plain.body, headers=dict(plain.headers)
        )
        start = len(f"{one.method} {one.target}{site.shared}")
        self.before, self.after = one.message[:start], one.message[start + 1 :]
        members = ("method", "target", "extra", "body", "name")
        shared = {name: getattr(one, name) for name in members}
        self.free: list[Lone] = []
        """Used ones, to be used again: making one up takes longer than all else about it."""
        own = {"site": site, "free": self.free, "before": self.before, "after": self.after}
        self._kind = type("PlainExchange", (Lone,), {**own, **shared})

    def exchange(self, number: int, arrived: Arrived) -> Lone:
        """What user ``number`` sends."""
        message = b"%b%d%b" % (self.before, number, self.after)
        if self.free:
            used = self.free.pop()
            used.number, used.arrived, used.message, used.attempts = number, arrived, message, 0
            return used
        lone: Lone = self._kind(number, arrived, message)
        return lone
