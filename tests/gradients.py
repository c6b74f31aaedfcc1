"""For the tests: values with gradients on whatever backend is active, a chosen precision, a chosen data format."""

import contextlib

import keras
import numpy as np
import pytest

from kerasnets import backend


def value_and_gradients(function, *arrays):
    """The scalar `function` of `arrays` and its gradient with respect to each, as NumPy arrays."""
    if keras.backend.backend() == "torch":
        tensors = [keras.ops.convert_to_tensor(a).requires_grad_() for a in arrays]
        value = function(*tensors)
        value.backward()
        gradients = [t.grad for t in tensors]
    elif keras.backend.backend() == "jax":
        import jax

        tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
        value, gradients = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(arrays)))))(*tensors)
    else:
        import tensorflow as tf

        tensors = [keras.ops.convert_to_tensor(a) for a in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        gradients = tape.gradient(value, tensors)
    return keras.ops.convert_to_numpy(value), [keras.ops.convert_to_numpy(g) for g in gradients]


@contextlib.contextmanager
def precision(dtype):
    """New layers and losses compute in `dtype`. Skips the test where Keras adds float64 numbers in float32."""
    before = keras.config.floatx()
    backend.set_dtype(dtype)
    try:
        if dtype == "float64":
            ones = keras.ops.ones((1,), dtype)
            # keras-nightly on PyTorch (keras issue 23704)
            if keras.backend.standardize_dtype(keras.ops.add(ones, ones).dtype) != dtype:
                pytest.skip("this Keras loses float64 in keras.ops.add")
        yield
    finally:
        backend.set_dtype(before)


@contextlib.contextmanager
def image_data_format(value):
    """New layers have this image data format unless they are given another."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(value)
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def assert_close(actual, expected, dtype):
    """Equal within the rounding of `dtype`: 1e-10 in float64, 2e-5 in float32."""
    bound = 1e-10 if dtype == "float64" else 2e-5
    actual = keras.ops.convert_to_numpy(actual)
    expected = expected.detach().cpu().numpy() if hasattr(expected, "detach") else np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=bound, atol=bound)
