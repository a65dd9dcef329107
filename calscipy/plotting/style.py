"""The look that all figures share: colours, labels and contrast, without matplotlib."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from calscipy import model

# Okabe and Ito's colours, distinct to colour-blind readers, without black, and with a darker yellow
# that nobody takes for the orange: they have to be seen on white paper as well as on a dark image.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#CCB666")
ROI_COLOURS = COLOURS[1:]  # the first one is too dark for an image
GREY = "#767676"
ALERT = "#D55E00"  # missing, damaged
STIMULUS_COLOUR = "#56B4E9"  # shading while something is stimulated
SINGLE_COLOUR = "#B4B4B4"  # single trials and events, behind their mean
DASHES = ("-", "--", ":", "-.")  # of lines whose colours are the same

IMAGE_MAP = "gray"  # of single images
HEAT_MAP = "viridis"  # of neurons over time: uniform in lightness, so it also prints in grey
MISSING_COLOUR = "#F3E3EC"  # behind what is NaN, hatched so that it shows in grey as well

FONT = 9  # points of labels; ticks are one smaller, titles one larger
LOW, HIGH = 1.0, 99.7  # percentiles between which images are shown

_MOST = 2**20  # values that percentiles are taken of
_WORDS = {"": "", "1": "", "count": "counts", "percent": "%"}
_MICRO = re.compile(r"\bu(?=(?:m|s|l|L|g|V|A|W|J|M|mol)(?![A-Za-z]))")
_POWER = re.compile(r"(?:\^|\*\*)?(?<=[A-Za-z^*])(-?[0-9])\b")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def units_text(units: str | None) -> str:
    """Return units as figures show them: with µ and powers, nothing for plain numbers.

    Examples
    --------
    >>> [units_text(units) for units in ("um", "um^2", "1", "count", "Hz")]
    ['µm', 'µm²', '', 'counts', 'Hz']
    """
    units = str(units or "").strip()
    if units in _WORDS:
        return _WORDS[units]
    return _POWER.sub(lambda found: found[1].translate(_RAISED), _MICRO.sub("µ", units))


def label(data: xr.DataArray, default: str = "") -> str:
    """Return what an axis is labelled with: ``long_name [units]``.

    Parameters
    ----------
    data : DataArray
        An array or a coordinate.
    default : str, optional
        Name of an array that has neither ``long_name`` nor a name.

    Returns
    -------
    str

    Examples
    --------
    >>> label(xr.DataArray(0, attrs={"long_name": "y position", "units": "um"}))
    'y position [µm]'
    >>> label(xr.DataArray(0, attrs={"units": "1"}, name="ΔF/F₀"))
    'ΔF/F₀'
    """
    return with_units(name_of(data, default), data.attrs.get("units"))


def name_of(data: xr.DataArray, default: str = "") -> str:
    """Return the ``long_name`` of an array, else its name."""
    return str(data.attrs.get("long_name") or data.name or default)


def with_units(name: str, units: str | None, apart: str = " ") -> str:
    """Return a name with units in brackets.

    Examples
    --------
    >>> with_units("time", "s"), with_units("ΔF/F₀", "1"), with_units("", "V")
    ('time [s]', 'ΔF/F₀', '[V]')
    """
    shown = units_text(units)
    return f"{name}{apart}[{shown}]".strip() if shown else name


def amount(value: float, units: str | None) -> str:
    """Return a number with units, as scale bars show it.

    Examples
    --------
    >>> amount(20, "um"), amount(0.5, "1")
    ('20 µm', '0.5')
    """
    return f"{value:g} {units_text(units)}".strip()


def colour(number: int) -> str:
    """Return the colour of the n-th category, from 0; they repeat."""
    return COLOURS[number % len(COLOURS)]


def contrast_limits(
    values: np.ndarray, percentiles: tuple[float, float] = (LOW, HIGH)
) -> tuple[float, float]:
    """Return the values that are shown darkest and brightest, whatever a few pixels are.

    Parameters
    ----------
    values : ndarray
        Of an image; those that are not finite are passed over. Of very many, evenly spaced ones
        are looked at.
    percentiles : (float, float), default (1, 99.7)
        Shares of the values below the two limits, in percent.

    Returns
    -------
    (float, float)
        The second one is larger, also for an image of one value.

    Examples
    --------
    >>> contrast_limits(np.append(np.arange(1001.0), 1e9), (0, 99))
    (0.0, 990.99)
    """
    flat = np.asarray(values).reshape(-1)
    flat = flat[:: max(1, flat.size // _MOST)]
    finite = flat[np.isfinite(flat)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(finite, percentiles))
    if high <= low:  # most pixels are alike: whatever differs has to be seen
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low, low + 1.0)


def seconds_label(data: xr.DataArray) -> str:
    """Return the label of a time axis."""
    coordinate = data.coords.get(model.TIME)
    name = "time" if coordinate is None else coordinate.attrs.get("long_name", "time")
    return with_units(str(name), "s")
