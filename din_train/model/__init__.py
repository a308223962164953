"""Keras 3 layers and models, one concept a file. Axis legend:

B batch, T history, N valid positions of a batch, M distinct items of a batch,
E item-field embedding width, U hidden units.
"""
