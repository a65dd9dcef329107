"""Protocols of photostimulation (``CalSciPy.bruker.protocols``)."""

from calscipy.photostimulation import Protocol as Protocol
from calscipy.photostimulation import build_protocol as build_protocol
