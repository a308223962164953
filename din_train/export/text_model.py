"""An `IdModel` as a SavedModel that takes raw texts, which tables on files beside it number."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from din_train.dataset.vocabulary import FIRST_REAL_ID, UNKNOWN_ID
from din_train.export.id_model import DTYPES, IdModel
from din_train.export.request import Vocabulary, is_of_one_user, name_input

# What may stand between the texts of a table's file. One letter: more could be made up of the ends of two texts.
_SEPARATORS = ("\n", *map(chr, range(0xD800)))


class _TextsOfFile(tf.lookup.TextFileInitializer):
    """Fills a table with the texts of a file, numbered from 2, and with others.

    TensorFlow's own reading of lines strips carriage returns, and no text can hold an end of line.

    Args:
        file: holds the texts, `separator` between them. others: text -> id.
    """

    def __init__(self, file: Path, count: int, others: Mapping[str, int], separator: str) -> None:
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        super().__init__(str(file), tf.string, line, tf.int64, number)
        self._count, self._others, self._separator = count, others, separator

    def initialize(self, table: Any) -> Any:
        """Read the file, when the model is loaded."""
        keys, values = tf.constant([*self._others]), tf.constant([*self._others.values()], tf.int64)
        if self._count:
            texts = tf.strings.split(tf.io.read_file(self._filename.asset_path), sep=self._separator)
            keys = tf.concat([texts, keys], axis=0)
            values = tf.concat([tf.range(FIRST_REAL_ID, FIRST_REAL_ID + self._count, dtype=tf.int64), values], axis=0)
        return tf.raw_ops.LookupTableImportV2(table_handle=table.resource_handle, keys=keys, values=values)


class TextModel(tf.Module):
    """A request in raw texts -> the outputs of an `IdModel`.

    Args:
        vocabularies: that the inputs name.
        folder: an existing one, for the tables' files, which `save` copies.
    """

    def __init__(self, model: IdModel, vocabularies: Mapping[str, Vocabulary], folder: Path) -> None:
        super().__init__(name="served")
        self.kept = model.variables
        self.tables = {name: _build_table(name, each, folder) for name, each in vocabularies.items()}
        inputs, tables = model.inputs, self.tables

        def compute(**request: tf.Tensor) -> dict[str, tf.Tensor]:
            ids = {
                each.name: request[each.name]
                if each.vocabulary is None
                else tables[each.vocabulary].lookup(request[each.name])
                for each in inputs
            }
            return model(**ids)

        def rank(**request: tf.Tensor) -> dict[str, tf.Tensor]:
            of_one = {each.name for each in inputs if is_of_one_user(each) and len(each.shape) > 1}
            return compute(**{name: each[None] if name in of_one else each for name, each in request.items()})

        self.compute = tf.function(compute, autograph=False)
        self._rank = tf.function(rank, autograph=False)
        self._specs = {
            each.name: tf.TensorSpec([None] * len(each.shape), DTYPES[each.datatype], each.name) for each in inputs
        }
        self._of_one = [each.name for each in inputs if is_of_one_user(each)]

    def save(self, folder: Path) -> None:
        """Write the SavedModel, with signatures `serving_default` and `rank`."""
        of_one = {
            name: tf.TensorSpec(
                self._specs[name].shape[1:] if self._specs[name].shape.rank > 1 else [1], self._specs[name].dtype, name
            )
            for name in self._of_one
        }
        signatures = {
            "serving_default": self.compute.get_concrete_function(**self._specs),
            "rank": self._rank.get_concrete_function(**{**self._specs, **of_one}),
        }
        tf.saved_model.save(self, str(folder), signatures=signatures)


def _build_table(name: str, vocabulary: Vocabulary, folder: Path) -> tf.lookup.StaticHashTable:
    separator = _find_separator(vocabulary.texts)
    file = folder / f"{name_input(name)}.txt"
    while file.exists():  # of a name that differs in other letters
        file = file.with_stem(f"{file.stem}_")
    file.write_bytes(separator.join(vocabulary.texts).encode())
    texts = _TextsOfFile(file, len(vocabulary.texts), vocabulary.other_ids, separator)
    return tf.lookup.StaticHashTable(texts, UNKNOWN_ID)


def _find_separator(texts: Sequence[str]) -> str:
    """The first of the separators that is in none of the texts."""
    return next(each for each in _SEPARATORS if not any(each in text for text in texts))
