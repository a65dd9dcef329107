"""Recordings for the examples of the documentation."""

import numpy as np

import calscipy as cs
from calscipy import photostimulation as ps
from calscipy.testing import GroundTruth, play_protocol, write_recording

cs.set_options(progress=False)  # a page shows what comes out, not how far it has come


def recording(name: str = "TSeries-001", **options) -> GroundTruth:
    """Write a small recording of a plane into the current folder, unless it is there."""
    settings = {
        "frames": 900,
        "shape": (64, 80),
        "neurons": 8,
        "burst_rate": 0.12,
        "snr": 8,
        "microns_per_pixel": 1.2,
        "seed": 3,
    }
    return write_recording(name, **(settings | options))


def experiment():
    """Play a photostimulation protocol into TSeries-002 and save it as targets.gpl."""
    settings = {"shape": (64, 80), "neurons": 8, "microns_per_pixel": 1.2, "seed": 3}
    truth = write_recording("TSeries-001", frames=30, **settings)
    rois = cs.rois_from_labels(truth.labels)
    image = cs.ImagingSession.open("TSeries-001").movie.cs.project(reduce="mean").compute()
    pixels = np.array([(0, 0), (80, 0), (0, 64)])
    volts = pixels * [0.1, -0.1] + [-4, 3.2]
    rig = ps.GalvoCalibration.fit(
        pixels,
        volts,
        x_range=(-5, 5),
        y_range=(5, -5),
        image_shape=(64, 80),
        microns_per_pixel=1.2,
    )
    steps = [ps.Step(targets=n, repetitions=4, interval=2.48, initial_delay=2) for n in (2, 5, 7)]
    protocol = ps.build_protocol(
        rois,
        steps,
        neurons=[2, 5, 7],
        calibration=rig,
        spiral_um=6,
        laser="Uncaging",
        power=20,
        max_power=50,
        duration=0.02,
    )
    protocol.save("targets")
    play_protocol(protocol, "TSeries-002", answering=[2, 7], decay=0.3, burst_rate=0.05, **settings)
    return rois, pixels, volts, image, protocol


def suite2p_results(folder, truth: GroundTruth) -> None:
    """Write what suite2p would have found: all cells of the truth, the last one no cell."""
    plane = folder / "plane0"
    cells = [np.nonzero(truth.labels.values == n) for n in truth.f0.neuron.values]
    stat = [{"ypix": y, "xpix": x, "lam": np.ones(y.size, "f4")} for y, x in cells]
    np.save(plane / "stat.npy", np.array(stat, dtype=object), allow_pickle=True)
    fluorescence = (truth.f0 * (1 + truth.dfof)).values.astype("f4")
    np.save(plane / "F.npy", fluorescence)
    np.save(plane / "Fneu.npy", np.full_like(fluorescence, 50))
    np.save(plane / "spks.npy", np.zeros_like(fluorescence))
    accepted = np.ones(len(cells))
    accepted[-1] = 0
    np.save(plane / "iscell.npy", np.stack([accepted, np.full(len(cells), 0.9)], axis=1))
