"""Mark points and galvo points as objects (``CalSciPy.bruker.xml_objects``).

They are those of `calscipy.photostimulation`: checked when they are made, and never changed;
``point.replace(x=5)`` returns another one.
"""

from calscipy.io.photostimulation import GalvoPoint as GalvoPoint
from calscipy.io.photostimulation import GalvoPointElement as GalvoPointElement
from calscipy.io.photostimulation import GalvoPointGroup as GalvoPointGroup
from calscipy.io.photostimulation import GalvoPointList as GalvoPointList
from calscipy.io.photostimulation import MarkPointElement as MarkPointElement
from calscipy.io.photostimulation import MarkPointSeriesElements as MarkPointSeriesElements
from calscipy.io.photostimulation import Point as Point
