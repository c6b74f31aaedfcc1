"""Networks for handwritten digits, from raw matrices to named layers, before and after training.

From "Building neural networks with PyTorch".

MNIST doesn't come with kerasnets: torchvision downloads it (12 MB), or KERASNETS_DATA names its folder. Without it,
--dataset fashion_mnist_sample runs every step on pictures of clothes.

Examples:
  KERASNETS_DATA=path/to/data python experiments/digits.py
  python experiments/digits.py --dataset fashion_mnist_sample --backend jax
  python experiments/digits.py --epochs 1 --seed 1 --lang zh
"""

from functools import partial
from pathlib import Path

import numpy as np

import kerasnets
from kerasnets import cli
from kerasnets.training import recipes

#: How the titles of the pictures call a network before and after its training.
STATES = {"en": ("untrained", "trained"), "zh": ("训练前", "训练后")}


def main(
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/digits"),
    dataset: cli.GreyDataset = "mnist",
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Print each step of the tutorial in its order, then train its last network; draw pictures."""
    cli.start(backend, device)
    cli.check_again(out, again)

    from kerasnets import batches, data, plots

    cli.set_random_seed(seed)
    np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints
    try:
        arrays = data.load_data(dataset)
    except (data.DataNotFoundError, data.DamagedDataError) as error:
        cli.fail(error)
    if dataset == "fashion_mnist_sample":
        print("These are pictures of clothes. To see digits: --dataset mnist, which downloads MNIST (12 MB).\n")
    lang = plots.canvas.choose_language(lang)
    names = data.class_names(dataset, lang)
    out.mkdir(parents=True, exist_ok=True)

    print("A batch of 64 images; kerasnets' images have no channel axis")
    (x, y), (x_test, y_test) = arrays
    rows = batches.epoch_order(len(x), seed, epoch=0)[:64]
    images, labels = x[rows], y[rows]
    print(f"{type(images)}\n{list(images.shape)}\n{list(labels.shape)}")
    figure = plots.show_images(images[1:2], labels[1:2], class_names=names, title=dataset, lang=lang)
    figure.savefig(out / "image.png", dpi=100)

    show_matrices(images)
    show_layers(images)
    options = {"label": int(y_test[0]), "class_names": names, "lang": lang}
    classify = partial(save_classification, out, dataset, x_test[:1], options)
    classify("network2.png", set_weights_by_hand())
    by_position, by_name = build_sequentials()
    classify("sequential.png", by_position)

    print("\nTraining")
    classify("before.png", by_name)
    recipe = recipes.find("Network2", dataset, {"form": "named"})
    result = cli.train(recipe, out, epochs, batch_size, seed, arrays=arrays, log_every=log_every)
    classify("after.png", result.model, trained=True)
    print(f"The first test image is {data.class_names(dataset)[y_test[0]]!r}: see before.png and after.png")
    cli.finish(result, out, ["image.png", "network2.png", "sequential.png", "before.png", "after.png"], lang)


def save_classification(
    out: Path, dataset: str, image: np.ndarray, options: dict, file: str, model, trained: bool = False
) -> None:
    """Draw an image and the probabilities that a network gives its classes; `options` are ``view_classify``'s."""
    from kerasnets import plots

    title = f"{model.name}, {dataset}, {STATES[options['lang']][trained]}"
    figure = plots.view_classify(image, model(image), title=title, **options)
    figure.savefig(out / file, dpi=100)


def show_matrices(images: np.ndarray) -> None:
    """The network from raw matrices, its softmax, and the mistake that is easy to make in it."""
    import keras
    from keras import ops

    numbers = ops.convert_to_numpy
    print("\nThe network from raw matrices")
    inputs = ops.reshape(ops.convert_to_tensor(images), (64, -1))
    print(f"Inputs: {list(inputs.shape)}")
    w1, b1 = keras.random.normal((784, 256)), keras.random.normal((256,))
    w2, b2 = keras.random.normal((256, 10)), keras.random.normal((10,))

    def activation(x):
        return 1 / (1 + ops.exp(-x))

    def softmax(x):
        return ops.exp(x) / ops.reshape(ops.sum(ops.exp(x), axis=1), (-1, 1))

    h = activation(ops.matmul(inputs, w1) + b1)
    outputs = ops.matmul(h, w2) + b2
    print(f"Outputs: {list(outputs.shape)}")
    probabilities = softmax(outputs)
    print(f"Probabilities: {list(probabilities.shape)}")
    print(f"Their sums: {numbers(ops.sum(probabilities, axis=1))}")

    print("\nThe mistake: dividing by sums of shape (n,) instead of (n, 1)")

    def wrong_softmax(x):
        return ops.exp(x) / ops.sum(ops.exp(x), axis=1)

    try:
        wrong_softmax(outputs)
    except Exception as error:  # each backend raises its own
        print(f"64 images: {type(error).__name__}: {error}")
    # Ten images and ten classes: the shapes fit, each column is divided by the sum of another image, without a warning.
    print(f"10 images: no error, but the sums are {numbers(ops.sum(wrong_softmax(outputs[:10]), axis=1))}")


def show_layers(images: np.ndarray) -> None:
    """``Network``, and the same with activations as arguments of its layers."""
    import keras
    from keras import ops

    from kerasnets import layers, models

    print("\nThe same with layers, and with the activations in them")
    network = kerasnets.build("Network")
    network.summary()
    short = models.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Linear(256, activation="sigmoid", name="hidden"),
            layers.Linear(10, activation="softmax", name="output"),
        ],
        name="Network",
    )
    short.summary()
    short.set_weights(network.get_weights())
    difference = ops.max(ops.abs(short(images) - network(images)))
    print(f"With the same weights the outputs differ by {ops.convert_to_numpy(difference):.1e}")


def set_weights_by_hand():
    """``Network2`` with the first layer's weights read and set; returns it."""
    import keras
    from keras import ops

    numbers = ops.convert_to_numpy
    print("\nTwo hidden layers, and their weights read and set by hand")
    model = kerasnets.build("Network2")
    model.summary()
    fc1 = model.get_layer("fc1")
    print(f"fc1's weight, {list(fc1.kernel.shape)}, the transpose of PyTorch's:\n{numbers(fc1.kernel)}")
    print(f"fc1's bias:\n{numbers(fc1.bias)}")
    fc1.bias.assign(ops.zeros(fc1.bias.shape))
    fc1.kernel.assign(keras.random.normal(fc1.kernel.shape, stddev=0.01))
    print(f"The bias set to zeros: {np.abs(numbers(fc1.bias)).max()}")
    print(f"The weight set to normal values: mean {numbers(fc1.kernel).mean():.4f}, sd {numbers(fc1.kernel).std():.4f}")
    return model


def build_sequentials() -> tuple:
    """``Network2`` as a Sequential by position and by name; returns both."""
    from keras import ops

    print("\nThe same as a Sequential, by position and by name")
    by_position = kerasnets.build("Network2", form="sequential")
    by_position.summary()
    first = by_position.layers[1]
    print(f"layers[1], after the flattening: {first}\n{ops.convert_to_numpy(first.kernel)}")
    by_name = kerasnets.build("Network2", form="named")
    by_name.summary()
    print(f"layers[1] is get_layer('fc1'): {by_name.layers[1] is by_name.get_layer('fc1')}")
    return by_position, by_name


if __name__ == "__main__":
    cli.run(main, __doc__)
