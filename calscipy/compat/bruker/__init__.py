"""Recordings, mark points and galvo points of PrairieView (``CalSciPy.bruker``)."""

from calscipy.compat.bruker import configuration_values as configuration_values
from calscipy.compat.bruker import data as data
from calscipy.compat.bruker import factories as factories
from calscipy.compat.bruker import meta_objects as meta_objects
from calscipy.compat.bruker import prairie_link as prairie_link
from calscipy.compat.bruker import protocols as protocols
from calscipy.compat.bruker import validation as validation
from calscipy.compat.bruker import xml_mappings as xml_mappings
from calscipy.compat.bruker import xml_objects as xml_objects
