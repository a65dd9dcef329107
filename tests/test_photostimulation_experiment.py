"""A photostimulation experiment from the choice of cells to the cells that answered, in files."""

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.photostimulation import (
    GalvoCalibration,
    Protocol,
    Step,
    build_protocol,
    read_galvo_points,
    read_mark_points,
)
from calscipy.testing import play_protocol, write_recording

SHAPE, RATE, UM = (64, 80), 30.0, 0.8
CHOSEN, ANSWERING = [2, 3, 5, 8, 11, 12], {3, 5, 12}
RECORDING = {
    "shape": SHAPE,
    "neurons": 12,
    "seed": 5,
    "frame_rate": RATE,
    "microns_per_pixel": UM,
    "decay": 0.3,
    "burst_rate": 0.05,
    "bleaching": 0.1,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def rois_of_the_first_recording(folder: Path) -> xr.DataArray:
    """Find the cells in a recording made before the experiment."""
    truth = write_recording(folder, frames=30, **RECORDING)
    session = cs.ImagingSession.open(folder)
    rois = cs.rois_from_labels(truth.labels.values)
    assert session.movie.cs.project(reduce="mean").shape == SHAPE
    return rois


def protocol_for(rois: xr.DataArray) -> Protocol:
    corners = np.array([(0, 0), (SHAPE[1], 0), (0, SHAPE[0])])
    rig = GalvoCalibration.fit(
        corners,
        corners * [0.1, -0.1] + [-4, 3.2],
        x_range=(-5, 5),
        y_range=(5, -5),
        image_shape=SHAPE,
        microns_per_pixel=UM,
    )
    steps = [
        Step(targets=n, repetitions=5, interval=2.48, initial_delay=2 * (n == CHOSEN[0]))
        for n in CHOSEN
    ]
    return build_protocol(
        rois,
        steps,
        neurons=CHOSEN,
        calibration=rig,
        spiral_um=6,
        laser="Uncaging",
        power=20,
        max_power=50,
        duration=0.02,
    )


def test_cells_that_answer_are_recovered_from_the_files(tmp_path):
    rois = rois_of_the_first_recording(tmp_path / "TSeries-001")
    protocol = protocol_for(rois)
    points, series = protocol.save(tmp_path / "protocol")
    assert read_galvo_points(points) == protocol.points
    assert read_mark_points(series) == protocol.series
    play_protocol(protocol, tmp_path / "TSeries-002", answering=ANSWERING, **RECORDING)

    session = cs.ImagingSession.open(tmp_path / "TSeries-002")
    stimulus = protocol.label(session.stimulus)
    np.testing.assert_allclose(stimulus.onset, protocol.stimuli().onset, atol=1e-9)
    assert set(stimulus.target_label.values.tolist()) == set(CHOSEN)

    assert session.use_frame_clock("frame trigger", threshold=2.5).movie.sizes == (
        session.movie.sizes
    )
    running = session.align("voltage", to="movie", method="mean").sel(signal="running")
    np.testing.assert_allclose(running, 10 + 8 * np.sin(np.pi * running.time / 10), atol=0.1)
    session = session.assign(traces=lambda s: s.movie.cs.extract(rois))
    lit = cs.stimulus_mask(session.traces, stimulus)
    assert 0.01 < float(lit.mean()) < 0.1
    dff = session.traces.where(~lit).cs.dfof(method="percentile", percentile=30)
    trials = dff.cs.to_trials(starts=stimulus.onset, window=(0.5, 1.0))
    change = trials - trials.sel(time=slice(-0.5, -0.05)).mean("time")
    low = change.cs.average(by="target_label", rng=0)["lower"]
    low = low.sel(time=slice(0.05, 0.4)).mean("time")

    answered = {
        (target, neuron)
        for target in low.target_label.values.tolist()
        for neuron in low.neuron.values.tolist()
        if low.sel(target_label=target, neuron=neuron) > 0.05
    }
    assert answered == {(neuron, neuron) for neuron in ANSWERING}

    picture = protocol.plot(session.movie.cs.project(reduce="mean"), title="protocol")
    drawn = {tuple(patch.center) for patch in picture.axes[0].patches}
    assert drawn == {(target.x, target.y) for target in protocol.targets}
