"""Onsets of calcium transients, with time as the last axis."""

from calscipy.kernels.derivative import derivative_events
from calscipy.kernels.matched import matched_events, matched_score

__all__ = ["derivative_events", "matched_events", "matched_score"]
