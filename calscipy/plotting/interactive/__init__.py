"""Interactive figures: movies to scrub through, neurons to flip through, trials by condition.

They need the extra ``plot``, which is imported when a figure is made.
"""

from calscipy.plotting.interactive.movie import MovieView, view_movie
from calscipy.plotting.interactive.traces import view_spikes, view_traces
from calscipy.plotting.interactive.trials import view_trials
from calscipy.plotting.interactive.view import View

__all__ = ["MovieView", "View", "view_movie", "view_spikes", "view_traces", "view_trials"]
