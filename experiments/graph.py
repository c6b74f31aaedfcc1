"""Draw a network: layers, autograd graph, files for Netron, and the diagrams of "Working with neural networks".

The network is not trained. Graphviz with pydot, torchviz and onnx are used if they are installed; otherwise a line says
what is missing. Netron (netron.app) opens model.keras and model.onnx.

Examples:
  python experiments/graph.py
  python experiments/graph.py --network ConvNeuralNetwork --backend jax
  python experiments/graph.py --network NeuralNetwork --lang zh --out out/graph-zh
"""

import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Annotated, Literal

import typer

import kerasnets
from kerasnets import backend as backends, cli
from kerasnets._internal import atomic


def main(
    network: Annotated[
        Literal[
            "NeuralNetwork", "NeuralNetwork_v1", "ConvNeuralNetwork", "Net", "FashionNetwork", "Network", "Network2"
        ],
        typer.Option(help="Which network."),
    ] = "FashionNetwork",
    lang: cli.Lang = "en",
    backend: cli.Backend = None,
    device: cli.Device = "auto",
    out: Annotated[Path | None, cli.OutOption(show_default="out/graph/NETWORK")] = None,
) -> None:
    """Write each picture and file, print what is missing for the others."""
    cli.start(backend, device)
    out = out or Path("out/graph") / network
    out.mkdir(parents=True, exist_ok=True)
    model = kerasnets.build(network)
    written = [
        *draw_layers(model, out, lang),
        *draw_autograd(model, out),
        *save_for_netron(model, out),
        *draw_diagrams(model, out, lang),
    ]
    cli.print_written(out, written)


def draw_layers(model, out: Path, lang: str) -> list[str]:
    """Draw the layers with their shapes, by kerasnets.plots and by Keras's plot_model."""
    import keras

    from kerasnets import plots

    plots.architecture(model, lang=lang).savefig(out / "architecture.png", dpi=100)
    if find_spec("pydot") is None or which("dot") is None:
        print("Keras's plot_model: needs Graphviz (its program dot) and: pip install pydot")
        return ["architecture.png"]
    with atomic.replaced(out / "plot_model.png") as unfinished:
        # As keras.utils.plot_model does, which draws no title.
        graph = keras.utils.model_to_dot(unshare(model), show_shapes=True, show_layer_names=True, dpi=100)
        graph.set("label", model.name)
        graph.set("labelloc", "t")
        graph.write(str(unfinished), format="png")
    return ["architecture.png", "plot_model.png"]


def unshare(model):
    """A copy of a model in which a layer without weights that is called again, such as a dropout, is another layer.

    plot_model draws a box per layer: a layer that is called twice would be a loop.
    """
    import keras

    if isinstance(model, keras.Sequential):
        return model
    calls: Counter[str] = Counter()

    def call(layer, *arguments, **options):
        calls[layer.name] += 1
        if calls[layer.name] > 1 and not layer.weights:
            layer = type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_{calls[layer.name]}"})
        return layer(*arguments, **options)

    return keras.models.clone_model(model, call_function=call)


def draw_autograd(model, out: Path) -> list[str]:
    """Draw PyTorch's graph of the backward pass, from the loss of one image to every weight."""
    if backends.backend() != "torch":
        print(f"Autograd graph: only PyTorch builds one, so not on {backends.backend()}; use --backend torch")
        return []
    if find_spec("torchviz") is None:
        print("Autograd graph: needs Graphviz and: pip install torchviz")
        return []
    import graphviz
    import torchviz
    from keras import ops

    outputs = model(ops.zeros((1, *model.input_shape[1:])))
    # torchviz labels the leaves of its graph with these names and shapes.
    parameters = {variable.path: variable.value for variable in model.trainable_variables}
    graph = torchviz.make_dot(ops.mean(outputs), params=parameters)
    graph.attr(label=model.name, labelloc="t")
    atomic.write_bytes(out / "autograd.dot", graph.source.encode())
    try:
        atomic.write_bytes(out / "autograd.png", graph.pipe(format="png"))
    except graphviz.ExecutableNotFound:
        print("Autograd graph: written as autograd.dot; to draw it, install Graphviz (its program dot)")
        return ["autograd.dot"]
    return ["autograd.dot", "autograd.png"]


def save_for_netron(model, out: Path) -> list[str]:
    """Write the files that Netron opens: Keras's own, and ONNX if its packages are installed."""
    with atomic.replaced(out / "model.keras") as unfinished:
        model.save(unfinished)
    missing = [name for name in backends.onnx_packages() if find_spec(name) is None]
    if missing:
        print(f"ONNX: not written; needs: pip install {' '.join(missing)}")
        return ["model.keras"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the exporters, about their own internals
        try:
            with atomic.replaced(out / "model.onnx") as unfinished:
                model.export(unfinished, format="onnx", verbose=False)
        except Exception as error:  # any failure of one of several exporters; the other files are there
            print(f"ONNX: not written; the exporter says: {error}")
            return ["model.keras"]
    return ["model.keras", "model.onnx"]


def draw_diagrams(model, out: Path, lang: str) -> list[str]:
    """Draw a single neuron, as in the tutorial, and the network's fully connected layers as columns of neurons."""
    from kerasnets import layers, plots

    plots.neuron(lang=lang).savefig(out / "neuron.png", dpi=100)
    dense = [layer for layer in model.layers if isinstance(layer, layers.Linear)]
    sizes = [dense[0].kernel.shape[0], *(layer.units for layer in dense)]
    figure = plots.layered_network(sizes, lang=lang)
    note = ""
    if len(dense) < sum(bool(layer.weights) for layer in model.layers):
        note = ": 全连接层" if plots.canvas.choose_language(lang) == "zh" else ": fully connected layers"
    figure.axes[0].set_title(f"{model.name}{note}", **plots.canvas.text(fontsize=10))
    figure.savefig(out / "layered_network.png", dpi=100)
    return ["neuron.png", "layered_network.png"]


if __name__ == "__main__":
    cli.run(main, __doc__)
