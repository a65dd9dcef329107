"""What PrairieView writes, read file by file; `ImagingSession.open` reads whole recordings.

Examples
--------
>>> parse_name("mouse_Cycle00001_Ch2_000003.ome.tif").channel
2
"""

from calscipy.io.prairieview.content import Content, content_from_names, imaging_content
from calscipy.io.prairieview.environment import Environment, read_environment
from calscipy.io.prairieview.naming import FileName, frame_name, parse_name
from calscipy.io.prairieview.references import read_reference
from calscipy.io.prairieview.repackage import repackage
from calscipy.io.prairieview.voltage_output import OutputExperiment, read_voltage_output
from calscipy.io.prairieview.voltage_waveforms import synthesize

__all__ = [
    "Content",
    "Environment",
    "FileName",
    "OutputExperiment",
    "content_from_names",
    "frame_name",
    "imaging_content",
    "parse_name",
    "read_environment",
    "read_reference",
    "read_voltage_output",
    "repackage",
    "synthesize",
]
