"""Checks of dataclasses (``CalSciPy.bruker.validation``)."""

from __future__ import annotations

import ast
import builtins
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from calscipy.errors import ArgumentError

# A whole number is a number, as everywhere in Python; True is neither.
_NAMES = {"int": {"int", "integer"}, "float": {"int", "integer", "float", "floating"}}


class DingusException(Exception):
    """What `DingusLogger` raises.

    Now: ``cs.errors.ArgumentError("x is wrong")``

    Parameters
    ----------
    message : str
        What is wrong.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class DingusLogger:
    """Collects exceptions, to raise them as one.

    Now: ``ExceptionGroup("what is wrong", [error])``

    Parameters
    ----------
    exceptions : list of Exception, optional
        Those to begin with.

    Examples
    --------
    >>> DingusLogger().add_exception(ValueError("x is wrong")).raise_exceptions()
    Traceback (most recent call last):
    ...
    calscipy.compat.bruker.validation.DingusException: x is wrong
    """

    def __init__(self, exceptions: list[Exception] | None = None) -> None:
        self.exceptions = list(exceptions or [])

    def add_exception(self, other: Exception) -> Self:
        """Add an exception."""
        self.exceptions.append(other)
        return self

    def raise_exceptions(self) -> Self:
        """Raise a `DingusException` with the texts of all, if there are any."""
        if self.exceptions:
            raise DingusException("; ".join(map(str, self.exceptions))) from self.exceptions[0]
        return self


def field_validator(key: str, value: Any, var: dataclasses.Field[Any]) -> list[Exception]:
    """Check the value of a field of a dataclass.

    Now: ``cs.photostimulation.Point(x=0.5)``

    Parameters
    ----------
    key : str
        Name of the field.
    value : object
        Its value.
    var : dataclasses.Field
        The field: its type, and in its metadata as ``"range"`` the lowest and the highest value.

    Returns
    -------
    list of Exception
        What is wrong, one for each.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Beam:
    ...     power: float = dataclasses.field(default=0.0, metadata={"range": (0, 100)})
    >>> field_validator("power", 200, dataclasses.fields(Beam)[0])
    [ArgumentError('power=200 is not from 0 to 100')]
    """
    kind = var.type
    plain = isinstance(kind, type) and not hasattr(kind, "__args__")
    expected = kind.__name__ if plain else str(kind)  # type: ignore[union-attr]
    if not type_check_nested_types(value, expected):
        return [ArgumentError(f"{key}={value!r} is not of the type {expected}")]
    limits = sorted(var.metadata.get("range", ()))
    if limits and value is not None and not limits[0] <= value <= limits[-1]:
        return [ArgumentError(f"{key}={value!r} is not from {limits[0]} to {limits[-1]}")]
    return []


def format_fields(var: object) -> tuple[tuple[str, Any, dataclasses.Field[Any]], ...]:
    """List the fields of a dataclass object: name, value and field of each.

    Now: ``dataclasses.fields(point)``

    Examples
    --------
    >>> from calscipy.compat.bruker.xml_objects import Point
    >>> [(name, value) for name, value, _ in format_fields(Point(x=0.5))][3]
    ('x', 0.5)
    """
    fields = dataclasses.fields(var)  # type: ignore[arg-type]
    return tuple((field.name, getattr(var, field.name), field) for field in fields)


def type_check_nested_types(var: Any, expected: str) -> bool:
    """Tell whether a value is of a type that a text names, such as ``"Tuple[int, ...]"``.

    Now: ``all(isinstance(one, int) for one in (0, 1))``

    Parameters
    ----------
    var : object
        The value.
    expected : str
        Names of types, which are never evaluated: a class, a container with the types of what is
        in it, or several joined by ``|``, ``Optional`` or ``Union``. One type in a container is
        that of all elements.

    Examples
    --------
    >>> (
    ...     type_check_nested_types((1, 2), "Tuple[int]"),
    ...     type_check_nested_types([1, "a"], "List[int]"),
    ... )
    (True, False)
    >>> type_check_nested_types(None, "float | None")
    True
    """
    try:
        return _matches(var, ast.parse(expected.strip(), mode="eval").body)
    except SyntaxError:
        raise ArgumentError(f"{expected!r} is no type.") from None


def validate_fields(data_class: object) -> bool:
    """Check all fields of a dataclass object.

    Now: ``cs.photostimulation.Point(x=0.5)``

    Returns
    -------
    bool
        True.

    Raises
    ------
    DingusException
        Naming everything that is wrong.

    Examples
    --------
    >>> from calscipy.compat.bruker.xml_objects import Point
    >>> validate_fields(Point(x=0.5))
    True
    """
    found = [error for one in format_fields(data_class) for error in field_validator(*one)]
    DingusLogger(found).raise_exceptions()
    return True


def _matches(var: Any, kind: ast.expr) -> bool:
    """Compare a value with what the text of a type was parsed to."""
    match kind:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _matches(var, left) or _matches(var, right)
        case ast.Constant(value=None):
            return var is None
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _is_of(var, name)
        case ast.Subscript(value=ast.Name(id=outer) | ast.Attribute(attr=outer), slice=inner):
            return _nested(var, outer, inner.elts if isinstance(inner, ast.Tuple) else [inner])
    raise ArgumentError(f"{ast.unparse(kind)!r} is no type.")


def _nested(var: Any, outer: str, kinds: list[ast.expr]) -> bool:
    if outer in ("Optional", "Union"):
        return (outer == "Optional" and var is None) or any(_matches(var, one) for one in kinds)
    if not _is_of(var, outer):
        return False
    if isinstance(var, Mapping):
        keys = all(_matches(key, kinds[0]) for key in var)
        return keys and all(_matches(value, kinds[-1]) for value in var.values())
    several = [one for one in kinds if not isinstance(one, ast.Constant)]  # without "..."
    several = several * len(var) if len(several) == 1 else several
    return len(several) == len(var) and all(map(_matches, var, several))


def _is_of(var: Any, name: str) -> bool:
    """Tell whether a class of a value has a name; typing's names begin with a capital."""
    if name in ("Any", "object"):
        return True
    names = {"bool"} if isinstance(var, bool) else {cls.__name__ for cls in type(var).__mro__}
    lower = name.lower() if hasattr(builtins, name.lower()) else name
    return bool(names & _NAMES.get(name, {lower}))
