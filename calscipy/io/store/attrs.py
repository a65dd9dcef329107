"""Attributes in the form that a store's JSON takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from calscipy.errors import StoreError


def ready_attrs(attrs: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return attributes in the form that zarr's JSON takes.

    Raises
    ------
    StoreError
        Naming the attribute that cannot be stored.
    """
    return {str(key): _ready(value, f"{where}.{key}") for key, value in attrs.items()}


def _ready(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return ready_attrs(value, where)
    if isinstance(value, list | tuple):
        return [_ready(item, where) for item in value]
    if isinstance(value, np.ndarray):
        return _ready(value.tolist(), where)
    if isinstance(value, np.generic):
        return _ready(value.item(), where)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise StoreError(
        f"the attribute {where!r} is a {type(value).__name__}, which a store cannot hold. "
        "Convert it to text or numbers, or drop it."
    )
