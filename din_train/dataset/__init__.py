"""Events -> prepared data set: vocabularies, protocol splits, sampled negatives, and the store on disk."""
