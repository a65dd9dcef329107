"""Recordings for the examples of the documentation."""

from calscipy.testing import GroundTruth, write_recording


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
