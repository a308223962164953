"""What a table holds, as a number: equal for equal rows, however they are cut into files and blocks.

It tells data sets apart, and finds accidents; whoever wants two tables with one hash can make them. SHA-256 of the
files is what proves that nobody has changed them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_MODULO = 1 << 64
_CHUNK_ROWS = 1 << 14  # whose temporary arrays stay in the processor's cache
_BASES = (0x9E3779B97F4A7C15, 0xD1342543DE82EF95)  # odd
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # of splitmix64 (Steele, Lea, Flood 2014, figure 16)


@dataclass(frozen=True)
class RowsHash:
    """128 bits of rows in their order; `a + b` is that of the rows of a, then those of b.

    A row's value is `h = mix(sum_c (v_c * a_c + b_c))`, with odd a_c and b_c from a column's name and type (multilinear
    hashing: Lemire and Kaser 2014, "Strongly universal string hashing is fast"). The rows' is the polynomial
    `sum_i h_i * base^i` modulo 2^64, twice: with another base and h mixed once more. So a change of one value always
    shows, since every step is a bijection of it, and any other change but for one chance in 2^64.
    """

    rows: int = 0
    sums: tuple[int, int] = (0, 0)

    def __add__(self, after: "RowsHash") -> "RowsHash":
        first, second = (
            (own + pow(base, self.rows, _MODULO) * other) % _MODULO
            for own, other, base in zip(self.sums, after.sums, _BASES, strict=True)
        )
        return RowsHash(self.rows + after.rows, (first, second))

    def __str__(self) -> str:
        return f"{self.rows}:{self.sums[0]:016x}{self.sums[1]:016x}"


def hash_columns(columns: Mapping[str, Any], schema: pa.Schema) -> RowsHash:
    """Of columns of numbers, or lists of one size [rows, V].

    Args:
        columns: a column may be of another type than the schema's, to which it is cast.
    """
    parts = [
        (values, *_draw_factors(f"{field.name}.{place}:{_name_type(field.type)}"))
        for field in schema
        for place, values in enumerate(_split_lists(np.asarray(columns[field.name], find_dtype(field.type))))
    ]
    constant = np.uint64(sum(added for _, _, added in parts) % _MODULO)
    total = RowsHash()
    for begin in range(0, len(parts[0][0]), _CHUNK_ROWS):
        hashes: Any = constant
        for values, factor, _ in parts:
            hashes = hashes + _read_bits(values[begin : begin + _CHUNK_ROWS]) * np.uint64(factor)
        hashes = _mix(hashes)
        powers = _compute_powers()
        sums = [int(np.dot(each, powers[lane][: len(each)])) for lane, each in enumerate((hashes, _mix(hashes)))]
        total += RowsHash(len(hashes), (sums[0], sums[1]))
    return total


def find_dtype(kind: Any) -> Any:
    """The NumPy type of an Arrow type's numbers, or of those in its lists."""
    return (kind.value_type if pa.types.is_fixed_size_list(kind) else kind).to_pandas_dtype()


def _name_type(kind: Any) -> str:
    """The type without the name of its lists' values, which differs from library to library."""
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.value_type}[{kind.list_size}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list"
    return str(kind)


def _split_lists(values: Any) -> list[Any]:
    return [values] if values.ndim == 1 else list(values.T)


def _read_bits(values: Any) -> NDArray[np.uint64]:
    bits = values.view(f"u{values.itemsize}") if values.dtype.kind == "f" else values
    return np.asarray(bits.astype(np.uint64))


def _mix(values: Any) -> Any:
    for shift, factor in _MIXERS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))


@cache
def _draw_factors(text: str) -> tuple[int, int]:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8]) | 1, int.from_bytes(digest[8:16])


@cache
def _compute_powers() -> NDArray[np.uint64]:
    """[2, _CHUNK_ROWS] base^i of both bases."""
    factors = np.repeat(np.array(_BASES, np.uint64)[:, None], _CHUNK_ROWS, axis=1)
    factors[:, 0] = 1
    return np.cumprod(factors, axis=1)


def hash_table(table: pa.Table) -> str:
    """Hex SHA-256 of a table's names, types and values; its chunks, slices and metadata do not count."""
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0".encode())
        _add_column(digest, column)
    return digest.hexdigest()


def _add_column(digest: Any, column: pa.ChunkedArray) -> None:
    """Add the type, which values there are, and the values."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    is_text = kind in (pa.string(), pa.large_string())
    if is_text:  # whose offsets are of 64 bits, so that it can be one array
        column, kind = column.cast(pa.large_string()), pa.string()
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    digest.update(f"{_name_type(kind)}:{len(array)}\0".encode())
    digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)))
    values = array.drop_null()
    if pa.types.is_nested(kind):
        digest.update(pc.list_value_length(values).to_numpy(zero_copy_only=False).astype(np.int64))
        _add_column(digest, pa.chunked_array([values.flatten()]))
    elif is_text:
        lengths = pc.binary_length(values).to_numpy(zero_copy_only=False)
        digest.update(np.ascontiguousarray(lengths))
        if len(values):
            _, offsets, data = values.buffers()
            first = int(np.frombuffer(offsets, np.int64)[values.offset])
            digest.update(memoryview(data or b"")[first : first + int(lengths.sum())])
    elif len(values):
        digest.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).view(np.uint8))
