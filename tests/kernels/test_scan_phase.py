from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from calscipy.errors import ArgumentError
from calscipy.kernels import scan_phase
from calscipy.kernels.interpolation import shift_frames

from ..moving_scene import Scene, rms, shot_noise  # noqa: TID252


def products(frames, max_shift=6):
    frames = np.asarray(frames)
    return scan_phase.lag_products(frames, np.ones(len(frames), bool), max_shift=max_shift)


def by_slow_loops(image, max_shift):
    """Products, slopes and squares as they are defined, without a filter made beforehand."""
    reach = max_shift + 4
    image = image.astype("f8") - image.mean()
    wide = image.shape[1] - 2 * reach
    taper = np.hanning(wide + 2)[1:-1]
    core = slice(reach, reach + wide)

    def zero_sum(line):
        return taper * line - taper * (taper @ line) / taper.sum()

    sums = np.zeros((3, 2 * reach + 1))
    for row in range(1, image.shape[0] - 1, 2):
        above, below = image[row - 1], image[row + 1]
        rises = [(np.roll(line, -1) - np.roll(line, 1))[core] for line in (above, below)]
        alike = zero_sum(rises[0]) @ below[core] + zero_sum(rises[1]) @ above[core]
        for lag in range(2 * reach + 1):
            odd = image[row, lag : lag + wide]
            sums[0, lag] += zero_sum((above + below)[core]) @ odd
            sums[1, lag] += alike - zero_sum(rises[0] + rises[1]) @ odd
            sums[2, lag] += zero_sum(odd) @ odd
    return sums


@pytest.mark.parametrize("shape", [(3, 40), (8, 33), (9, 64)])
def test_products_against_slow_loops(shape):
    frames = np.random.default_rng(0).integers(0, 999, (2, *shape)).astype("uint16")
    frames.setflags(write=False)
    found = products(frames, 3)
    for sums, frame in zip(found, frames, strict=True):
        expected = by_slow_loops(frame, 3)
        np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(96, 160), (128, 80), (97, 120)], ids=str)
@pytest.mark.parametrize("diameter", [(8, 12), (4, 6)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_known_offsets(shape, diameter, seed):
    scene = Scene(shape, seed=seed, diameter=diameter, share=60)
    offset = np.random.default_rng(seed).uniform(-4, 4)
    still = products([scene.draw(odd_lines=offset)])[0]
    assert scan_phase.offset_from_products(still) == pytest.approx(offset, abs=0.035)
    noisy = shot_noise([scene.draw(odd_lines=offset)] * 20, 30, seed=seed)
    found = scan_phase.offset_from_products(products(noisy).sum(axis=0))
    assert found == pytest.approx(offset, abs=0.05)


def test_the_peak_of_the_products_alone_is_worse():
    ours, peaks = [], []
    for seed in range(6):
        scene = Scene((128, 80), seed=seed, share=60)
        offset = np.random.default_rng(seed).uniform(-4, 4)
        sums = products([scene.draw(odd_lines=offset)])[0]
        ours.append(scan_phase.offset_from_products(sums) - offset)
        inner = sums[0, 4:-4]
        peak = int(inner.argmax())
        left, middle, right = inner[peak - 1 : peak + 2]
        peaks.append(peak - 6 + (left - right) / (left - 2 * middle + right) / 2 - offset)
    assert rms(ours) < rms(peaks) / 3


def test_frames_that_are_left_out_or_flat_give_nothing():
    frames = np.stack([np.full((9, 40), np.nan), np.full((9, 40), 7.0)])
    found = scan_phase.lag_products(frames, np.array([False, True]), max_shift=3)
    np.testing.assert_array_equal(found, 0)
    assert np.isnan(scan_phase.offset_from_products(found.sum(axis=0)))
    with pytest.raises(ArgumentError, match="NaN or infinite pixels, but 360 of 360"):
        products(frames, 3)


def test_the_smallest_lines():
    assert scan_phase.largest_offset(18) == 1
    frame = np.random.default_rng(0).normal(size=(1, 3, 18))
    assert products(frame, 1).shape == (1, 3, 11)


@pytest.mark.parametrize("fill", ["edge", "nan"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_odd_lines_move_as_frames_do(rows, fill):
    frames = np.random.default_rng(0).normal(size=(4, rows, 11))
    frames.setflags(write=False)
    offsets = np.array([0.4, -2.0, np.nan, 0.0])
    out = scan_phase.shift_odd_lines(frames, offsets, dtype=np.dtype("f8"), fill=fill)
    np.testing.assert_array_equal(out[:, ::2], frames[:, ::2])
    np.testing.assert_array_equal(out[2:], frames[2:])
    shifts = np.stack([np.zeros(2), offsets[:2]], axis=1)
    moved = shift_frames(frames[:2, 1::2], shifts, dtype=np.dtype("f8"), fill=fill)
    np.testing.assert_array_equal(out[:2, 1::2], moved)


def test_four_threads_at_once():
    frames = shot_noise([Scene((40, 64)).draw(odd_lines=1.3)] * 4, 20)
    expected = products(frames)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: products(frames), range(8)):
            np.testing.assert_array_equal(found, expected)
