"""Draw the activation functions and their derivatives, computed by the active backend.

From "How to create a neural network with PyTorch", section 4.3.

Examples:
  python experiments/activations.py
  python experiments/activations.py --backend tensorflow --lang zh
"""

from pathlib import Path

from kerasnets import backend as backends, cli

FUNCTIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "softmax")


def main(
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: cli.Out = Path("out/activations"),
    lang: cli.Lang = "en",
) -> None:
    """Draw a picture of each function, and print the properties that the tutorial describes as a table."""
    cli.start(backend, device)
    from kerasnets import plots

    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in FUNCTIONS:
        figure = plots.activation(name, lang=lang)
        figure.savefig(out / f"{name}.png", dpi=100)
        values, slopes = (line.get_ydata() for line in figure.axes[0].lines[:2])
        figures = (values.min(), values.max(), values.mean(), slopes[0], slopes.max(), slopes[-1])
        rows.append((name, *(f"{number:.4f}" for number in figures)))

    # A function is zero-centred if its mean is 0; gradients vanish where the slope does.
    cli.print_table(
        f"{len(values)} points from -10 to 10, by keras.ops on {backends.backend()}",
        ("function", "lowest", "highest", "mean", "slope at -10", "steepest", "slope at 10"),
        rows,
    )
    cli.print_written(out, [f"{name}.png" for name in FUNCTIONS])


if __name__ == "__main__":
    cli.run(main, __doc__)
