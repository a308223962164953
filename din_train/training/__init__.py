"""Fitting a model with Keras: optimisers, callbacks, checkpoints."""
