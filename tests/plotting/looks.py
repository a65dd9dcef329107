"""What a person sees of a figure: its texts and where they are, and its artists by their names."""

from __future__ import annotations

from unittest import mock

import numpy as np
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def drawn_texts(figure) -> list[tuple[str, Bbox]]:
    """Return every text that is drawn, with its box in pixels, as one drawing lays it out."""
    found = []
    draw = Text.draw

    def record(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer)))
        return draw(self, renderer, *args, **kwargs)

    figure = figure.canvas.figure
    with mock.patch.object(Text, "draw", record):
        figure.draw_without_rendering()
    return found


def require_legible(figure, smallest: float = 6.9) -> list[str]:
    """Check that no text is cut off, overlaps another one, or is too small; return the texts."""
    figure = figure.canvas.figure
    texts = drawn_texts(figure)
    assert texts
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in texts:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= width + 0.5
        assert inside and box.y1 <= height + 0.5, f"{text!r} is cut off: {box.extents}"  # noqa: PT018
    for at, (text, box) in enumerate(texts):
        for other, its_box in texts[at + 1 :]:
            across = min(box.x1, its_box.x1) - max(box.x0, its_box.x0)
            up = min(box.y1, its_box.y1) - max(box.y0, its_box.y0)
            # Boxes have some room around the letters.
            assert across < 1.5 or up < 2.5, f"{text!r} and {other!r} overlap"
    for artist in figure.findobj(Text):
        if artist.get_visible() and artist.get_text().strip():
            assert artist.get_fontsize() >= smallest, artist.get_text()
    return [text for text, _ in texts]


def by_gid(figure, gid: str) -> list:
    """Return the artists of a name, such as ``"traces"``."""
    return figure.canvas.figure.findobj(lambda artist: artist.get_gid() == gid)


def lines_of(collection) -> list[np.ndarray]:
    """Return the points of each line of a collection, NaN included."""
    return [np.asarray(path.vertices) for path in collection.get_paths()]


def rendered(figure, dpi: int = 100) -> np.ndarray:
    """Draw a figure and return its pixels, 0 to 255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = figure.canvas.figure
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
