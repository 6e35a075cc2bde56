"""Thrift's compact protocol, as far as Parquet's footers and page headers need it.

Arrow reads them, too, but allocates what they claim. Here nothing is allocated that is not there.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = (
    1, 2, 3, 7, 8, 9, 10, 11, 12, 13,
)  # fmt: skip
_INTEGERS = (4, 5, 6)
# Parquet's own structs are nested less than this.
_DEEPEST = 16

#: A struct: number of a field -> its value.
Struct = dict[int, Any]


class ThriftError(pa.ArrowInvalid):  # type: ignore[misc]
    """The bytes are not Thrift, or end too early; Arrow's own readers raise such errors, too."""


class Compact:
    """Reads values, one after another, from bytes.

    Attributes:
        place: of the next byte.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.place = 0

    def struct(self, last: int = 2**15, depth: int = 0) -> Struct:
        """The fields of a struct up to one of them; of a last field that is a list, its length.

        Args:
            last: number of the last field that is wanted.

        Raises:
            ThriftError: if that is no struct.
        """
        fields: Struct = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._zigzag()
            if number >= last:
                fields[number] = self._list_head()[0] if kind == _LIST else self._value(kind, depth)
                break
            fields[number] = kind == _TRUE if kind <= _FALSE else self._value(kind, depth)
        return fields

    def varint(self) -> int:
        """An unsigned integer of up to 64 bits.

        Raises:
            ThriftError: if there is none.
        """
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ThriftError("an integer has more than 64 bits")

    def _byte(self) -> int:
        try:
            byte = self._data[self.place]
        except IndexError:
            raise ThriftError("the bytes end too early") from None
        self.place += 1
        return byte

    def _bytes(self, count: int) -> bytes:
        taken = bytes(self._data[self.place : self.place + count])
        if len(taken) < count:
            raise ThriftError("the bytes end too early")
        self.place += count
        return taken

    def _zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        return (self.varint() if head >> 4 == 15 else head >> 4), head & 15

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ThriftError("structs are nested too deep")
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self.varint())
        if kind == _STRUCT:
            return self.struct(depth=depth + 1)
        if kind in (_LIST, _SET):
            count, member = self._list_head()
            return [self._member(member, depth) for _ in range(count)]
        if kind == _MAP:
            count = self.varint()
            kinds = self._byte() if count else 0
            return [
                (self._member(kinds >> 4, depth), self._member(kinds & 15, depth))
                for _ in range(count)
            ]
        if kind in (_BYTE, _DOUBLE, _UUID):
            return self._bytes({_BYTE: 1, _DOUBLE: 8, _UUID: 16}[kind])
        raise ThriftError(f"there is no type {kind}")

    def _member(self, kind: int, depth: int) -> Any:
        return self._byte() == _TRUE if kind <= _FALSE else self._value(kind, depth + 1)
