"""Synthetic PrairieView recordings whose content is known, for tests, examples and benchmarks.

`write_recording` writes a whole recording and returns its `GroundTruth`; `write_frames` writes
frames for a real master XML; `tiff_frame` and `encode_value` make single files and images;
`synthetic_traces` makes traces without a recording. `write_variant` writes small recordings of
every kind, which `VARIANTS` names; `play_protocol` that of a photostimulation experiment.

Examples
--------
>>> import tempfile
>>> from pathlib import Path
>>> truth = write_recording(Path(tempfile.mkdtemp()) / "mouse1", frames=30, seed=3)
>>> bool((truth.frame(0).mean() < truth.f0[0, 0]).item())
True
"""

from ._experiment import play_protocol
from ._replay import write_frames
from ._scan import write_recording
from ._scene import encode_value
from ._tiff import tiff_frame
from ._traces import synthetic_traces
from ._truth import GroundTruth
from ._variants import VARIANTS, Variant, write_variant

__all__ = [
    "VARIANTS",
    "GroundTruth",
    "Variant",
    "encode_value",
    "play_protocol",
    "synthetic_traces",
    "tiff_frame",
    "write_frames",
    "write_recording",
    "write_variant",
]
