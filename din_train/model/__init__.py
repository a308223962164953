"""Keras 3 layers and models, one concept a file. Axis legend:

B histories of a batch, M candidates (rows) of a batch, T longest history, N valid positions of the histories,
P pairs of a candidate and a behaviour of its history, E item-field embedding width, U hidden units.
"""
