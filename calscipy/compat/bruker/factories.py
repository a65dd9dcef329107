"""From XML elements to objects and back (``CalSciPy.bruker.factories``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calscipy.compat.bruker import xml_objects
from calscipy.compat.bruker.configuration_values import DEFAULT_PRAIRIEVIEW_VERSION
from calscipy.compat.bruker.xml_mappings.xml_mapping import load_mapping
from calscipy.errors import ArgumentError
from calscipy.io.photostimulation.elements import XmlElement
from calscipy.io.photostimulation.mark_points import SAVED_TAG, MarkPointSeriesElements
from calscipy.io.photostimulation.reading import object_of
from calscipy.io.photostimulation.trees import document_of_tree
from calscipy.io.photostimulation.writing import document_of


class BrukerElementFactory:
    """Make objects of XML elements.

    Now: ``cs.photostimulation.read_mark_points(mark_points)``

    Parameters
    ----------
    version : str, default "5.6.64.400"
        Version of PrairieView, see `load_mapping`.

    Examples
    --------
    >>> from xml.etree import ElementTree
    >>> element = ElementTree.fromstring('<PVGalvoPoint X="-4.5" Y="1E-07" Index="3" />')
    >>> BrukerElementFactory().constructor(element).x
    -4.5
    """

    def __init__(self, version: str = DEFAULT_PRAIRIEVIEW_VERSION) -> None:
        self.version = version
        self.mapping = load_mapping(version)

    def constructor(self, element: Any) -> XmlElement:
        """Make an object of an element of ``xml.etree`` or lxml, or of a tree of them.

        Raises
        ------
        ArgumentError
            If the mapping has no object for it.
        RecordingError
            If values in it cannot be used; all are named.
        """
        root = element.getroot() if hasattr(element, "getroot") else element
        cls = getattr(xml_objects, self.mapping.get(root.tag, ""), None)
        if not (isinstance(cls, type) and issubclass(cls, XmlElement)):
            raise ArgumentError(f"<{root.tag}> is none of {', '.join(self.mapping)}.")
        values = {"saved": root.tag == SAVED_TAG} if cls is MarkPointSeriesElements else {}
        return object_of(document_of_tree(root), cls, Path(f"<{root.tag}>"), **values)


class BrukerXMLFactory:
    """Write objects as XML.

    Now: ``cs.photostimulation.write_mark_points(series, "series.xml")``

    Examples
    --------
    >>> point = xml_objects.GalvoPoint(x=1e-07, name='A & "B"')
    >>> 'X="1E-07"' in BrukerXMLFactory().constructor(point)
    True
    """

    def constructor(self, element: XmlElement) -> str:
        """Return an object as the text of a file."""
        return document_of(element).encode().decode("utf-8-sig")
