import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from calscipy.errors import ArgumentError
from calscipy.kernels import moving_loops, refinement, registration
from calscipy.kernels.interpolation import shift_frames
from calscipy.kernels.template import make_template

from ..moving_scene import Scene, rms, shot_noise  # noqa: TID252

SHAPES = [(96, 160), (128, 80)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def random_shifts(count, seed=0, size=8.0):
    return np.random.default_rng(seed).uniform(-size, size, (count, 2))


def align(frames, template, max_shift=15, **arguments):
    prepared = registration.reference(template, max_shift=max_shift, **arguments)
    frames = np.asarray(frames)
    return registration.rigid_shifts(frames, np.zeros(len(frames), int), shared=[prepared])


def phase_correlation(template, frame, step=0.02):
    """Guizar-Sicairos et al. (2008): the peak of the phase correlation, up-sampled around it."""
    spectrum = np.conj(np.fft.fft2(template)) * np.fft.fft2(frame)
    spectrum /= np.maximum(np.abs(spectrum), 1e-12)
    peak = np.unravel_index(np.fft.ifft2(spectrum).real.argmax(), frame.shape)
    ends = []
    for at, size in zip(peak, frame.shape, strict=True):
        at = at - size if at > size / 2 else at
        ends.append(np.arange(at - 1, at + 1 + step / 2, step))
    down = np.exp(2j * np.pi * np.outer(ends[0], np.fft.fftfreq(frame.shape[0])))
    across = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(frame.shape[1]), ends[1]))
    fine = np.unravel_index((down @ spectrum @ across).real.argmax(), (len(ends[0]), len(ends[1])))
    return [end[at] for end, at in zip(ends, fine, strict=True)]


def least_error(scene, shift, photons):
    """Cramér-Rao: the least rms error of a shift by shot noise, template and brightness known.

    Of the pixels in which the frame overlaps the template.
    """
    unit = photons / scene.draw().mean()
    counts = unit * scene.draw(*shift)
    y, x = shift
    down = unit * (scene.draw(y - 0.01, x) - scene.draw(y + 0.01, x)) / 0.02
    right = unit * (scene.draw(y, x - 0.01) - scene.draw(y, x + 0.01)) / 0.02
    rows, columns = np.ogrid[: counts.shape[0], : counts.shape[1]]
    inside = (rows >= y) & (rows <= counts.shape[0] - 1 + y)
    inside = inside & (columns >= x) & (columns <= counts.shape[1] - 1 + x)
    slopes = np.stack([down[inside], right[inside]])
    information = (slopes / counts[inside]) @ slopes.T
    return np.sqrt(np.trace(np.linalg.inv(information)) / 2)


@every_shape
@pytest.mark.parametrize("photons", [30, 3])
def test_the_error_is_near_the_least_that_shot_noise_allows(shape, photons):
    errors, least = [], []
    for seed in range(4):
        scene, shifts = Scene(shape, seed=seed), random_shifts(20, seed)
        frames = shot_noise([scene.draw(*shift) for shift in shifts], photons, seed=seed)
        errors.append(align(frames, scene.draw())[:, :2] - shifts)
        least += [least_error(scene, shift, photons) for shift in shifts[::4]]
    assert 0.9 * rms(least) < rms(errors) < 1.6 * rms(least)  # 1.3 to 1.5


@every_shape
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("photons", "worst"), [(30, 0.03), (3, 0.1)])
def test_shifts_under_shot_noise(shape, seed, photons, worst):
    scene, shifts = Scene(shape, seed=seed), random_shifts(25, seed)
    frames = shot_noise([scene.draw(*shift) for shift in shifts], photons, seed=seed)
    found = align(frames, scene.draw())
    assert rms(found[:, :2] - shifts) < worst
    assert np.abs(found[:, :2] - shifts).max() < 5 * worst
    assert (found[:, 2] > 0.5).all()


def test_windows_grow_by_a_fifth_each():
    for shape, largest in (((96, 160), 15), ((128, 80), 15), ((512, 512), 15), ((18, 18), 1)):
        limits = refinement.window_limits(shape, largest)
        assert limits[0] == largest
        area = [np.prod([n - 2 * (limit + refinement.MARGIN) for n in shape]) for limit in limits]
        assert all(after >= 1.2 * before for before, after in pairwise(area))
        most = np.prod([n - 2 * refinement.MARGIN for n in shape])
        assert most < 1.2 * area[-1]  # not one more fits


def test_frames_that_moved_little_are_compared_in_more_of_the_template():
    scene, shifts = Scene((128, 80), seed=4), random_shifts(60, seed=4, size=2)
    frames = shot_noise([scene.draw(*shift) for shift in shifts], 3)
    prepared = registration.reference(scene.draw(), max_shift=15)
    core = replace(prepared, windows=prepared.windows[:1])
    which = np.zeros(60, int)
    wide, narrow = (
        registration.rigid_shifts(frames, which, shared=[one]) for one in (prepared, core)
    )
    assert rms(wide[:, :2] - shifts) < 0.8 * rms(narrow[:, :2] - shifts)
    # The correlation is of the same pixels in every frame.
    np.testing.assert_allclose(wide[:, 2], narrow[:, 2], atol=0.02)


def test_shifts_at_the_limit_of_each_window():
    scene = Scene((128, 80), seed=5)
    prepared = registration.reference(scene.draw(), max_shift=15)
    limits = [part.limit for part in prepared.windows]
    assert len(limits) > 3
    ends = np.array([0, *limits[1:], *(n + 0.5 for n in limits[1:]), 14.5])
    shifts = np.concatenate([np.stack([a * ends, b * ends], 1) for a in (-1, 1) for b in (-1, 1)])
    found = align([scene.draw(*shift) for shift in shifts], scene.draw())
    np.testing.assert_allclose(found[:, :2], shifts, atol=0.02)


@every_shape
def test_shifts_without_noise(shape):
    scene, shifts = Scene(shape, seed=5), random_shifts(30, seed=5)
    found = align([scene.draw(*shift) for shift in shifts], scene.draw())
    np.testing.assert_allclose(found[:, :2], shifts, atol=0.01)
    assert (found[:, 2] > 0.97).all()  # the template is smoothed, the frame is not


def test_the_estimate_beats_phase_correlation():
    scene, shifts = Scene((96, 160), seed=1), random_shifts(15)
    frames = shot_noise([scene.draw(*shift) for shift in shifts], 20)
    ours = rms(align(frames, scene.draw())[:, :2] - shifts)
    theirs = [phase_correlation(scene.draw(), frame) for frame in frames]
    assert ours < rms(theirs - shifts) / 5


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
def test_a_noisy_template_finds_itself_at_zero(sigma):
    template = shot_noise(Scene((64, 64)).draw(), 2).astype("f8")
    found = align(np.stack([template, 7 * template + 900]), template, 10, sigma=sigma)
    np.testing.assert_allclose(found[:, :2], 0, atol=1e-4)


def test_units_do_not_matter():
    scene = Scene((64, 70))
    frame = scene.draw(1.25, -3.5)
    expected = align([frame], scene.draw(), 10)
    for gain, offset in ((1e-6, 0.0), (1e6, -3e5), (1.0, 1000.0)):
        found = align([gain * frame + offset], scene.draw() * 20 + 3, 10)
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_uneven_illumination_that_stays_in_place():
    scene, shifts = Scene((96, 160), seed=2), random_shifts(20, seed=2, size=5)
    y, x = np.meshgrid(np.linspace(-1, 1, 96), np.linspace(-1, 1, 160), indexing="ij")
    light = 1 - 0.3 * (x**2 + y**2) + 0.2 * x
    frames = [light * scene.draw(*shift) for shift in shifts]
    assert rms(align(frames, light * scene.draw())[:, :2] - shifts) < 0.1


def test_activity_of_cells():
    scene, shifts = Scene((192, 192), seed=3), random_shifts(15, seed=3)
    rng = np.random.default_rng(3)
    active = [1 + 2 * (rng.random(len(scene.y)) < 0.05) for _ in shifts]
    frames = [scene.draw(*s, activity=a) for s, a in zip(shifts, active, strict=True)]
    assert rms(align(frames, scene.draw())[:, :2] - shifts) < 0.1


@every_shape
@pytest.mark.parametrize("brighter", [3, 10])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("photons", "worst"), [(20, 0.04), (3, 0.1)])
def test_activity_of_cells_under_shot_noise(shape, brighter, seed, photons, worst):
    scene, shifts = Scene(shape, seed=seed), random_shifts(25, seed=seed)
    rng = np.random.default_rng(seed)
    active = [1 + (brighter - 1) * (rng.random(len(scene.y)) < 0.05) for _ in shifts]
    frames = [scene.draw(*s, activity=a) for s, a in zip(shifts, active, strict=True)]
    counts = rng.poisson(np.array(frames) * photons / scene.draw().mean()).astype("u2")
    found = align(counts, scene.draw())[:, :2] - shifts
    assert rms(found) < worst
    assert np.abs(found).max() < 5 * worst


def test_the_search_is_not_misled_by_one_bright_cell():
    scene, shifts = Scene((96, 96), seed=3), random_shifts(20, seed=3, size=6)
    scene.brightness[:] = np.minimum(scene.brightness, 1)
    centre = np.hypot(scene.y - 48, scene.x - 48).argmin()
    active = np.where(np.arange(len(scene.y)) == centre, 60.0, 1.0)
    frames = [scene.draw(*shift, activity=active) for shift in shifts]
    noisy = np.random.default_rng(3).poisson(np.array(frames) * 20)
    assert np.abs(align(noisy, scene.draw())[:, :2] - shifts).max() < 0.3


@pytest.mark.parametrize("shape", [(2, 2), (9, 14), (30, 8)])
def test_residuals_are_smoothed_as_by_scipy(shape):
    image = np.random.default_rng(0).normal(size=shape).astype("f4")
    found = np.empty(shape, "f4")
    moving_loops.smooth_residuals(image, found)
    expected = ndimage.uniform_filter(image.astype("f8"), 5, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weighted_sums_against_einsum():
    rng = np.random.default_rng(0)
    filters, exact = rng.normal(size=(4, 9, 14)), rng.uniform(1, 2, (11, 16))
    residual, smooth = rng.normal(size=(2, 9, 14))
    weight = (rng.random((9, 14)) > 0.2).astype(float)
    noise = np.array([0.05, 0.02, 0.01])
    variance = np.maximum(noise[0] + noise[1] * exact[1:-1, 1:-1], noise[2])
    share = np.maximum(1 - smooth**2 / (moving_loops.OUTLIER**2 * variance), 0) ** 2 * weight
    terms = np.stack([exact, *np.gradient(exact)])[:, 1:-1, 1:-1]
    light = refinement._illumination((9, 14))
    sums, matrix = np.empty(9), np.empty((3, 3))
    given = [array.astype("f4") for array in (residual, smooth, filters, exact, weight)]
    moving_loops.weighted_sums(*given, noise, sums, matrix)
    both = np.concatenate([filters[:3], light])
    np.testing.assert_allclose(sums, np.einsum("kyx,yx->k", both, share * residual), atol=1e-4)
    expected = np.einsum("ayx,byx,yx->ab", filters[:3], terms, share)
    np.testing.assert_allclose(matrix, expected, atol=1e-4)


def test_the_variance_of_a_moved_window():
    rng = np.random.default_rng(0)
    for rows, columns, limit in ((17, 23, 2), (18, 18, 1), (40, 20, 3)):
        image = rng.normal(100, 1, (rows, columns)).astype("f4")
        edge = registration.MARGIN + limit
        found = np.empty((2 * limit + 1,) * 2)
        moving_loops.window_variance(image, registration.MARGIN, limit, found)
        for y, x in np.ndindex(*found.shape):
            top, left = edge + y - limit, edge + x - limit
            window = image[top : top + rows - 2 * edge, left : left + columns - 2 * edge]
            assert found[y, x] == pytest.approx(window.var(dtype="f8") * window.size, rel=1e-6)


def test_shifts_of_frames_that_are_left_out_or_flat_are_nan():
    scene = Scene((48, 48))
    still = scene.draw()
    prepared = [registration.reference(image, max_shift=8) for image in (still, scene.draw(2, 1))]
    frames = np.stack([still, np.full(still.shape, np.nan), np.full(still.shape, 7.3), still])
    found = registration.rigid_shifts(frames, np.array([0, -1, 0, 1]), shared=prepared)
    assert np.isnan(found[1:3]).all()
    np.testing.assert_allclose(found[[0, 3], :2], [[0, 0], [-2, -1]], atol=0.01)


def test_a_template_with_unknown_pixels():
    scene, shifts = Scene((96, 160)), random_shifts(10)
    template = scene.draw()
    template[30:50, 60:90] = np.nan
    template[:20] = np.nan
    found = align([scene.draw(*shift) for shift in shifts], template)
    np.testing.assert_allclose(found[:, :2], shifts, atol=0.02)


def test_errors():
    still = Scene((40, 60)).draw()
    for limit in (0, 13):
        with pytest.raises(ArgumentError, match=r"from 1 to 12"):
            registration.reference(still, max_shift=limit)
    with pytest.raises(ArgumentError, match="fewer than 18 pixels"):
        registration.reference(still[:17], max_shift=1)
    assert registration.largest_shift((40, 60)) == 12
    registration.reference(still[:18], max_shift=1)
    stripes = np.tile(np.sin(np.arange(60)), (40, 1))
    for flat in (np.full((40, 60), 3.0), stripes):
        with pytest.raises(ArgumentError, match="no structure"):
            registration.reference(flat, max_shift=5)
    with pytest.raises(ArgumentError, match="no finite pixel"):
        registration.reference(still * np.nan, max_shift=5)
    spoiled = still.copy()
    spoiled[3, 4] = np.inf
    with pytest.raises(ArgumentError, match=r"NaN or infinite pixels, but 1 of 2400"):
        align([spoiled], still, 5)
    with pytest.raises(ArgumentError, match=r"NaN or infinite pixels, but 1 of 2400"):
        make_template(np.stack([still, spoiled]), max_shift=5)


def test_the_input_is_untouched():
    frames = shot_noise([Scene((40, 44)).draw(y) for y in range(4)], 20).astype("f4")
    before = frames.copy()
    frames.setflags(write=False)
    align(frames, make_template(frames, max_shift=5), 5)
    shift_frames(frames, np.full((4, 2), 0.5), dtype=np.dtype("f4"))
    np.testing.assert_array_equal(frames, before)


def test_four_threads_at_once():
    scene, shifts = Scene((48, 64)), random_shifts(8, size=4)
    frames = np.stack([scene.draw(*shift) for shift in shifts])
    expected = align(frames, scene.draw(), 8)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: align(frames, scene.draw(), 8), range(8)):
            np.testing.assert_array_equal(found, expected)


def _in_child(queue, frames, template):
    queue.put(align(frames, template, 8))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_the_same():
    scene = Scene((48, 64))
    frames = np.stack([scene.draw(1.5, 2.5)])
    expected = align(frames, scene.draw(), 8)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, frames, scene.draw()))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()
    assert child.exitcode == 0
