"""The client of PrairieView's script commands: a verb for each common one."""

from __future__ import annotations

import os
from typing import Any, Literal

from calscipy.errors import ArgumentError
from calscipy.prairielink.connection import PrairieLinkError
from calscipy.prairielink.link import Link, Value

Axis = Literal["X", "Y", "Z"]


class PrairieLink(Link):
    """A connection to a running PrairieView, from any computer and operating system.

    It connects when it is first needed, or by `connect` or a ``with`` block, and says goodbye at
    the end of the block or by `disconnect`. Reading is tried again when an answer is lost;
    whatever moves, loads or starts something is sent once and never again.

    Images cannot be fetched this way: PrairieView writes them into the memory of its own
    computer. Save the scan and open its folder. Its version is not told either. The password and
    all commands go over the network unencrypted.

    Parameters
    ----------
    host : str, default "127.0.0.1"
        Name or address of the acquisition PC.
    port : int, default 1236
        Port that PrairieView listens on.
    password : str, optional
        As the Edit Scripts dialog of PrairieView shows it, if it asks for one.
    timeout : float, default 2
        Seconds that PrairieView has for each answer.
    retries : int, default 5
        Further attempts to connect, and to read.

    Examples
    --------
    >>> link = PrairieLink("192.168.0.20", password="1234")
    >>> link.connected
    False
    >>> link
    PrairieLink('192.168.0.20', port=1236, not connected)
    """

    # -- state -----------------------------------------------------------------------------

    def get_state(
        self, key: str, index: str | int | None = None, subindex: int | None = None
    ) -> Value:
        """Read one value of PrairieView's state.

        Parameters
        ----------
        key : str
            Such as ``"framePeriod"``: the keys of ``session.metadata`` and of ``.env`` files.
        index : str or int, optional
            Such as ``"XAxis"`` of ``"micronsPerPixel"``, or 0 of ``"laserPower"``.
        subindex : int, optional
            Such as 0 of the ``"ZAxis"`` of ``"positionCurrent"``.

        Returns
        -------
        bool, int, float or str
            As the text reads.
        """
        if subindex is not None and index is None:
            raise ArgumentError(f"PrairieLink: the subindex {subindex!r} needs an index before it.")
        return self._read("gts", *(one for one in (key, index, subindex) if one is not None))

    def get_motor_position(self, axis: Axis, device: int | None = None) -> float:
        """Position of an axis, in um; ``device`` counts its motors from 0."""
        value = self._read("gmp", axis, *(() if device is None else (device,)))
        if isinstance(value, bool | str):
            raise PrairieLinkError(
                f"{self.host}:{self.port}: a position was expected for the axis {axis}, got "
                f"{value!r}. Check that it has this device."
            )
        return float(value)

    @property
    def dropped_data(self) -> bool:
        """Whether PrairieView lost data in the scan."""
        return bool(self._typed(bool, "dd"))

    @property
    def lines_per_frame(self) -> int:
        """Lines of an image."""
        return int(self._typed(int, "gts", "linesPerFrame"))

    @property
    def pixels_per_line(self) -> int:
        """Pixels of a line."""
        return int(self._typed(int, "gts", "pixelsPerLine"))

    @property
    def samples_per_pixel(self) -> int:
        """Samples that make one pixel."""
        return int(self._typed(int, "spp"))

    def _read(self, name: str, *parameters: Any) -> Value:
        return self.request([(name, *parameters)])[0]

    def _typed(self, kind: type, name: str, *parameters: Any) -> Value:
        value = self._read(name, *parameters)
        if type(value) is not kind:
            raise PrairieLinkError(
                f"{self.host}:{self.port}: -{' '.join((name, *parameters))} was answered by "
                f"{value!r}, where {kind.__name__} was expected."
            )
        return value

    # -- motors ----------------------------------------------------------------------------

    def set_motor_position(self, axis: Axis, um: float, *, device: int | None = None) -> None:
        """Move an axis to a position, in um; sent once, whatever happens."""
        self.command("ma", axis, um, *(() if device is None else (device,)))

    def move_motor(
        self, axis: Axis, um: float, *, device: int | None = None, wait: float | None = None
    ) -> None:
        """Move an axis by a distance, in um; sent once, whatever happens.

        Parameters
        ----------
        axis : {"X", "Y", "Z"}
            Which axis.
        um : float
            How far.
        device : int, optional
            Which of its motors, from 0 on.
        wait : float, optional
            Wait until it has arrived, for as many seconds at most; needs ``device``.
        """
        if wait is None:
            self.command("mr", axis, um, *(() if device is None else (device,)))
        elif device is None:
            raise ArgumentError("PrairieLink: to wait for a motor, name its device (0 is first).")
        else:
            self.command("mr", axis, um, device, "Wait", wait=wait)

    # -- protocols -------------------------------------------------------------------------

    def load_mark_points(self, path: str | os.PathLike[str], *, clear: bool | None = None) -> None:
        """Load a mark-point series (``.xml``) or galvo points (``.gpl``).

        Parameters
        ----------
        path : path
            On the acquisition PC.
        clear : bool, optional
            Take the points away that are there; for ``.gpl`` alone.
        """
        self.command("lmp", path, *(() if clear is None else (clear,)))

    def load_voltage_output(self, path: str | os.PathLike[str]) -> None:
        """Load a voltage output experiment from a file on the acquisition PC."""
        self.command("lvo", path)

    def load_environment(self, path: str | os.PathLike[str]) -> None:
        """Load an environment, ``.env``, from the acquisition PC."""
        self.command("le", path)

    def load_t_series(self, path: str | os.PathLike[str]) -> None:
        """Load the definition of a T-series, ``.env``, from the acquisition PC."""
        self.command("tsl", path)

    # -- acquisition -----------------------------------------------------------------------

    def t_series(self, *, wait: float | None = None) -> None:
        """Start a T-series; wait for its end for at most ``wait`` s, or not at all."""
        self.command("ts", wait=wait)

    def z_series(self, *, wait: float | None = None) -> None:
        """Start a Z-series; wait for its end for at most ``wait`` s, or not at all."""
        self.command("zs", wait=wait)

    def single_scan(self, *, wait: float | None = None) -> None:
        """Take one image; wait for its end for at most ``wait`` s, or not at all."""
        self.command("ss", wait=wait)

    def line_scan(self, *, wait: float | None = None) -> None:
        """Start a line scan; wait for its end for at most ``wait`` s, or not at all."""
        self.command("ls", wait=wait)

    def live_scan(self, on: bool) -> None:
        """Start or end the live scan."""
        self.command("lv", on)

    def mark_points(
        self,
        category: str | None = None,
        experiment: str | None = None,
        *,
        wait: float | None = None,
    ) -> None:
        """Run the mark points that are loaded, or a saved experiment of a category."""
        names = [name for name in (category, experiment) if name is not None]
        if len(names) == 1:
            raise ArgumentError(
                f"PrairieLink: mark_points takes a category and an experiment, got {names[0]!r} "
                "alone. Give both, or none to run what is loaded."
            )
        self.command("mp", *names, wait=wait)

    def mark_all_points(self, *, wait: float | None = None) -> None:
        """Stimulate all points at once with the SLM."""
        self.command("slm", wait=wait)

    def wait_for_scan(self, seconds: float) -> None:
        """Wait until the scan that runs has ended, for at most so many seconds."""
        self.command("w", wait=seconds)
