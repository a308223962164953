"""`din-train export`: a run becomes an artefact that servers take."""

FORMATS = ("savedmodel", "onnx")
