"""Build NeuralNetwork and look at it layer by layer.

From "Build the Neural Network", and from "How to create a neural network with PyTorch", sections 2 to 5.

Examples:
  python experiments/build_network.py
  python experiments/build_network.py --backend jax --device cpu
  python experiments/build_network.py --seed 1 --out out/build_network-1
"""

from pathlib import Path

import numpy as np

import kerasnets
from kerasnets import backend as backends, cli


def main(
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/build_network"),
    seed: cli.Seed = 0,
    lang: cli.Lang = "en",
) -> None:
    """Print each step of the tutorials in their order, draw the network."""
    cli.start(backend, device)
    import keras
    from keras import ops

    from kerasnets import plots

    cli.set_random_seed(seed)
    np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints
    numbers = ops.convert_to_numpy

    print_devices()

    print("\nThe network")
    model = kerasnets.build("NeuralNetwork")
    model.summary()

    print("\nA random image")
    image = keras.random.uniform((1, 28, 28))
    logits = model(image)
    print(f"Logits: {numbers(logits)}")
    probabilities = keras.layers.Softmax()(logits)
    print(f"Probabilities: {numbers(probabilities)}")
    print(f"Predicted class: {numbers(ops.argmax(probabilities, axis=1))}")

    print_layers()

    print("\nThe parameters, with PyTorch's names and sizes (a Keras kernel is the transpose of the weight)")
    for name, values in kerasnets.state_dict(model).items():
        print(f"Layer: {name} | Size: {list(values.shape)} | Values: {values[:2]}\n")

    out.mkdir(parents=True, exist_ok=True)
    plots.architecture(model, lang=lang).savefig(out / "architecture.png", dpi=100)
    cli.print_written(out, ["architecture.png"])


def print_devices() -> None:
    """Section 2: devices, versions, CUDA."""
    import keras

    print("Where to compute")
    versions, name = backends.versions(), backends.backend()
    print(f"Using {backends.device().replace('gpu', 'cuda')} device")
    print(f"{name} {versions.get(name) or versions['tensorflow-cpu']}, under Keras {keras.__version__}")
    print(f"Devices: {', '.join(backends.devices())}")
    print(f"CUDA: {backends.cuda()}")


def print_layers() -> None:
    """Section 4: three images through each layer, and through a Sequential of them."""
    import keras
    from keras import ops

    from kerasnets import layers, models

    numbers = ops.convert_to_numpy
    print("\nThe layers one by one, on three images")
    images = keras.random.uniform((3, 28, 28))
    print(f"Images: {list(images.shape)}")
    flatten = layers.Flatten()
    flat = flatten(images)
    print(f"Flatten: {list(flat.shape)}")
    everything = ops.reshape(images, (-1,))
    print(f"Flatten(start_dim=0) would give {list(everything.shape)}: one vector for all images together")
    linear = layers.Linear(20)
    hidden = linear(flat)
    print(f"Linear: {list(hidden.shape)}")
    print(f"Before ReLU:\n{numbers(hidden)}")
    relu = keras.layers.ReLU()
    print(f"After ReLU:\n{numbers(relu(hidden))}")

    print("\nThe same layers and another one in a Sequential")
    sequential = models.Sequential([flatten, linear, relu, layers.Linear(10)])
    logits = sequential(images)
    print(f"Logits: {list(logits.shape)}")
    sums = ops.sum(keras.layers.Softmax()(logits), axis=1)
    print(f"Sums of the probabilities: {numbers(sums)}")


if __name__ == "__main__":
    cli.run(main, __doc__)
