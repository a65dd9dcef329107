"""Elements of other XML libraries as ours."""

from __future__ import annotations

from typing import Any

from calscipy.io.photostimulation.lossless import Document, Element, escape


def document_of_tree(root: Any) -> Document:
    r"""Copy an element of ``xml.etree`` or lxml with everything in it but comments and texts.

    Parameters
    ----------
    root : xml.etree.ElementTree.Element or lxml.etree._Element
        The element.

    Returns
    -------
    Document

    Examples
    --------
    >>> from xml.etree import ElementTree
    >>> str(document_of_tree(ElementTree.fromstring('<a x="&lt;"><b /></a>')).root)
    '<a x="&lt;">\n<b />\n</a>'
    """
    return Document("", _copied(root))


def _copied(node: Any) -> Element:
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in node.attrib.items())
    inner = tuple(_copied(child) for child in node if isinstance(child.tag, str))
    line = getattr(node, "sourceline", None) or 0
    if not inner:
        return Element(node.tag, f"{attributes} ", line=line)
    texts = ("\n",) * (len(inner) + 1)
    return Element(node.tag, attributes, texts, inner, f"</{node.tag}>", line)
