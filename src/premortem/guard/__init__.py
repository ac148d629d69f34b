"""Overload protection inside the site: admit what the database can do, refuse the rest at once."""

from premortem.guard.asgi import Guard
from premortem.guard.pools import PoolReader, pool_values
from premortem.guard.settings import Route, Settings, TrafficClass
from premortem.guard.wsgi import WsgiGuard

__all__ = ["Guard", "PoolReader", "Route", "Settings", "TrafficClass", "WsgiGuard", "pool_values"]
