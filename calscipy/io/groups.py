"""The groups of a session that are to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from calscipy.errors import ArgumentError, first_few


def chosen_groups(session: Any, groups: Sequence[str] | str | None, verb: str) -> xr.DataTree:
    """Return a tree of the groups of a session that are to be written, in their order.

    Parameters
    ----------
    session : ImagingSession or DataTree
        Where they are.
    groups : sequence of str, optional
        Their names; all of them by default.
    verb : str
        What errors name.

    Raises
    ------
    ArgumentError
        If there is no such group, or data outside of the groups of a session.
    """
    tree = getattr(session, "tree", session)
    if not isinstance(tree, xr.DataTree):
        raise ArgumentError(
            f"{verb} needs a session or its DataTree, got {type(tree).__name__}. Put an array into "
            "a session first: ImagingSession(xarray.DataTree()).assign(traces=array)."
        )
    wanted = (groups,) if isinstance(groups, str) else groups
    names = [name for name in tree.children if wanted is None or name in wanted]
    missing = sorted(set(wanted or ()) - set(tree.children))
    if missing or not names:
        raise ArgumentError(
            f"{verb}: no group {first_few(missing) or 'at all'} in this session; it has "
            f"{list(tree.children)}."
        )
    deep = [name for name in names if tree[name].children]
    if deep or tree.variables:
        raise ArgumentError(
            f"{verb} writes sessions, whose groups are one level deep with nothing but attributes "
            f"at the root; found {first_few(deep or list(tree.variables))}. Take it out or move it "
            "into a group."
        )
    root = xr.Dataset(attrs=dict(tree.attrs))
    return xr.DataTree.from_dict({"/": root} | {name: tree[name].to_dataset() for name in names})
