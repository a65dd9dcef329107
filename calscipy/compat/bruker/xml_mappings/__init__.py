"""Which object stands for which XML element (``CalSciPy.bruker.xml_mappings``)."""

from calscipy.compat.bruker.xml_mappings import xml_mapping as xml_mapping
