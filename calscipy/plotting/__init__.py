"""Figures: a preview of any recording, and ROIs with their traces and events.

They are drawn without pyplot, so they need no screen and leave the user's figures alone.
"""

from calscipy.plotting.overview import overview_figure
from calscipy.plotting.parts import save_figure
from calscipy.plotting.preview import preview

__all__ = ["overview_figure", "preview", "save_figure"]
