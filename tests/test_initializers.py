"""The default initial values against what ``torch.nn`` itself draws."""

import math

import keras
import numpy as np
import pytest
import torch

from kerasnets import initializers, layers


def ks_distance(a, b):
    """The two-sample Kolmogorov–Smirnov statistic: the largest distance of the empirical distributions."""
    points = np.sort(np.concatenate([a, b]))
    return np.abs(
        np.searchsorted(np.sort(a), points, "right") / a.size - np.searchsorted(np.sort(b), points, "right") / b.size
    ).max()


def weights_of(layer, shape):
    layer.build(shape)
    return [keras.ops.convert_to_numpy(w).ravel() for w in (layer.kernel, layer.bias)]


CASES = [
    (lambda: layers.Linear(400), (None, 300), lambda: torch.nn.Linear(300, 400), 300),
    (lambda: layers.Conv2D(400, 3), (None, 9, 9, 8), lambda: torch.nn.Conv2d(8, 400, 3), 72),
    (
        lambda: layers.Conv2D(400, (2, 5), groups=4),
        (None, 9, 9, 8),
        lambda: torch.nn.Conv2d(8, 400, (2, 5), groups=4),
        20,
    ),
    (
        lambda: layers.Conv2D(400, 3, data_format="channels_first"),
        (None, 8, 9, 9),
        lambda: torch.nn.Conv2d(8, 400, 3),
        72,
    ),
]


@pytest.mark.parametrize(("make", "shape", "original", "fan_in"), CASES)
def test_kernel_and_bias_are_drawn_as_in_pytorch(make, shape, original, fan_in):
    torch.manual_seed(0)
    with torch.device("cpu"):
        theirs = [p.detach().numpy().ravel() for p in original().parameters()]
    bound = 1 / math.sqrt(fan_in)
    for ours, reference in zip(weights_of(make(), shape), theirs, strict=True):
        assert ours.size == reference.size
        assert np.abs(ours).max() <= np.nextafter(np.float32(bound), np.float32(1))
        assert np.abs(ours).max() > bound * (1 - 10 / ours.size)
        # Equal distributions exceed this once in a thousand seeds; the seeds are fixed.
        assert ks_distance(ours, reference) < 1.95 * math.sqrt(2 / ours.size)
        # The comparison would see another bound.
        assert ks_distance(ours, reference * 1.3) > 0.05


def test_the_bound_is_kaiming_uniforms():
    weight = torch.empty(100, 300, device="cpu")
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    ours = keras.ops.convert_to_numpy(initializers.FanInUniform(seed=1)((300, 100)))
    assert ours.std() == pytest.approx(weight.std().item(), rel=0.02)
    assert ours.std() == pytest.approx(1 / math.sqrt(3 * 300), rel=0.02)


def test_seeds_follow_keras():
    draw = keras.ops.convert_to_numpy
    seeded = initializers.FanInUniform(seed=3)
    np.testing.assert_array_equal(draw(seeded((4, 5))), draw(initializers.FanInUniform(seed=3)((4, 5))))
    assert (draw(seeded((4, 5))) != draw(initializers.FanInUniform(seed=4)((4, 5)))).any()
    generator = initializers.FanInUniform(seed=keras.random.SeedGenerator(3))
    assert (draw(generator((4, 5))) != draw(generator((4, 5)))).any()

    def model():
        keras.utils.set_random_seed(7)
        return keras.Sequential([keras.Input((4,)), layers.Linear(4), layers.Linear(4)])

    first, second = model().get_weights(), model().get_weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != first[2]).any()
    assert (first[0][0] != first[1]).any()


def test_round_trip():
    for given in (initializers.FanInUniform(), initializers.FanInUniform(fan_in=9, seed=2)):
        copy = keras.initializers.deserialize(keras.initializers.serialize(given))
        assert type(copy) is initializers.FanInUniform
        assert copy.get_config() == given.get_config()
    shape = (50, 3)
    given = initializers.FanInUniform(fan_in=9, seed=2)
    copy = given.clone()
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(i(shape)) for i in (given, copy)))


def test_bad_fan_in():
    for fan_in in (0, -3, 2.5):
        with pytest.raises(ValueError, match=f"positive integer or None; received {fan_in}"):
            initializers.FanInUniform(fan_in)
    with pytest.raises(ValueError, match=r"can't tell the fan-in from the shape \(8,\)"):
        initializers.FanInUniform()((8,))


def test_normal_and_constant_initial_values_are_keras_own():
    """``bias.data.fill_(0)`` and ``weight.data.normal_(std=0.01)``."""
    layer = layers.Linear(
        256,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01, seed=0),
        bias_initializer=keras.initializers.Constant(0.0),
    )
    kernel, bias = weights_of(layer, (None, 784))
    torch.manual_seed(0)
    reference = torch.empty(256 * 784, device="cpu").normal_(std=0.01).numpy()
    assert ks_distance(kernel, reference) < 1.95 * math.sqrt(2 / kernel.size)
    assert not bias.any()
