"""Batch norm in both modes by hand and over valid rows only; the affine that is left of it with frozen statistics."""

import numpy as np
import pytest

from din_train.model.normalization import Affine, BatchNorm, build_normalization

ROWS = np.array([[1.0, -3.0], [2.0, 0.0], [3.0, 3.0]], np.float32)  # means 2 and 0, variances 2/3 and 6


def test_training_uses_the_statistics_of_the_rows_at_hand_and_moves_the_averages() -> None:
    layer = BatchNorm(momentum=0.75)
    layer.build((None, 2))
    layer.gamma.assign([2.0, 1.0])
    layer.beta.assign([0.0, 5.0])
    out = layer(ROWS, training=True)
    scale = np.array([2 / np.sqrt(2 / 3 + 1e-3), 1 / np.sqrt(6 + 1e-3)])
    assert out.numpy() == pytest.approx((ROWS - [2, 0]) * scale + [0, 5], abs=1e-5)
    assert layer.moving_mean.numpy() == pytest.approx([2, 0])
    assert layer.moving_variance.numpy() == pytest.approx([2 / 3, 6])


def test_inference_uses_the_averages() -> None:
    layer = BatchNorm()
    layer.build((None, 1))
    layer.moving_mean.assign([1.0])
    layer.moving_variance.assign([4.0])
    out = layer(np.array([[5.0]], np.float32), training=False)
    assert out.numpy() == pytest.approx(4 / np.sqrt(4.001), abs=1e-6)


def test_padding_changes_nothing() -> None:
    whole, padded = BatchNorm(), BatchNorm()
    for layer in (whole, padded):
        layer.build((None, 2))
    expected = whole(ROWS, training=True).numpy()
    rows = np.concatenate([ROWS[:1], [[1e6, 1e6]], ROWS[1:]]).astype(np.float32)
    out = padded(rows, weights=np.array([[1], [0], [1], [1]], np.float32), training=True).numpy()
    assert out[[0, 2, 3]] == pytest.approx(expected, abs=1e-5)
    assert padded.moving_variance.numpy() == pytest.approx(whole.moving_variance.numpy())


def test_no_valid_row_moves_nothing() -> None:
    layer = BatchNorm()
    layer.build((None, 2))
    before = [weight.numpy().tolist() for weight in layer.weights]
    layer(ROWS, weights=np.zeros((3, 1), np.float32), training=True)
    layer(ROWS[:0], training=True)
    assert [weight.numpy().tolist() for weight in layer.weights] == before


def test_the_affine_has_no_statistics() -> None:
    layer = Affine()
    layer.build((None, 2))
    layer.gamma.assign([2.0, 3.0])
    layer.beta.assign([1.0, 0.0])
    for training in (True, False):
        out = layer(ROWS, training=training)
        assert out.numpy() == pytest.approx(ROWS * [2, 3] / np.sqrt(1.001) + [1, 0], abs=1e-5)
    assert len(layer.weights) == 2


@pytest.mark.parametrize(("name", "expected"), [("batch", BatchNorm), ("affine", Affine), ("none", type(None))])
def test_names(name: str, expected: type) -> None:
    assert isinstance(build_normalization(name, None), expected)
