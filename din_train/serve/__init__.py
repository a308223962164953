"""`din-train serve`: the Open Inference Protocol over what `din-train export` wrote. Nothing here needs TensorFlow."""
