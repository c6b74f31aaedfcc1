"""A convolutional network, its shapes, its gradients and one training step.

From "Neural Network", section 2.1.3 of the Chinese PyTorch Tutorial on Read the Docs.

Examples:
  python experiments/nn_basics.py
  python experiments/nn_basics.py --backend jax --device cpu
  python experiments/nn_basics.py --seed 1 --out out/nn_basics-1
"""

from pathlib import Path

import numpy as np

import kerasnets
from kerasnets import backend as backends, cli


def main(
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/nn_basics"),
    seed: cli.Seed = 0,
    lang: cli.Lang = "en",
) -> None:
    """Print each step of the tutorial in its order, draw the filters."""
    cli.start(backend, device)
    import keras
    from keras import ops

    from kerasnets import plots

    cli.set_random_seed(seed)
    np.set_printoptions(precision=4, suppress=True, threshold=100)  # as PyTorch prints

    print(f"Keras {keras.__version__} on {backends.backend()}")
    # The tutorial's order of axes, (batch, channels, height, width), instead of Keras's.
    net = kerasnets.build("Net", data_format="channels_first")
    net.summary()

    print("\nThe parameters, with PyTorch's names and sizes")
    parameters = kerasnets.state_dict(net)
    for values in parameters.values():
        print(f"Parameter containing:\n{values}")
    for name, values in parameters.items():
        print(f"{name} : {list(values.shape)}")

    images = keras.random.normal((1, 32, 32))
    print_passes(net, images)

    print("\nA single image needs the batch axis")
    single = ops.convert_to_numpy(images)[0]
    try:
        net.predict(single, verbose=0)
    except ValueError as error:
        print(f"{list(single.shape)}: {error}")
    print(f"{list(single[None].shape)}: outputs {list(net.predict(single[None], verbose=0).shape)}")

    print_step(net, images)

    out.mkdir(parents=True, exist_ok=True)
    figure = plots.weights(net, "conv1", title=net.name, lang=lang)
    figure.savefig(out / "conv1.png", dpi=100)
    cli.print_written(out, ["conv1.png"])


def print_passes(net, images) -> None:
    """The forward pass with the shapes on the way, and the gradients of the backward pass."""
    from keras import ops

    print("\nThe forward pass, layer by layer")
    print(f"images    {list(images.shape)}")
    x = images
    for layer in net.layers[1:]:  # after the input
        x = layer(x)
        print(f"{layer.name:9} {list(x.shape)}")
    print(f"The {x.shape[-1]} outputs: {ops.convert_to_numpy(x)}")

    print("\nThe backward pass of a vector of ones: the gradient of the sum of the outputs, in Keras's shapes")
    ones = ops.ones((1, 10))
    _, gradients = backends.value_and_gradients(net, lambda outputs: ops.sum(outputs * ones), images)
    for variable, gradient in zip(net.trainable_variables, gradients, strict=True):
        print(f"{variable.path} : {list(gradient.shape)}, {ops.convert_to_numpy(ops.reshape(gradient, (-1,))[:10])}")


def print_step(net, images) -> None:
    """A loss, and one step of SGD with two learning rates."""
    from keras import ops

    from kerasnets import losses, optimizers

    numbers = ops.convert_to_numpy
    print("\nThe mean squared error against 0 … 9")
    y = ops.reshape(ops.arange(10, dtype="float32"), (1, 10))
    criterion = losses.MSELoss()
    before = float(numbers(criterion(y, net(images))))
    print(f"Loss: {before:.6f}")

    print("\nOne step of SGD: weight = weight - learning_rate * gradient")
    bias, start = net.get_layer("fc1").bias, net.get_weights()
    _, gradients = backends.value_and_gradients(net, lambda outputs: criterion(y, outputs), images)
    print(f"fc1.bias before: {numbers(bias)}")
    print(f"its gradient: {numbers(gradients[-1])}")
    for rate in (0.01, 0.001):
        net.set_weights(start)
        optimizers.SGD(rate).apply(gradients, net.trainable_variables)
        print(f"Learning rate {rate}, fc1.bias after: {numbers(bias)}")
        print(f"Learning rate {rate}, loss after: {numbers(criterion(y, net(images))):.6f}")
        describe_step(rate, before, float(numbers(criterion(y, net(images)))), gradients)


def describe_step(rate: float, before: float, after: float, gradients) -> None:
    """Compare the fall of the loss with what its slope promises: rate · Σ gradient²."""
    from keras import ops

    promised = rate * sum(float(ops.convert_to_numpy(ops.sum(ops.square(gradient)))) for gradient in gradients)
    print(
        f"  The slope promises a fall by {promised:.3f}; the loss {'rises' if after > before else 'falls'} by ", end=""
    )
    print(f"{abs(after - before):.3f}.", end=" ")
    if after > before:
        print("The step is so long that it lands beyond the minimum, higher than before: take a smaller rate.")
    elif after < before - 0.5 * promised:
        print("The loss is nearly straight over so short a step.")
    else:
        print("The step is long: the loss curves upwards on the way.")


if __name__ == "__main__":
    cli.run(main, __doc__)
