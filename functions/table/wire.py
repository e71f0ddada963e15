"""Converts DynamoDB items between plain Python values and the wire format of the low-level client."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer

Item = dict[str, Any]
"""A DynamoDB item in plain Python values."""

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def to_wire(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item with every value as a typed attribute value, ``{"S": …}``."""
    return {name: _typed(value) for name, value in item.items()}


def from_wire(item: Mapping[str, Any]) -> Item:
    """Return the item in plain values. DynamoDB's numbers become int, or float where they have a fraction."""
    # Most values are texts and flags: no call for these, of which thousands of records have tens each.
    return {
        name: value["S"] if "S" in value else value["BOOL"] if "BOOL" in value else _untyped(value)
        for name, value in item.items()
    }


def _typed(value: Any) -> dict[str, Any]:
    # What records are made of, without the serializer's search for the type: it took most of WriteBatch's time.
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is bool:
        return {"BOOL": value}
    if kind is list:
        return {"L": [_typed(inner) for inner in value]}
    if kind is dict:
        return {"M": {name: _typed(inner) for name, inner in value.items()}}
    return dict(_serializer.serialize(value))


def _untyped(value: Any) -> Any:
    # The same for the way back.
    ((kind, inner),) = value.items()
    if kind == "S" or kind == "BOOL":
        return inner
    if kind == "N" and inner.isdecimal():
        return int(inner)
    if kind == "L":
        return [_untyped(one) for one in inner]
    if kind == "M":
        return {name: _untyped(one) for name, one in inner.items()}
    return _plain(_deserializer.deserialize(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set):
        return {_plain(inner) for inner in value}
    if isinstance(value, Binary):
        return bytes(value.value)  # type: ignore[attr-defined]  # the stubs lack it
    return value
