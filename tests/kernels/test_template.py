import numpy as np
import pytest

from calscipy.kernels import registration
from calscipy.kernels.template import make_template

from ..moving_scene import Scene, rms, shot_noise  # noqa: TID252


def align(frames, template):
    prepared = registration.reference(template, max_shift=15)
    return registration.rigid_shifts(frames, np.zeros(len(frames), int), shared=[prepared])


@pytest.mark.parametrize("shape", [(96, 160), (128, 80)], ids=str)
def test_a_template_from_the_frames(shape):
    scene, shifts = Scene(shape, seed=4), np.random.default_rng(4).uniform(-8, 8, (40, 2))
    frames = shot_noise([scene.draw(*shift) for shift in shifts], 10)
    frames[7] = 0  # flat: nothing to align
    template = make_template(frames, max_shift=15)
    kept = np.arange(40) != 7
    found = align(frames[kept], template)[:, :2]
    np.testing.assert_allclose(np.median(found, axis=0), 0, atol=0.1)
    away = found - shifts[kept]
    assert rms(away - np.median(away, axis=0)) < 0.06
    still = scene.draw(*np.median(-away, axis=0))
    core = np.s_[18:-18, 18:-18]
    assert np.corrcoef(template[core].ravel(), still[core].ravel())[0, 1] > 0.99


def test_frames_that_fit_badly_do_not_enter():
    scene, rng = Scene((64, 80)), np.random.default_rng(0)
    good = shot_noise([scene.draw(*shift) for shift in rng.uniform(-3, 3, (20, 2))], 20)
    other = shot_noise([Scene((64, 80), seed=9).draw()] * 6, 20)
    frames = np.concatenate([good, other])
    found = align(frames, make_template(frames, max_shift=10))[:, 2]
    assert found[:20].min() > found[20:].max() + 0.2


def test_shifts_can_be_found_by_others():
    frames = shot_noise([Scene((40, 50)).draw(y) for y in (0, 1, 2.5)], 50)
    asked = []

    def align_elsewhere(sample, prepared):
        asked.append(sample.shape)
        return registration.rigid_shifts(sample, np.zeros(3, int), shared=[prepared])

    found = make_template(frames, max_shift=6, align=align_elsewhere)
    assert asked == [(3, 40, 50)] * 2
    np.testing.assert_array_equal(found, make_template(frames, max_shift=6))
