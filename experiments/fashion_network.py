"""Train FashionNetwork with NLLLoss and Adam, with or without dropout.

From "Working with neural networks".

Without --show the network is trained, as in the tutorial. The other steps, in the tutorial's order:

- loss: softmax compared with log-softmax and NLLLoss

- classes: class weights on an unbalanced subset, and their effect

- optimizers: the defaults of each optimizer

- learning_rate: too small, about right, too large, drawn

- lbfgs: an optimizer that evaluates the loss itself, beside Adadelta, Adagrad and SGD, on a small problem

- dropout: on and off, in training and in evaluation, and the test loss, for 30 epochs

- functional: the same network from layers, from functions, and as a Sequential

Examples:
  KERASNETS_DATA=path/to/data python experiments/fashion_network.py
  python experiments/fashion_network.py --dropout 0.25 --backend jax
  python experiments/fashion_network.py --dataset fashion_mnist_sample --epochs 2
  python experiments/fashion_network.py --show classes --dataset fashion_mnist_sample
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import kerasnets
from kerasnets import cli
from kerasnets.training import recipes

OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta")
#: The unbalanced subset has every twentieth image of these classes, which look like Pullover and T-shirt.
RARE, KEPT = (4, 6), 20
RATES = (1e-5, 3e-3, 0.1)
#: The tutorial trains for 10 epochs; the test loss without dropout rises only later.
DROPOUT_EPOCHS = 30
#: The labels of this experiment's own pictures.
WORDS = {
    "en": {
        "regression": "Softmax regression, the first {} images of {}",
        "tried": "weights tried",
        "weights": ("NLLLoss without weights", "NLLLoss with weights"),
    },
    "zh": {
        "regression": "Softmax 回归，{1} 的前 {0} 张图像",
        "tried": "试过的权重数",
        "weights": ("不带权重的 NLLLoss", "带权重的 NLLLoss"),
    },
}


def main(
    dropout: Annotated[float, typer.Option(min=0.0, max=0.99, help="Share of hidden features dropped.")] = 0.0,
    show: Annotated[
        Literal["training", "loss", "classes", "optimizers", "learning_rate", "lbfgs", "dropout", "functional", "all"],
        typer.Option(help="Which step."),
    ] = "training",
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    precision: cli.Precision = "float32",
    out: cli.Out = Path("out/fashion_network"),
    dataset: cli.GreyDataset = "fashion_mnist",
    epochs: cli.Epochs = None,
    batch_size: cli.BatchSize = None,
    seed: cli.Seed = 0,
    log_every: cli.LogEvery = None,
    lang: cli.Lang = "en",
    again: cli.Again = False,
) -> None:
    """Train, print the tutorial's line after each epoch, draw pictures."""
    cli.start(backend, device, precision)
    if show in ("training", "all"):
        cli.check_again(out, again)

    from kerasnets import data

    out.mkdir(parents=True, exist_ok=True)
    options = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "log_every": log_every}
    train = partial(cli.train, verbose=cli.choose_verbose(), **options)
    steps = {
        "loss": show_loss,
        "classes": partial(show_classes, train, dataset, lang, out),
        "optimizers": show_optimizers,
        "training": partial(train_one, train, dataset, dropout, lang, out),
        "learning_rate": partial(show_learning_rate, train, dataset, lang, out),
        "lbfgs": partial(show_lbfgs, dataset, lang, out),
        "dropout": partial(show_dropout, train, dataset, dropout or 0.25, lang, out),
        "functional": show_functional,
    }
    for name, step in steps.items():
        if show in (name, "all"):
            cli.set_random_seed(seed)
            try:
                step()
            except (data.DataNotFoundError, data.DamagedDataError) as error:
                cli.fail(error)
            except ModuleNotFoundError as error:  # of an extra
                if show != "all":
                    cli.fail(error)
                print(f"\nThe step {name} is left out. {error}")


def train_one(train, dataset: str, dropout: float, lang: str, out: Path) -> None:
    """The tutorial's training: NLLLoss, Adam, its line after each epoch."""
    from kerasnets.training.callbacks import LossLine

    recipe = recipes.find("FashionNetwork", dataset, {"dropout": dropout} if dropout else {})
    kerasnets.build("FashionNetwork", **recipe.network_options).summary()
    result = train(recipe, out, callbacks=[LossLine()])
    cli.finish(result, out, lang=lang)


def show_loss() -> None:
    """Log-softmax compared with the logarithm of softmax, and the losses that go with them."""
    from keras import ops

    from kerasnets import losses

    rows = []
    for logits in ([2.0, 1.0, 0.0], [20.0, 10.0, 0.0], [200.0, 100.0, 0.0]):
        softmax = ops.softmax(ops.convert_to_tensor([logits]))
        values = softmax, ops.log(softmax), ops.log_softmax(ops.convert_to_tensor([logits]))
        rows.append(tuple(", ".join(f"{v:.4g}" for v in row) for row in (logits, *map(first_row, values))))
    cli.print_table("The logarithm of softmax", ("logits", "softmax", "log(softmax)", "log_softmax"), rows)

    generator = np.random.default_rng(0)
    images = generator.uniform(-1, 1, (64, 28, 28)).astype("float32")
    labels = generator.integers(0, 10, 64)
    loss_of = {
        "log_softmax": losses.NLLLoss(),
        "softmax": losses.NLLLoss(from_probabilities=True),
        "logits": losses.CrossEntropyLoss(),
    }
    weights = kerasnets.build("FashionNetwork").get_weights()
    rows = []
    for output, loss in loss_of.items():
        model = kerasnets.build("FashionNetwork", output=output)
        model.set_weights(weights)
        outputs = model(images)
        total = ops.exp(outputs) if output == "log_softmax" else outputs
        called = type(loss).__name__ + ("(from_probabilities=True)" if output == "softmax" else "()")
        value = float(ops.convert_to_numpy(loss(labels, outputs)))
        rows.append((output, f"{first_row(total).sum():.4f}" if output != "logits" else "–", called, f"{value:.6f}"))
    cli.print_table(
        "The same weights with each output: sum of the probabilities, and loss",
        ("output", "sum", "loss", "its value"),
        rows,
    )


def show_classes(train, dataset: str, lang: str, out: Path) -> None:
    """Trainings on an unbalanced subset, with and without NLLLoss's `weight`."""
    from kerasnets import data, training

    recipe = recipes.find("FashionNetwork", dataset)
    (x, y), test = training.load_recipe_data(recipe)
    keep = ~np.isin(y, RARE)
    for rare in RARE:
        keep[np.flatnonzero(y == rare)[::KEPT]] = True
    x, y = x[keep], y[keep]
    counts = np.bincount(y, minlength=10)
    weight = (len(y) / (10 * counts)).round(4).tolist()

    results = {}
    for title, options in (("without weights", {}), ("with weights", {"weight": weight})):
        print(f"\nNLLLoss {title}, {len(y)} images")
        results[title] = train(recipe.replace(loss_options=options), None, arrays=((x, y), test))

    names = data.class_names(dataset)
    rows = [
        (names[c], counts[c], f"{weight[c]:.2f}", *(f"{100 * r.recalls[c]:.1f} %" for r in results.values()))
        for c in range(10)
    ]
    rows.append(("all", len(y), "", *(f"{r.test_accuracy:.1f} %" for r in results.values())))
    cli.print_table("Share of the test images recognised", ("class", "training images", "weight", *results), rows)
    draw_confusion_matrices(results.values(), dataset, lang, out / "class_weights.png")
    cli.print_written(out, ["class_weights.png"])


def draw_confusion_matrices(results, dataset: str, lang: str, path: Path) -> None:
    """Draw the confusion matrices of the trainings without and with weights side by side."""
    from kerasnets import data, plots

    lang = plots.canvas.choose_language(lang)
    names = data.class_names(dataset, lang)
    figure = plots.canvas.Picture(figsize=(15, 7), layout="constrained")
    for ax, title, r in zip(figure.subplots(1, 2), WORDS[lang]["weights"], results, strict=True):
        plots.confusion_matrix(r.test_labels, r.predicted, class_names=names, lang=lang, ax=ax)
        ax.set_title(title, **plots.canvas.text())
    plots.canvas.add_title(figure, f"FashionNetwork, {dataset}")
    figure.savefig(path, dpi=100)


def show_optimizers() -> None:
    """The defaults of each optimizer: PyTorch's values by Keras's names."""
    from inspect import signature

    from kerasnets import optimizers

    print()
    for name in OPTIMIZERS:
        defaults = {p.name: p.default for p in signature(getattr(optimizers, name)).parameters.values()}
        shown = {key: value for key, value in defaults.items() if isinstance(value, float | int | tuple)}
        print(f"{name}: {shown}")


def show_learning_rate(train, dataset: str, lang: str, out: Path) -> None:
    """Gradient descent on a parabola, then Adam on FashionNetwork, with three rates each."""
    from kerasnets import plots

    plots.gradient_descent(lang=lang).savefig(out / "gradient_descent.png", dpi=100)
    results = {}
    for rate in RATES:
        print(f"\nAdam with learning rate {rate:g}")
        options = {"learning_rate": rate}
        results[rate] = train(recipes.find("FashionNetwork", dataset).replace(optimizer_options=options), None)
    cli.print_table(
        "What the learning rate does",
        ("learning rate", "loss of first epoch", "of last epoch", "test accuracy"),
        [
            (f"{rate:g}", f"{r.train_loss[0]:.4g}", f"{r.train_loss[-1]:.4g}", f"{r.test_accuracy:.2f} %")
            for rate, r in results.items()
        ],
    )
    losses = {f"Adam, γ = {rate:g}": r.train_loss for rate, r in results.items()}
    title = f"FashionNetwork, {dataset}"
    pictures = cli.save_learning_curves(losses, out, lang, title, "learning_rates.png", log=True)
    cli.print_written(out, ["gradient_descent.png", *pictures])


def show_lbfgs(dataset: str, lang: str, out: Path, n: int = 1000, iterations: int = 50) -> None:
    """Softmax regression on `n` images in one batch: L-BFGS, and other optimizers with the same number of gradients."""
    import keras

    from kerasnets import layers, lbfgs, losses, models, optimizers, plots, training

    (x, y), _ = training.load_recipe_data(recipes.find("FashionNetwork", dataset))
    x, y = x[:n], y[:n]
    loss = losses.CrossEntropyLoss()

    def regression():
        return models.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Linear(10)])

    model = regression()
    start = model.get_weights()

    found = lbfgs.minimize(model, loss, x, y, max_iterations=iterations)
    curves, evaluations = {"L-BFGS": found.losses}, found.evaluations
    for optimizer in (optimizers.Adadelta(), optimizers.Adagrad(), optimizers.SGD(0.01), optimizers.SGD(0.1)):
        model = regression()
        model.set_weights(start)
        model.compile(optimizer=optimizer, loss=loss)
        history = model.fit(x, y, batch_size=n, epochs=evaluations, verbose=0).history["loss"]
        rate = optimizer.get_config()["learning_rate"]
        # fit logs the loss before each step.
        curves[f"{type(optimizer).__name__}({rate:g})"] = [*history, model.evaluate(x, y, batch_size=n, verbose=0)]
    cli.print_table(
        f"Softmax regression, {n} images, {evaluations} gradients",
        ("optimizer (learning rate)", "loss at the start", "at the end"),
        [(name, f"{losses[0]:.4f}", f"{losses[-1]:.4f}") for name, losses in curves.items()],
    )
    words = WORDS[plots.canvas.choose_language(lang)]
    title = words["regression"].format(n, dataset)
    figure = plots.learning_curves(curves, xlabel=words["tried"], title=title, lang=lang)
    figure.axes[0].set_yscale("log")
    figure.savefig(out / "lbfgs.png", dpi=100)
    cli.print_written(out, ["lbfgs.png"])


def show_dropout(train, dataset: str, dropout: float, lang: str, out: Path) -> None:
    """One image through dropout, then trainings without and with it, evaluated in both modes."""
    from keras import ops

    from kerasnets import training

    model = kerasnets.build("FashionNetwork", dropout=dropout)
    (x, _), _ = training.load_recipe_data(recipes.find("FashionNetwork", dataset))
    ones = ops.ones((1, 10_000))
    for mode in (True, False):
        drop = first_row(model.get_layer("drop")(ones, training=mode))
        share = np.mean(drop == 0)
        print(f"\nOnes through dropout {dropout:g}, training={mode}: {share:.3f} are 0, others {drop.max():.4f}")
        for _ in range(2):
            values = ", ".join(f"{v:.3f}" for v in first_row(model(x[:1], training=mode)))
            print(f"  log-probabilities: {values}")

    results, rows = {}, []
    for rate in (0.0, dropout):
        print(f"\nFashionNetwork with dropout {rate:g}")
        options = {"dropout": rate} if rate else {}
        recipe = recipes.find("FashionNetwork", dataset, options).replace(epochs=DROPOUT_EPOCHS)
        result = results[f"dropout {rate:g}"] = train(recipe, None, test_each_epoch=True)
        (x, y), _ = training.load_recipe_data(result.recipe)
        off = result.model.evaluate(x, y, batch_size=500, verbose=0, return_dict=True)
        losses = [f"{loss:.4f}" for loss in (result.train_loss[-1], off["loss"], result.test_loss)]
        rows.append((f"{rate:g}", *losses, f"{result.test_accuracy:.2f} %"))
    cli.print_table(
        "Losses: of the last epoch in training, of the same images in evaluation, of the test images",
        ("dropout", "training", "evaluation", "test", "test accuracy"),
        rows,
    )
    losses = {name: r.losses for name, r in results.items()}
    cli.print_written(out, cli.save_learning_curves(losses, out, lang, f"FashionNetwork, {dataset}", "dropout.png"))


def show_functional() -> None:
    """The network from layers, from functions of keras.ops, and as a Sequential: the same outputs."""
    import keras
    from keras import ops

    from kerasnets import layers, models

    image = keras.Input((28, 28))
    x = layers.Flatten()(image)
    x = ops.relu(layers.Linear(256, name="hidden1")(x))
    x = ops.relu(layers.Linear(128, name="hidden2")(x))
    x = ops.log_softmax(layers.Linear(10, name="output")(x))
    functions = models.Model(image, x)
    sequential = models.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Linear(256, name="hidden1"),
            keras.layers.ReLU(),
            layers.Linear(128, name="hidden2"),
            keras.layers.ReLU(),
            layers.Linear(10, name="output"),
            keras.layers.Activation("log_softmax"),
        ]
    )
    model = kerasnets.build("FashionNetwork")
    images = np.random.default_rng(0).uniform(-1, 1, (64, 28, 28)).astype("float32")
    expected = ops.convert_to_numpy(model(images))
    rows = []
    for title, other in (("layers", model), ("functions", functions), ("Sequential", sequential)):
        other.set_weights(model.get_weights())
        difference = np.abs(ops.convert_to_numpy(other(images)) - expected).max()
        rows.append((title, f"{other.count_params():,}", len(other.layers), f"{difference:.1e}"))
    columns = ("FashionNetwork from", "parameters", "layers", "largest difference of outputs")
    cli.print_table("Three ways to write the network", columns, rows)


def first_row(tensor) -> np.ndarray:
    """The first row of a tensor of the backend."""
    from keras import ops

    return ops.convert_to_numpy(tensor)[0]


if __name__ == "__main__":
    cli.run(main, __doc__)
