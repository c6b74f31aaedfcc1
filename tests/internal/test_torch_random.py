"""PyTorch's random numbers, drawn with NumPy, against the installed PyTorch: each test names the part that moved."""

import random
import threading

import keras
import numpy as np
import pytest
import torch

from kerasnets._internal import torch_random
from kerasnets._internal.torch_random import Generator

SEEDS = (0, 1, 42, 2**31, 2**32 - 1, 2**32 + 5, 2**63)


@pytest.mark.once
@pytest.mark.parametrize("seed", SEEDS)
def test_the_integers(seed):
    torch.manual_seed(seed)
    expected = [int(torch.empty((), dtype=torch.int64).random_()) for _ in range(700)]  # beyond one block of 624 words
    generator = Generator(seed)
    assert [generator.integer64() % 2**63 for _ in range(700)] == expected


@pytest.mark.once
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 7, 16, 17, 1000])
@pytest.mark.parametrize("bound", [1.0, 0.05, 1 / 3])
def test_uniform(seed, n, bound):
    torch.manual_seed(seed)
    generator = Generator(seed)
    for _ in range(3):
        expected = torch.empty(n).uniform_(-bound, bound).numpy()
        np.testing.assert_array_equal(generator.uniform((n,), -bound, bound), expected)


@pytest.mark.once
@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_in_float64(seed):
    """But for the last bit: PyTorch's compiler may join the product and the sum in one instruction."""
    torch.manual_seed(seed)
    expected = torch.empty(100, 3, dtype=torch.float64).uniform_(-0.05, 0.05).numpy()
    actual = Generator(seed).uniform((100, 3), -0.05, 0.05, "float64")
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2**-56)


@pytest.mark.once
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [0, 1, 2, 10, 6000])
def test_permutations(seed, n):
    np.testing.assert_array_equal(Generator(seed).permutation(n), torch.randperm(n, generator=torch_generator(seed)))


def torch_generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.once
@pytest.mark.parametrize("n", [0, 5, 2**20 + 3])
def test_skipped_words_are_those_that_would_come(n):
    whole = Generator(3).words(n + 10)
    np.testing.assert_array_equal(Generator(3).skip(n).words(10), whole[n:])


@pytest.mark.once
def test_a_copy_goes_its_own_way():
    first = Generator(3)
    second = first.copy()
    expected = first.words(5)
    np.testing.assert_array_equal(second.words(5), expected)


def test_keras_starts_the_global_stream():
    keras.utils.set_random_seed(5)
    first = torch_random.global_generator().words(3)
    np.testing.assert_array_equal(first, Generator(5).words(3))
    np.testing.assert_array_equal(torch_random.global_generator().words(3), Generator(5).words(6)[3:])
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(torch_random.global_generator().words(3), first)


def test_keras_draws_the_same_as_without_the_stream():
    """Its own seeds and those of Python stay where they are."""

    def draw(with_stream):
        keras.utils.set_random_seed(5)
        if with_stream:
            torch_random.global_generator().words(3)
        return random.random(), keras.ops.convert_to_numpy(keras.random.normal((4,))).tolist()

    assert draw(True) == draw(False)


def test_a_cleared_session_goes_on_from_the_seed():
    def draw():
        keras.utils.set_random_seed(5)
        keras.backend.clear_session()
        return torch_random.global_generator().words(3).tolist()

    assert draw() == draw()
    assert draw() != Generator(6).words(3).tolist()


def test_a_thread_has_a_stream_of_its_own():
    keras.utils.set_random_seed(5)
    torch_random.global_generator()
    thread = threading.Thread(target=lambda: torch_random.global_generator().words(100))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(torch_random.global_generator().words(3), Generator(5).words(3))


def test_a_chosen_generator_leaves_the_global_one_alone():
    keras.utils.set_random_seed(5)

    def draw_and_fail():
        with torch_random.drawing_from(Generator(9)):
            np.testing.assert_array_equal(torch_random.global_generator().words(3), Generator(9).words(3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        draw_and_fail()
    np.testing.assert_array_equal(torch_random.global_generator().words(3), Generator(5).words(3))
