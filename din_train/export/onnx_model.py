"""An `IdModel` as an ONNX file that takes raw texts.

ids -> outputs by tf2onnx, which has no operations on texts; in front of it one `LabelEncoder` per vocabulary, to which
all inputs of that vocabulary go at once, so that the file holds it once. Large tables never pass through TensorFlow's
graph, whose 2 GB they could exceed: the converted function takes them as arguments, which then become initializers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.errors import RunError
from din_train.export.dice_folding import folded_dice
from din_train.export.id_model import IdModel
from din_train.export.request import ROWS, RequestInput, Vocabulary

# Of ONNX and of its own operators; what onnxruntime 1.14 and everything after it reads.
_OPSET, _ML_OPSET, _IR_VERSION = 18, 3, 8

# Numbers from which on a table is an argument of the converted function.
_LARGE_TABLE = 1 << 14

# Bytes of a protobuf message, from which on tensors lie in a file beside the model; and which no message may have.
MOST_BYTES, _LIMIT = 1_500_000_000, 2_147_483_647

# What a text and its id take beside the text itself, at most.
_TEXT_BYTES = 16

_TYPES = {"BYTES": onnx.TensorProto.STRING, "INT64": onnx.TensorProto.INT64, "FP64": onnx.TensorProto.DOUBLE}


def write_onnx(
    model: IdModel,
    vocabularies: Mapping[str, Vocabulary],
    path: Path,
    *,
    folds_dice: bool = True,
    most_bytes: int = MOST_BYTES,
) -> bool:
    """Write the model; if it has more than `most_bytes`, its tensors go into a file beside it, `NAME.data`.

    Args:
        folds_dice: whether Dice may be in the layers around it, see `dice_folding.py`.

    Returns:
        whether any Dice is.

    Raises:
        RunError: if the texts of the vocabularies alone are more than a file can hold.
    """
    converted, tables, is_folded = _convert(model, folds_dice)
    proto = converted.graph
    size = converted.ByteSize() + sum(
        len(text.encode()) + _TEXT_BYTES for each in vocabularies.values() for text in (*each.other_ids, *each.texts)
    )
    if size > _LIMIT:
        raise RunError(
            f"{path}: would have {size:,} bytes without its tables, most of them the texts of the vocabularies, and an "
            f"ONNX file may have {_LIMIT:,}; export it with --format savedmodel"
        )
    _take_texts(proto, model.inputs, vocabularies)
    proto.initializer.extend(numpy_helper.from_array(np.asarray(table), name) for name, table in tables.items())
    del converted.opset_import[:]
    converted.opset_import.extend([helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)])
    converted.ir_version = _IR_VERSION
    converted.producer_name, converted.producer_version, proto.name = "din-train", "", "din"
    path.parent.mkdir(parents=True, exist_ok=True)
    is_large = size + sum(table.nbytes for table in tables.values()) > most_bytes
    beside = f"{path.name}.data" if is_large else None
    onnx.save_model(converted, str(path), save_as_external_data=is_large, location=beside)
    return is_folded


def _convert(model: IdModel, folds_dice: bool) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]], bool]:
    """The function of ids, the tables that its initializers of these names are, and whether Dice is folded."""
    import tf2onnx

    ranking_model = model.model
    large = [each for each in ranking_model.variables if int(np.prod(each.shape)) >= _LARGE_TABLE and len(each.shape)]
    tables = {f"table_{place}": each for place, each in enumerate(large)}
    specs = [
        *model.signature.values(),
        *(tf.TensorSpec(each.shape, each.dtype, name) for name, each in tables.items()),
    ]

    folding: AbstractContextManager[Sequence[tuple[keras.Variable, NDArray[np.float32]]]] = (
        folded_dice(ranking_model) if folds_dice else nullcontext([])
    )
    with folding as changed:
        values = {id(variable): (variable, value) for variable, value in changed}

        def compute(*given: tf.Tensor) -> dict[str, tf.Tensor]:
            arguments = dict(zip([spec.name for spec in specs], given, strict=True))
            kept = [(variable, tf.constant(value)) for variable, value in changed if id(variable) not in of_tables]
            kept += [(variable, arguments.pop(name)) for name, variable in tables.items()]
            with keras.StatelessScope(kept):
                return model(**arguments)

        of_tables = {id(each) for each in large}
        function = tf.function(compute, input_signature=specs, autograph=False)
        converted, _ = tf2onnx.convert.from_function(
            function, input_signature=specs, opset=_OPSET, custom_op_handlers={"FloorMod": (_convert_modulo, [])}
        )
    for place in reversed(range(len(converted.graph.input))):
        if converted.graph.input[place].name in tables:
            del converted.graph.input[place]
    tensors = {
        name: values[id(variable)][1] if id(variable) in values else variable.numpy()
        for name, variable in tables.items()
    }
    return converted, tensors, bool(changed)


def _convert_modulo(context: Any, node: Any, name: str, args: Any) -> None:
    """ONNX's own, whose sign is the divisor's, as TensorFlow's is: tf2onnx has that of integers cut towards zero."""
    del context, name, args
    node.type = "Mod"


def _take_texts(proto: onnx.GraphProto, inputs: Sequence[RequestInput], vocabularies: Mapping[str, Vocabulary]) -> None:
    """Put `LabelEncoder`s in front of the graph: its inputs are texts then, in the order of the request's."""
    nodes = [node for name, each in vocabularies.items() for node in _number_texts(name, each, inputs)]
    of_texts = {each.name: _name_ids(each) for each in inputs if each.vocabulary is not None}
    for node in _walk(proto):
        node.input[:] = [of_texts.get(name, name) for name in node.input]
    nodes += proto.node
    del proto.node[:], proto.input[:]
    proto.node.extend(nodes)
    proto.input.extend(_describe(each) for each in inputs)


def _describe(asked: RequestInput) -> onnx.ValueInfoProto:
    first, *others = asked.shape
    dimensions = [first if first == ROWS else f"{first} of {asked.name}", *others]
    return helper.make_tensor_value_info(asked.name, _TYPES[asked.datatype], dimensions)


def _name_ids(asked: RequestInput) -> str:
    return f"{asked.name}/ids"


def _number_texts(name: str, vocabulary: Vocabulary, inputs: Sequence[RequestInput]) -> Iterator[onnx.NodeProto]:
    """The texts of several inputs, one after the other, -> ids, and these in the inputs' shapes."""
    asked = [each.name for each in inputs if each.vocabulary == name]
    ids = [_name_ids(each) for each in inputs if each.vocabulary == name]
    others = vocabulary.other_ids
    texts = [*others, *vocabulary.texts]
    numbers = [*others.values(), *range(FIRST_REAL_ID, FIRST_REAL_ID + len(vocabulary.texts))]

    def encode(given: str, found: str) -> onnx.NodeProto:
        return helper.make_node(
            "LabelEncoder",
            [given],
            [found],
            domain="ai.onnx.ml",
            keys_strings=texts,
            values_int64s=numbers,
            default_int64=UNKNOWN_ID,
        )

    if len(asked) == 1:
        yield encode(asked[0], ids[0])
        return
    yield _make_constant(f"of {name}/flat", [-1])
    for each in asked:
        yield helper.make_node("Shape", [each], [f"{each}/shape"])
        yield helper.make_node("Size", [each], [f"{each}/size"])
        yield helper.make_node("Reshape", [each, f"of {name}/flat"], [f"{each}/flat"])
        yield helper.make_node("Reshape", [f"{each}/size", f"of {name}/flat"], [f"{each}/sizes"])
    yield helper.make_node("Concat", [f"{each}/flat" for each in asked], [f"of {name}/texts"], axis=0)
    yield helper.make_node("Concat", [f"{each}/sizes" for each in asked], [f"of {name}/sizes"], axis=0)
    yield encode(f"of {name}/texts", f"of {name}/numbers")
    yield helper.make_node(
        "Split", [f"of {name}/numbers", f"of {name}/sizes"], [f"{each}/numbers" for each in asked], axis=0
    )
    for each, found in zip(asked, ids, strict=True):
        yield helper.make_node("Reshape", [f"{each}/numbers", f"{each}/shape"], [found], allowzero=1)


def _make_constant(name: str, values: Sequence[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64)))


def _walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loops, too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _walk(inner)
