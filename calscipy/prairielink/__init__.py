"""PrairieView from another program, over TCP: read its state, load protocols, start and stop."""

from __future__ import annotations

from calscipy.prairielink.client import PrairieLink
from calscipy.prairielink.connection import PrairieLinkError, PrairieLinkTimeoutError

__all__ = ["PrairieLink", "PrairieLinkError", "PrairieLinkTimeoutError"]
