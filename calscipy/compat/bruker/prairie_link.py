"""PrairieView from a script (``CalSciPy.bruker.prairie_link``)."""

from __future__ import annotations

from typing import Any, NoReturn

from calscipy.prairielink import PrairieLink as _Client
from calscipy.prairielink import PrairieLinkError
from calscipy.prairielink.link import Value, parse_value


class PrairieLink(_Client):
    """A connection to PrairieView over TCP, from any system, with the names of 0.3.5.

    Now: ``cs.PrairieLink("192.168.0.20", password="1234")``

    0.3.5 needed Windows and a COM object. The parameters are those of `calscipy.PrairieLink`.

    Examples
    --------
    >>> link = PrairieLink()
    >>> link.set_timeout_and_retries(1000, 3)
    >>> link.timeout, link.retries
    (1.0, 3)
    """

    def set_timeout_and_retries(self, timeout: int = 2000, retries: int = 5) -> None:
        """Set how long to wait for answers, in ms, and how often to try again."""
        checked = _Client(self.host, self.port, timeout=timeout / 1000, retries=retries)
        self.timeout, self.retries = checked.timeout, checked.retries

    def command(self, name: str, *parameters: Any, wait: float | None = 0.0) -> Value | None:
        """Send one command; its parameters may follow in the same text, after spaces."""
        word, *more = name.split()
        return super().command(word, *map(parse_value, more), *parameters, wait=wait)

    @property
    def version(self) -> NoReturn:
        """Not told over TCP: an error that says where to find it."""
        raise PrairieLinkError(
            "PrairieView does not tell its version over TCP. Every recording does: "
            "ImagingSession.open(folder).movie.attrs['prairieview_version']."
        )

    def get_image(self, *args: Any) -> NoReturn:
        """Not possible over TCP: an error that says what is."""
        raise PrairieLinkError(
            "PrairieView writes images into the memory of its own computer, so they cannot be had "
            "over TCP. Save the scan, and open its folder with ImagingSession.open."
        )
