"""Folders of suite2p, in and out."""

from calscipy.io.suite2p.folders import is_suite2p
from calscipy.io.suite2p.movie import open_suite2p_movie
from calscipy.io.suite2p.rois import rois_from_suite2p
from calscipy.io.suite2p.tree import open_suite2p
from calscipy.io.suite2p.writing import to_suite2p

__all__ = [
    "is_suite2p",
    "open_suite2p",
    "open_suite2p_movie",
    "rois_from_suite2p",
    "to_suite2p",
]
