"""``kerasnets.predictor`` against ``model.predict``."""

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import losses, optimizers


@pytest.fixture(scope="module")
def images():
    (x, _), _ = kerasnets.load_data("fashion_mnist_sample")
    return x[:10]


@pytest.mark.parametrize(("name", "options"), [("NeuralNetwork", {}), ("ConvNeuralNetwork", {"filters": (4, 8)})])
def test_the_outputs_of_the_model_with_its_weights_of_now(name, options, images):
    model = kerasnets.build(name, hidden=(16, 8), **options)
    model.compile(optimizer=optimizers.SGD(0.1), loss=losses.CrossEntropyLoss())
    predict = kerasnets.predictor(model)

    def outputs():
        expected = model.predict(images, verbose=0, accelerate=False)
        batch = predict(images)
        assert isinstance(batch, np.ndarray)
        assert batch.shape == (10, 10)
        np.testing.assert_allclose(batch, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(predict(images[3]), expected[3], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(predict(images[:4].astype("float64").tolist()), expected[:4], rtol=1e-4, atol=1e-5)
        return batch

    first = outputs()
    model.set_weights([w + 0.1 for w in model.get_weights()])
    second = outputs()
    assert np.abs(second - first).max() > 0.01
    model.fit(images, np.arange(10), batch_size=5, verbose=0)
    assert np.abs(outputs() - second).max() > 1e-4


def test_arrays_in_every_memory_order(images):
    model = kerasnets.build("NeuralNetwork", hidden=(16, 8))
    predict = kerasnets.predictor(model)
    expected = predict(images)
    np.testing.assert_array_equal(predict(images[::-1].copy()[::-1]), expected)
    np.testing.assert_array_equal(predict(np.asfortranarray(images)), expected)


def test_a_shape_that_does_not_fit_is_named(images):
    predict = kerasnets.predictor(kerasnets.build("NeuralNetwork", hidden=(4, 4)))
    for shape in ((27, 28), (2, 28, 27), (784,), (28, 28, 1), (0, 28, 28), ()):
        with pytest.raises(ValueError, match=r"shape \(" + ", ".join(map(str, shape))) as error:
            predict(np.zeros(shape))
        assert "expected (28, 28), or (n, 28, 28) for a batch" in str(error.value)


def test_models_of_other_kinds():
    left, right = keras.Input((3,)), keras.Input((3,))
    with pytest.raises(TypeError, match="one input and one output"):
        kerasnets.predictor(keras.Model([left, right], keras.layers.Add()([left, right])))

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="Subclassed"):
        kerasnets.predictor(Subclassed())


def test_images_of_any_size():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(inputs)))
    predict = kerasnets.predictor(model)
    for x in (np.ones((1, 8, 8, 1)), np.ones((1, 6, 9, 1))):
        expected = model.predict(x, verbose=0)
        np.testing.assert_allclose(predict(x), expected, rtol=1e-5)
        np.testing.assert_allclose(predict(x[0]), expected[0], rtol=1e-5)


def test_half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = kerasnets.build("NeuralNetwork", hidden=(8, 8))
        x = np.random.default_rng(0).uniform(-1, 1, (3, 28, 28)).astype("float32")
        expected = model.predict(x, verbose=0, accelerate=False).astype("float32")
        np.testing.assert_allclose(kerasnets.predictor(model)(x).astype("float32"), expected, rtol=0.05, atol=0.05)
        np.testing.assert_allclose(model.predict(x, verbose=0).astype("float32"), expected, rtol=0.05, atol=0.05)
    finally:
        keras.config.set_dtype_policy(policy)
