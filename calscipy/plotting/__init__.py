"""Figures of images, traces, events, trials and recordings.

They are drawn with matplotlib but without pyplot, so they need no screen and leave the user's
figures and settings alone. Notebooks show them; scripts save them with
`calscipy.plotting.save_figure`, or give axes or a figure of their own (``ax=``, ``figure=``).
``calscipy.plotting.interactive`` has pages.
"""

from calscipy.plotting.images import plot_image
from calscipy.plotting.movies import plot_movie
from calscipy.plotting.overview import overview_figure
from calscipy.plotting.pages import plot_baseline, plot_quality
from calscipy.plotting.parts import save_figure
from calscipy.plotting.photostimulation import plot_stimulus
from calscipy.plotting.preview import preview
from calscipy.plotting.rasters import plot_heatmap, plot_raster
from calscipy.plotting.traces import plot_traces
from calscipy.plotting.trials import plot_trials
from calscipy.plotting.voltage import plot_voltage
from calscipy.plotting.waveforms import plot_waveforms

__all__ = [
    "overview_figure",
    "plot_baseline",
    "plot_heatmap",
    "plot_image",
    "plot_movie",
    "plot_quality",
    "plot_raster",
    "plot_stimulus",
    "plot_traces",
    "plot_trials",
    "plot_voltage",
    "plot_waveforms",
    "preview",
    "save_figure",
]
