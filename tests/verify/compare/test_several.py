"""kerasnets.compare with several inputs and outputs."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

import kerasnets
from kerasnets import layers, losses, optimizers

RANDOM = np.random.default_rng(0)
X = {
    "image": RANDOM.normal(size=(6, 3, 8, 8)).astype("float32"),
    "row": RANDOM.normal(size=(6, 5)).astype("float32"),
}
Y = {"kind": RANDOM.integers(0, 10, 6), "size": RANDOM.normal(size=(6, 1)).astype("float32")}


class TwoInputs(nn.Module):
    """An image and a row of numbers in, a class and a number out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.row = nn.Linear(5, 16)
        self.kind = nn.Linear(8 * 36 + 16, 10)
        self.size = nn.Linear(8 * 36 + 16, 1)

    def forward(self, image, row):
        y = torch.cat([torch.relu(self.conv(image)).flatten(1), torch.relu(self.row(row))], 1)
        return {"kind": self.kind(y), "size": self.size(y)}


class Tuple(TwoInputs):
    def forward(self, image, row):
        return tuple(super().forward(image, row).values())


class OneList(TwoInputs):
    def forward(self, inputs):
        return super().forward(*inputs)


class OneDict(TwoInputs):
    def forward(self, inputs):
        return super().forward(**inputs)


class OtherNames(TwoInputs):
    def forward(self, picture, numbers):
        return super().forward(picture, numbers)


def make(keys=True, activation="relu", swapped=False):
    """The port.

    Args:
        keys: whether its inputs and outputs are dicts, or lists.
        activation: of the row's layer.
        swapped: ``"features"`` or ``"outputs"``, in another order.
    """
    image, row = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="row")
    y = [
        keras.layers.Flatten()(layers.Conv2D(8, 3, activation="relu")(image)),
        layers.Linear(16, activation=activation, torch_name="row")(row),
    ]
    y = keras.layers.Concatenate()(y[::-1] if swapped == "features" else y)
    outputs = [layers.Linear(10, name="kind")(y), layers.Linear(1, name="size")(y)]
    if keys:
        return keras.Model({"image": image, "row": row}, dict(zip(("kind", "size"), outputs, strict=True)))
    return keras.Model([image, row], outputs[::-1] if swapped == "outputs" else outputs)


def pair_of_losses():
    theirs = {"kind": nn.CrossEntropyLoss(), "size": nn.MSELoss()}
    return theirs, {"kind": losses.CrossEntropyLoss(), "size": losses.MSELoss()}


def test_a_correct_port():
    module, model = TwoInputs(), make()
    pair = torch.optim.Adam(module.parameters(), 1e-3), optimizers.Adam(1e-3)
    report = kerasnets.assert_same(module, model, X, Y, loss=pair_of_losses(), optimizer=pair)
    by_check = {check: {f.name for f in report.figures if f.check == check} for check in ("outputs", "gradients")}
    assert {"output kind", "output size"} <= by_check["outputs"]
    assert by_check["gradients"] == set(module.state_dict())
    for check in ("optimizer", "learning rate"):
        assert all(figure.noise64 > 0 for figure in report.figures if figure.check == check)


@pytest.mark.once
@pytest.mark.parametrize(
    ("module", "x"),
    [
        (TwoInputs, list(X.values())),
        (Tuple, X),
        (OneList, list(X.values())),
        (OneDict, X),
        (OtherNames, X),
        (OtherNames, {"numbers": X["row"], "picture": X["image"]}),
        (TwoInputs, {"row": X["row"], "image": np.moveaxis(X["image"], 1, -1)}),
    ],
    ids=[
        "a list",
        "a tuple out",
        "one list",
        "one dict",
        "other names",
        "names of arguments",
        "another order, channels last",
    ],
)
@pytest.mark.parametrize("keys", [True, False])
def test_forms_of_inputs_and_outputs(module, x, keys):
    kerasnets.assert_same(module(), make(keys), x, list(Y.values()), loss=pair_of_losses())


@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "check", "where", "words"),
    [
        ({"activation": "tanh"}, "outputs", "row's activation", "the activation is tanh, PyTorch's is relu"),
        ({"swapped": "features"}, "outputs", "concatenate", "takes its inputs in another order"),
        ({"swapped": "outputs", "keys": False}, "outputs", "output size", "the values of the module's output 2"),
    ],
)
def test_a_fault_is_named(options, check, where, words):
    report = kerasnets.compare(Tuple(), make(**options), list(X.values()))
    assert report.first.check == check
    assert where in report.first.where
    assert words in report.first.cause


@pytest.mark.once
def test_the_losses_of_a_compiled_model():
    module, model = TwoInputs(), make()
    own = {"kind": losses.CrossEntropyLoss(label_smoothing=0.1), "size": "mse"}
    model.compile("sgd", own, loss_weights={"kind": 1.0, "size": 3.0})
    report = kerasnets.compare(module, model, X, Y, loss=pair_of_losses()[0])
    found = {finding.where: finding.cause for finding in report.findings}
    assert set(found) == {"loss of kind", "loss of size"}
    assert "label_smoothing is 0.1, PyTorch's is 0" in found["loss of kind"]
    assert "loss_weights" in found["loss of size"]
    theirs = {
        "kind": nn.CrossEntropyLoss(label_smoothing=0.1),
        "size": lambda out, y: 3 * nn.functional.mse_loss(out, y),
    }
    kerasnets.assert_same(module, model, X, Y, loss=theirs)


@pytest.mark.once
def test_one_loss_for_all_outputs():
    def own(y, output):
        return keras.ops.mean(keras.ops.square(y - output))

    class Same(TwoInputs):
        def forward(self, image, row):
            return {name: output[:, :1] for name, output in super().forward(image, row).items()}

    image, row = (keras.Input(shape, name=name) for name, shape in (("image", (8, 8, 3)), ("row", (5,))))
    outputs = make()({"image": image, "row": row})
    model = keras.Model({"image": image, "row": row}, {name: output[:, :1] for name, output in outputs.items()})
    y = {"kind": Y["size"], "size": Y["size"]}
    kerasnets.assert_same(Same(), model, X, y, loss=(nn.functional.mse_loss, own))
    kerasnets.assert_same(Same(), model, X, y, loss=(nn.MSELoss(), "mse"))
    model.compile("sgd", own)
    kerasnets.assert_same(Same(), model, X, y, loss=[nn.MSELoss(), nn.functional.mse_loss])
    kerasnets.assert_same(Same(), model, X, y, loss=nn.MSELoss())


@pytest.mark.once
def test_the_loss_weight_of_a_single_output_counts():
    module, model = nn.Linear(4, 1), keras.Sequential([keras.Input((4,)), layers.Linear(1)])
    model.compile("sgd", "mse", loss_weights=[0.5])
    x, y = RANDOM.normal(size=(6, 4)), RANDOM.normal(size=(6, 1))
    report = kerasnets.compare(module, model, x, y, loss=nn.MSELoss())
    assert "loss_weights" in report.first.cause
    kerasnets.assert_same(module, model, x, y, loss=lambda out, y: 0.5 * nn.functional.mse_loss(out, y))


@pytest.mark.once
def test_outputs_of_one_layer():
    """Keras gives both the layer's name."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, left, right):
            return self.head(left), self.head(right)

    head, inputs = layers.Linear(3, name="head"), [keras.Input((4,)), keras.Input((4,))]
    x = [RANDOM.normal(size=(6, 4)) for _ in inputs]
    report = kerasnets.assert_same(Twice(), keras.Model(inputs, [head(part) for part in inputs]), x)
    assert {"output 0", "output 1"} <= {figure.name for figure in report.figures}


@pytest.mark.once
def test_a_loss_of_one_output():
    theirs, own = pair_of_losses()
    pair = {"kind": theirs["kind"]}, {"kind": own["kind"]}
    report = kerasnets.assert_same(TwoInputs(), make(), X, {"kind": Y["kind"]}, loss=pair)
    assert [figure.float64 for figure in report.figures if figure.name == "size.weight"] == []


@pytest.mark.once
def test_shared_layers():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = nn.Sequential(nn.Flatten(), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 4))
            self.head = nn.Linear(1, 1)

        def forward(self, left, right):
            return self.head(((self.tower(left) - self.tower(right)) ** 2).sum(1, keepdim=True))

    tower = keras.Sequential(
        [keras.Input((5, 6)), keras.layers.Flatten(), layers.Linear(16, activation="relu"), layers.Linear(4)]
    )
    left, right = keras.Input((5, 6)), keras.Input((5, 6))
    distance = keras.ops.sum(keras.ops.square(tower(left) - tower(right)), 1, keepdims=True)
    x = [RANDOM.normal(size=(6, 5, 6)).astype("float32") for _ in range(2)]
    report = kerasnets.assert_same(Siamese(), keras.Model([left, right], layers.Linear(1)(distance)), x)
    assert [theirs for theirs, *_ in report.matches].count("tower.1") == 2


class OnlyInTraining(TwoInputs):
    def forward(self, image, row):
        outputs = super().forward(image, row)
        return outputs | {"more": outputs["size"]} if self.training else outputs


class Text(TwoInputs):
    def forward(self, image, row):
        return super().forward(image, row) | {"text": "a"}


class OneOutput(TwoInputs):
    def forward(self, image, row):
        return super().forward(image, row)["kind"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": X["image"]}, ValueError, "x has the type ndarray; the model .* has 2 inputs: .* image, row"),
        ({"x": [X["image"]]}, ValueError, "x has 1 entries"),
        ({"x": {"image": X["image"]}}, ValueError, "x has the keys image; expected 2: image, row"),
        ({"x": {"image": X["image"], "line": X["row"]}}, ValueError, r"keys image, line; .* \(image, row\)"),
        ({"x": X | {"row": X["row"][:5]}}, ValueError, r"x\['row'\] has 5 examples, x\['image'\] has 6"),
        ({"x": X | {"row": X["row"][:, :4]}}, ValueError, r"x\['row'\] has the shape \(6, 4\)"),
        ({"x": X | {"row": "a"}}, ValueError, r"x\['row'\] is of type str"),
        ({"y": Y["kind"]}, ValueError, "y is of type ndarray; expected a list or a dict of 2"),
        ({"y": [Y["kind"]]}, ValueError, "y has 1 entries; expected 2"),
        ({"y": {"sort": Y["kind"]}}, ValueError, "Unknown key of y 'sort'; expected one of 'kind', 'size'"),
        ({"y": Y | {"size": Y["size"][:5]}}, ValueError, r"y\['size'\] has 5 targets; expected 6"),
        ({"y": {"kind": Y["kind"]}}, ValueError, r"loss of size: y has no targets"),
        ({"loss": {"sort": nn.MSELoss()}}, ValueError, "expected a pair"),
        ({"loss": ({"sort": nn.MSELoss()}, {})}, ValueError, "key of loss 'sort'; expected one of 'kind', 'size'"),
        ({"module": OneOutput()}, ValueError, "returns 1 tensor, the model .* 2; expected the same outputs"),
        ({"module": OnlyInTraining()}, TypeError, "3 tensors in training mode and 2 in evaluation mode"),
        ({"module": Text()}, TypeError, "returns a str; expected a tensor"),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, error, words):
    given = {"module": TwoInputs(), "x": X, "y": Y, "loss": pair_of_losses()} | change
    with pytest.raises(error, match=words):
        kerasnets.compare(given["module"], make(), given["x"], given["y"], loss=given["loss"])
