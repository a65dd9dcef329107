"""Colours of figures (``CalSciPy.color_scheme``)."""

from __future__ import annotations

from calscipy.plotting.style import COLOURS

_NAMES = ("BLUE", "ORANGE", "GREEN", "PURPLE", "LIGHT_BLUE", "RED", "YELLOW")


class _Colors:
    """Colours that colour-blind readers can tell apart, by number or by name.

    Now: ``cs.plotting.style.COLOURS[0]``

    Examples
    --------
    >>> COLORS(0) == COLORS.BLUE == COLORS(7)
    True
    """

    def __call__(self, number: int) -> str:
        """Return a colour; after the last one comes the first."""
        return COLOURS[number % len(COLOURS)]

    def __getattr__(self, name: str) -> str:
        if name.upper() not in _NAMES:
            raise AttributeError(f"the colours are called {', '.join(_NAMES)}")
        return COLOURS[_NAMES.index(name.upper())]


COLORS = _Colors()
