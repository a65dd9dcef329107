"""Images show their values and units, true scale bars, and ROIs where they are."""

import dask
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, DimensionError, RoiError
from calscipy.plotting import plot_image
from calscipy.plotting.outlines import footprints_on, outlines
from calscipy.plotting.style import ROI_COLOURS

from .gallery import image, labels, rois
from .looks import by_gid, drawn_texts, rendered


def bare(**coordinates) -> xr.DataArray:
    values = np.random.default_rng(0).uniform(0, 100, (16, 24))
    return xr.DataArray(values, coordinates, ("y", "x"), attrs={"long_name": "mean"})


def whole(size: int = 4) -> tuple[Figure, object]:
    """Make axes that fill their figure, with some pixels for each of the image's."""
    figure = Figure(figsize=(24 * size / 100, 16 * size / 100), dpi=100)
    return figure, figure.add_axes((0, 0, 1, 1))


def test_pixels_are_the_values_between_the_limits():
    figure, axes = whole()
    plot_image(bare(), limits=(20, 80), colour_bar=False, title="", ax=axes)
    axes.axis("off")
    wanted = np.round(255 * np.clip((bare().values - 20) / 60, 0, 1))
    found = rendered(figure)[1::4, 1::4]
    assert np.abs(found - wanted[..., None]).max() <= 2


def test_values_reach_the_figure_however_the_image_is_stored():
    for data in (bare(), bare().transpose("x", "y"), bare().astype("u2"), bare().chunk(y=5)):
        axes = plot_image(data)
        assert axes.images[0].get_array().shape == (16, 24)
        np.testing.assert_array_equal(axes.images[0].get_array(), data.transpose("y", "x").values)
    low, high = plot_image(bare()).images[0].get_clim()
    assert (low, high) == pytest.approx(np.percentile(bare(), (1, 99.7)))
    assert plot_image(bare(), limits=(1, 2)).images[0].get_clim() == (1, 2)
    assert plot_image(bare(), colormap="magma").images[0].cmap.name == "magma"


def test_nan_shows_hatched_paper_that_no_grey_looks_like():
    data = bare()
    data[4:12, 4:14] = np.nan
    figure, axes = whole(8)
    plot_image(data, colour_bar=False, title="", ax=axes)
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    pixels = rendered(figure)
    inside = pixels[5 * 8 : 11 * 8, 5 * 8 : 13 * 8].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) > 4  # lines on it
    assert (np.ptp(inside, axis=1) > 8).mean() > 0.3  # and not grey
    outside = pixels[13 * 8 : 15 * 8, 8:-8].reshape(-1, 3)
    assert np.ptp(outside, axis=1).max() == 0
    assert plot_image(bare()).patch.get_hatch() is None
    nothing = plot_image(bare() * np.nan)
    assert nothing.patch.get_hatch()
    assert nothing.images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("pixel", [0.3, 0.5, 1.2, 2.0, 13.0, 0.04])
@pytest.mark.parametrize("columns", [96, 31])
def test_scale_bars_are_as_long_as_they_say(pixel, columns):
    axes = plot_image(image(pixel)[:, :columns])
    (bar,) = by_gid(axes.figure, "scale bar")
    length = np.ptp(bar.get_xdata()) * pixel
    (text,) = (text for text in axes.texts if "µm" in text.get_text())
    assert text.get_text() == f"{length:g} µm"
    assert text.get_text().strip("0.")[0] in "125"
    assert 0.09 * columns * pixel < length <= 0.25 * columns * pixel * (1 + 1e-9)
    box = bar.get_xdata()
    assert -0.5 <= min(box) < max(box) <= columns - 0.5


def test_scale_bars_follow_the_width_of_pixels_and_the_image_their_shape():
    data = bare(y=model.pixel_coordinate("y", 16, 2.0), x=model.pixel_coordinate("x", 24, 0.5))
    axes = plot_image(data)
    (bar,) = by_gid(axes.figure, "scale bar")
    assert np.ptp(bar.get_xdata()) * 0.5 == pytest.approx(2)
    axes.figure.draw_without_rendering()
    box = axes.get_window_extent()
    # 32 um over 12 um, but drawn at most 1.8 times as high as wide.
    assert box.height / box.width == pytest.approx(1.8, rel=0.02)
    box = plot_image(bare()).get_position()
    axes = plot_image(image()[:48])
    axes.figure.draw_without_rendering()
    box = axes.get_window_extent()
    assert box.height / box.width == pytest.approx(0.5, rel=0.02)


def test_binned_images_have_scale_bars_too():
    data = cs.bin(image().expand_dims(frames=1), y=2, x=2, reduce="mean")[0]
    axes = plot_image(data)
    (bar,) = by_gid(axes.figure, "scale bar")
    (text,) = (text for text in axes.texts if "µm" in text.get_text())
    assert text.get_text() == f"{np.ptp(bar.get_xdata()) * 3:g} µm"


def test_axes_without_a_scale_bar_are_labelled():
    axes = plot_image(bare())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("column [pixels]", "row [pixels]")
    part = image()[10:40, 20:60]
    axes = plot_image(part, scale_bar=False)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x position [µm]", "y position [µm]")
    assert not by_gid(axes.figure, "scale bar")
    form = axes.xaxis.get_major_formatter()
    assert form(0, 0) == "30"  # the first column is the recording's 20th, of 1.5 um each
    assert form(10, 0) == "45"


def test_colour_bars_have_the_units_and_the_limits():
    axes = plot_image(image())
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == "counts"
    assert bar.get_ylim() == pytest.approx(axes.images[0].get_clim())
    assert plot_image(image(), title="other").child_axes[0].get_ylabel() == (
        "mean over frames [counts]"
    )
    assert not plot_image(image(), colour_bar=False).child_axes


def slow_edges(mask: np.ndarray) -> set:
    """Edges of pixels that are in the mask whose neighbours are not."""
    found = set()
    for y, x in zip(*np.nonzero(mask), strict=True):
        for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            beyond = y + down, x + across
            outside = min(beyond) < 0 or beyond[0] >= mask.shape[0] or beyond[1] >= mask.shape[1]
            if outside or not mask[beyond]:
                found.add((y + down / 2, x + across / 2))  # the middle of the edge
    return found


def middles(line) -> list:
    """Middles of the edges of pixels that a straight line consists of."""
    (x0, y0), (x1, y1) = line
    count = round(abs(x1 - x0) + abs(y1 - y0))
    steps = (np.arange(count) + 0.5) / count
    return [(y0 + s * (y1 - y0), x0 + s * (x1 - x0)) for s in steps]


def test_outlines_are_the_borders_of_the_pixels():
    draw = np.random.default_rng(0)
    masks = draw.random((5, 9, 11)) < 0.5
    row, y, x = np.nonzero(masks)
    order = draw.permutation(row.size)
    lines, owner = outlines(row[order], y[order], x[order])
    for number, mask in enumerate(masks):
        found = [edge for line in lines[owner == number] for edge in middles(line)]
        assert len(found) == len(set(found))
        assert set(found) == slow_edges(mask)


def test_every_roi_is_outlined_in_its_colour_with_its_name():
    axes = plot_image(image(), rois())
    (drawn,) = by_gid(axes.figure, "rois")
    shades = {tuple(colour) for colour in drawn.get_colors()[:, :3].round(3)}
    assert len(shades) == len(ROI_COLOURS)
    edges = {edge for line in drawn.get_segments() for edge in middles(line)}
    assert edges == set().union(*(slow_edges(labels() == number) for number in range(1, 10)))
    names = {text.get_text(): text for text in by_gid(axes.figure, "name")}
    assert sorted(names) == [str(number) for number in range(1, 10)]
    for number, text in names.items():
        y, x = np.nonzero(labels() == int(number))
        away = np.hypot(text.get_position()[0] - x.mean(), text.get_position()[1] - y.mean())
        assert away < 12  # beside its own ROI
        assert (labels() == int(number))[
            tuple(np.round(text.get_position()[::-1]).astype(int))
        ] == 0


def test_some_rois_without_names():
    axes = plot_image(image(), rois(), neurons=[7, 2], numbers=False)
    assert not by_gid(axes.figure, "name")
    (drawn,) = by_gid(axes.figure, "rois")
    edges = {edge for line in drawn.get_segments() for edge in middles(line)}
    assert edges == slow_edges(labels() == 7) | slow_edges(labels() == 2)


def test_rois_are_placed_on_parts_of_the_recording_and_on_binned_images():
    found = footprints_on(image()[20:, 30:], rois(), "test")
    y, x = found.on_image(found.y, found.x)
    where = rois()
    np.testing.assert_allclose(np.sort(y), np.sort(where.y.values - 20.0))
    np.testing.assert_allclose(np.sort(x), np.sort(where.x.values - 30.0))
    binned = cs.bin(image().expand_dims(frames=1), y=2, x=2, reduce="mean")[0]
    found = footprints_on(binned, rois(), "test")
    y, x = found.on_image(found.y, found.x)
    np.testing.assert_allclose(np.sort(y), np.sort(where.y.values / 2 - 0.25))
    ends = footprints_on(bare(), cs.rois_from_labels(np.arange(16 * 24).reshape(16, 24)), "test")
    assert ends.on_image(15, 23) == (15, 23)


def test_rois_of_other_planes_are_left_out():
    volume = np.zeros((2, 16, 24), int)
    volume[0, 2:5, 3:6], volume[1, 9:12, 15:18] = 1, 2
    found = cs.rois_from_labels(volume)
    axes = plot_image(bare().assign_coords(plane=1), found)
    assert [text.get_text() for text in by_gid(axes.figure, "name")] == ["2"]
    with pytest.raises(RoiError, match="no ROI lies on the image of plane 7"):
        plot_image(bare().assign_coords(plane=7), found)
    with pytest.raises(RoiError, match="no ROIs of the neurons 1 here"):
        plot_image(bare().assign_coords(plane=1), found, neurons=[1])


def test_names_of_very_many_rois_stay_apart_and_the_rest_is_counted():
    grid = np.zeros((100, 100), int)
    grid[::4, ::4] = np.arange(1, 626).reshape(25, 25)
    places = {dim: model.pixel_coordinate(dim, 100, 1.0) for dim in ("y", "x")}
    known = xr.DataArray(grid * 1.0, places, ("y", "x"))
    axes = plot_image(known, cs.rois_from_labels(grid))
    written = by_gid(axes.figure, "name")
    assert 100 < len(written) < 625
    assert axes.get_xlabel() == f"names of {len(written)} of 625 ROIs"
    (drawn,) = by_gid(axes.figure, "rois")
    assert len(drawn.get_segments()) == 4 * 625
    boxes = [box for text, box in drawn_texts(axes.figure) if text.isdigit()]
    x0, y0, x1, y1 = np.array([box.extents for box in boxes]).T
    across = np.minimum(x1, x1[:, None]) - np.maximum(x0, x0[:, None])
    up = np.minimum(y1, y1[:, None]) - np.maximum(y0, y0[:, None])
    overlap = (across > 1.5) & (up > 2.5)
    assert overlap.sum() == len(boxes)  # each with itself


def test_lazy_images_and_rois_are_computed_once():
    computed = []

    def scheduler(graph, keys, **options):
        computed.append(keys)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=scheduler):
        plot_image(image().chunk(y=20), rois().chunk())
    assert len(computed) == 1


def test_what_is_no_image_is_refused_with_the_way_out():
    both = xr.concat([bare(), bare()], "channel")
    with pytest.raises(DimensionError, match=r"image\.isel\(channel=0\)"):
        plot_image(both)
    with pytest.raises(DimensionError, match=r"image\.max\('plane'\)"):
        plot_image(both.rename(channel="plane"))
    with pytest.raises(DimensionError, match="needs the dimensions"):
        plot_image(bare().rename(y="a"))
    with pytest.raises(ArgumentError, match="as a DataArray, got ndarray"):
        plot_image(bare().values)
    with pytest.raises(ArgumentError, match="image of numbers"):
        plot_image(bare()[:0])
    with pytest.raises(ArgumentError, match="needs rois="):
        plot_image(bare(), neurons=[1])
    with pytest.raises(RoiError, match="needs ROIs or a label image"):
        plot_image(bare(), rois="all")


def test_a_dollar_is_no_formula():
    axes = plot_image(bare(), title="a$b$c")
    axes.figure.draw_without_rendering()
    assert axes.get_title("left") == r"a\$b\$c"
