"""NWB files: sessions written for other programs and archives, and files of any program read."""

from calscipy.io.nwb.reading import is_nwb, open_nwb
from calscipy.io.nwb.writing import to_nwb

__all__ = ["is_nwb", "open_nwb", "to_nwb"]
