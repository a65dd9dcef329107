"""What the figures share: figures and axes, titles and legends, and how they are written."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calscipy.errors import ArgumentError
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.plotting.style import FONT, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_LONGEST_NAME = 20  # letters of a name beside an axis
_NICE = (1.0, 2.0, 5.0)


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a figure into a new PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path
        The PNG, which must not exist.
    dpi : int, default 150
        Pixels per inch.

    Returns
    -------
    Path
        The PNG.

    Raises
    ------
    TargetExistsError
        If there is anything at ``path``.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> save_figure(Figure(), "empty.png").name
    'empty.png'
    """
    target = local_path(path)
    require_png(target)
    drawn = io.BytesIO()
    # No software version in the file: the same data give the same bytes.
    figure.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None})
    require_free(target)
    with target.open("xb") as stream:
        stream.write(drawn.getvalue())
    return target


def require_png(target: Path) -> None:
    """Raise unless a new PNG can be written at a path."""
    if target.suffix.lower() != ".png":
        raise ArgumentError(f"{target}: figures are written as PNG; give a name ending in .png.")
    require_free(target)


def new_figure(width: float, height: float, *, constrained: bool = False) -> Figure:
    """Make a figure of a size in inches, apart from pyplot; notebooks show it all the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from calscipy.plotting._shown import ShownFigure

    figure = ShownFigure(figsize=(width, height), layout="constrained" if constrained else None)
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that were given, or those of a new figure of a size in inches."""
    if ax is not None:
        return ax
    from calscipy.plotting._shown import ShownAxes

    return new_figure(width, height, constrained=True).add_subplot(axes_class=ShownAxes)


def figure_or_new(figure: Figure | SubFigure | None, width: float, height: float) -> Any:
    """Return the figure that was given, or a new one of a size in inches."""
    return new_figure(width, height, constrained=True) if figure is None else figure


def settle(ax: Axes) -> None:
    """Lay out a new figure once before it is drawn: images need two rounds to find their place."""
    figure = ax.figure.canvas.figure
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes by their place in inches from the upper left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / up, width / across, height / up))


def add_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """Write title and subtitle at the top."""
    across, up = figure.get_size_inches()
    lines: Any = ((title, 0.27, {"fontsize": 13, "fontweight": "bold"}),
             (subtitle, 0.52, {"fontsize": 9.5, "color": GREY}))  # fmt: skip
    for text, top, style in lines:
        figure.text(0.2 / across, 1 - top / up, plain(text), va="center", **style)


def plain(text: Any) -> str:
    r"""Return a text without formulas: dollars mean them to matplotlib, but names may hold some.

    Examples
    --------
    >>> print(plain("a$b"), plain(plain("a$b")))
    a\$b a\$b
    """
    return re.sub(r"(?<!\\)\$", r"\\$", str(text))


def capitalised(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def short_name(name: Any, longest: int = _LONGEST_NAME) -> str:
    """Return the name of a neuron or signal, a long one without its middle.

    Examples
    --------
    >>> short_name("mouse12_session3_soma_0017"), short_name(("m1", 4))
    ('mouse12_sess…ma_0017', 'm1, 4')
    """
    text = ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)
    if len(text) > longest:
        tail = (longest - 1) * 2 // 5
        text = f"{text[: longest - 1 - tail]}…{text[-tail:]}"
    return plain(text)


def ink() -> str:
    """Return the colour of texts, dark on light paper unless the user has chosen otherwise."""
    import matplotlib

    return str(matplotlib.rcParams["text.color"])


def plain_axes(axis: Axes) -> None:
    """Take away the frame on top and right."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=FONT - 1)


def size_inches(axis: Axes) -> tuple[float, float]:
    """Return about how wide and high axes are."""
    figure, box = axis.figure.canvas.figure, axis.get_window_extent()
    return float(box.width / figure.dpi), float(box.height / figure.dpi)


def name_rows(
    axis: Axes,
    places: np.ndarray,
    names: Sequence[Any],
    *,
    colours: Sequence[str] | None = None,
    word: str = "neuron",
) -> None:
    """Name rows at the left: all of them, or evenly spaced ones where they do not fit.

    Parameters
    ----------
    axis : Axes
        Whose limits along y are set already.
    places : ndarray
        Where the rows lie along y.
    names : sequence
        Name of each row.
    colours : sequence of str, optional
        Colour of each name.
    word : str, default "neuron"
        What the rows are.
    """
    low, high = sorted(axis.get_ylim())
    usual = abs(places[-1] - places[0]) / max(1, len(places) - 1)
    tall = size_inches(axis)[1] * 72 * usual / (high - low) if len(places) > 1 else np.inf
    every = next_nice(1.35 * FONT / tall) if tall < 1.35 * FONT else 1
    shown = range(0, len(places), every)
    axis.set_yticks([places[at] for at in shown], [short_name(names[at]) for at in shown])
    if colours is not None:
        for text, at in zip(axis.get_yticklabels(), shown, strict=True):
            text.set(color=colours[at], fontweight="bold")
    axis.set_ylabel(word, fontsize=FONT)


def next_nice(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20 ... that is not less.

    Examples
    --------
    >>> [next_nice(least) for least in (0.3, 3, 17)]
    [1, 5, 20]
    """
    power = 10 ** max(0, int(np.floor(np.log10(max(least, 1)))))
    return next(int(n * power) for n in (*_NICE, 10.0) if n * power >= least)


def nice_length(most: float) -> float:
    """Return the largest of ..., 0.5, 1, 2, 5, 10 ... that is not more, for a scale bar.

    Examples
    --------
    >>> nice_length(0.7), nice_length(130.0), nice_length(0.00031)
    (0.5, 100.0, 0.0002)
    """
    if not (np.isfinite(most) and most > 0):
        return 1.0
    power = int(np.floor(np.log10(most)))
    found = max((n for n in _NICE if n * 10.0**power <= most * (1 + 1e-9)), default=1.0)
    return float(f"{found:g}e{power}")


def head(axis: Axes, title: str, handles: Mapping[str, Any]) -> None:
    """Write a title at the left above axes, and what is drawn, by name, beside or below it."""
    lines, room = 0, size_inches(axis)[0]
    title = textwrap.fill(title, max(20, int(room / _text_inches("m", FONT + 1))))
    if handles:
        names = [plain(name) for name in handles]
        widths = [_text_inches(name, FONT - 1) + 0.45 for name in names]
        beside = sum(widths) + _text_inches(title, FONT + 1) + 0.3 < room
        columns = max(1, int(room / max(widths))) if sum(widths) > room else len(names)
        lines = 0 if beside else -(-len(names) // columns)
        axis.legend(
            list(handles.values()), names, loc="lower right", bbox_to_anchor=(1, 1),
            ncols=columns, frameon=False, fontsize=FONT - 1, handletextpad=0.4,
            borderaxespad=0.1, columnspacing=1.2, handlelength=1.4,
        )  # fmt: skip
    axis.set_title(plain(title), loc="left", fontsize=FONT + 1, pad=6 + 15 * lines)


def _text_inches(text: str, font: float) -> float:
    """Return about how wide a text is: letters are some 0.62 of the font wide."""
    return len(text) * 0.62 * font / 72


def line_mark(shade: str, dashes: Any = "-") -> Any:
    """Return what a legend shows for a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=shade, ls=dashes, lw=1.5)


def runs_of(mask: np.ndarray) -> Iterable[tuple[int, int]]:
    """Return the starts and stops of the stretches that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
