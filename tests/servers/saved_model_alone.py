"""Answers golden requests with a SavedModel in a process that has TensorFlow and nothing of ours; run by path.

python -I saved_model_alone.py EXPORT  prints, as JSON, for each golden request the logits of the signatures.
"""

import json
import sys
from pathlib import Path

# As if they were not installed.
sys.modules.update(dict.fromkeys(("din_train", "keras", "tf_keras")))

import tensorflow as tf  # noqa: E402

DTYPES = {"BYTES": tf.string, "INT64": tf.int64, "FP64": tf.float64}


def main(folder):
    """Print the answers."""
    record = json.loads((folder / "export.json").read_bytes())
    model = tf.saved_model.load(str(folder / "1"))
    answers = []
    for golden in record["golden"]:
        tensors = {}
        for each in record["inputs"]:
            values = golden["inputs"][each["name"]]
            shape = [len(values)] + ([len(values[0])] if len(each["shape"]) == 2 else [])
            tensors[each["name"]] = tf.reshape(tf.constant(values, DTYPES[each["datatype"]]), shape)
        answer = {"serving_default": model.signatures["serving_default"](**tensors)["logit"].numpy().tolist()}
        if all(len(tensors[each["name"]]) == 1 for each in record["inputs"] if each["shape"][0] == "rows or 1"):
            of_one = {name: each[0] if len(each.shape) == 2 else each for name, each in tensors.items()}
            answer["rank"] = model.signatures["rank"](**of_one)["logit"].numpy().tolist()
        answers.append(answer)
    signatures = {name: sorted(each.structured_input_signature[1]) for name, each in model.signatures.items()}
    print(json.dumps({"answers": answers, "signatures": signatures}))


main(Path(sys.argv[1]))
