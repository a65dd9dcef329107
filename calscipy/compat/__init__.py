"""The names of CalSciPy 0.3.5 on calscipy: scripts run after changing one import.

Every module and function has its old name, arguments and results: NumPy arrays, tuples and tables
of pandas. What 0.3.5 got wrong is right here; where numbers differ, a function says so once, by a
`CompatWarning`. The docstring of each says how it is done now.

Examples
--------
>>> import calscipy.compat as CalSciPy
>>> CalSciPy.reorganization.generate_raster([[1, 3], []]).tolist()
[[0, 1, 0, 1], [0, 0, 0, 0]]
"""

from calscipy.compat import bruker as bruker
from calscipy.compat import color_scheme as color_scheme
from calscipy.compat import event_processing as event_processing
from calscipy.compat import image_processing as image_processing
from calscipy.compat import interactive_visuals as interactive_visuals
from calscipy.compat import io_tools as io_tools
from calscipy.compat import misc as misc
from calscipy.compat import optogenetics as optogenetics
from calscipy.compat import reorganization as reorganization
from calscipy.compat import trace_processing as trace_processing
from calscipy.compat._common import CompatWarning as CompatWarning
