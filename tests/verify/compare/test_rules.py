"""kerasnets.compare knows the rules beside Keras's: ports that use them are the same, and faults are named."""

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import kerasnets
from kerasnets import layers, losses, optimizers, schedules

pytestmark = pytest.mark.once
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)).astype("float32"), RNG.uniform(size=(6, 3)).astype("float32")


def perceptron(activation=None):
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    ends = [nn.Sigmoid()] if activation else []
    model = keras.Sequential(
        [keras.Input((4,)), layers.Linear(8, activation="tanh"), layers.Linear(3, activation=activation)]
    )
    return nn.Sequential(*module, *ends), model


LOSSES = [
    (nn.BCEWithLogitsLoss, losses.BCEWithLogitsLoss, {}),
    (nn.L1Loss, losses.L1Loss, {"reduction": "sum"}),
    (nn.SmoothL1Loss, losses.SmoothL1Loss, {"beta": 0.3}),
    (nn.HuberLoss, losses.HuberLoss, {"delta": 0.3}),
    (nn.KLDivLoss, losses.KLDivLoss, {"reduction": "batchmean"}),
    (nn.BCELoss, losses.BCELoss, {}),
]


@pytest.mark.parametrize(("theirs", "ours", "options"), LOSSES)
def test_losses(theirs, ours, options):
    module, model = perceptron("sigmoid" if theirs is nn.BCELoss else None)
    kerasnets.assert_same(module, model, X, Y, loss=(theirs(**options), ours(**options)))


@pytest.mark.parametrize(
    ("theirs", "ours", "cause", "mend"),
    [
        (
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 5.0])),
            losses.BCEWithLogitsLoss(),
            "pos_weight is missing",
            "use kerasnets.losses.BCEWithLogitsLoss(pos_weight=[1.0, 2.0, 5.0])",
        ),
        (
            nn.SmoothL1Loss(beta=0.25),
            losses.SmoothL1Loss(beta=0.3),
            "beta is 0.3, PyTorch's is 0.25",
            "use kerasnets.losses.SmoothL1Loss(beta=0.25)",
        ),
        (
            nn.HuberLoss(delta=0.25),
            losses.HuberLoss(delta=0.3),
            "delta is 0.3, PyTorch's is 0.25",
            "use kerasnets.losses.HuberLoss(delta=0.25)",
        ),
    ],
)
def test_a_loss_with_a_fault(theirs, ours, cause, mend):
    report = kerasnets.compare(*perceptron(), X, Y, loss=(theirs, ours))
    assert (report.first.where, report.first.cause, report.first.mend) == ("loss", cause, mend)


@pytest.mark.parametrize("name", ["NAdam", "RAdam", "Adamax"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_optimizers(name, decay):
    module, model = perceptron()
    theirs = getattr(torch.optim, name)(module.parameters(), lr=0.01, weight_decay=decay)
    ours = getattr(optimizers, name)(0.01, weight_decay=decay)
    kerasnets.assert_same(module, model, X, Y, loss=(nn.MSELoss(), losses.MSELoss()), optimizer=(theirs, ours))
    report = kerasnets.compare(
        module, model, X, Y, loss=(nn.MSELoss(), losses.MSELoss()), optimizer=(theirs, optimizers.Adam(0.01))
    )
    assert f"the rule is Adam, PyTorch's is {name}" in report.first.cause
    assert report.first.mend.startswith(f"use kerasnets.optimizers.{name}(")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 20, 2.0), lambda: schedules.PolynomialLR(0.01, 20, 2.0)),
        (lambda o: torch.optim.lr_scheduler.ConstantLR(o, 0.5, 9), lambda: schedules.ConstantLR(0.01, 0.5, 9)),
        (
            lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.001, 0.01, 7),
            lambda: schedules.CyclicLR(0.001, 0.01, 7),
        ),
        (
            lambda o: torch.optim.lr_scheduler.MultiplicativeLR(o, lambda t: 0.9),
            lambda: schedules.MultiplicativeLR(0.01, lambda t: 0.9, 60),
        ),
    ],
)
def test_schedules(theirs, ours):
    module, model = perceptron()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    scheduler = theirs(optimizer)
    pair = optimizer, optimizers.SGD(ours(), momentum=0.9)
    kerasnets.assert_same(
        module, model, X, Y, loss=(nn.MSELoss(), losses.MSELoss()), optimizer=pair, scheduler=(scheduler, None)
    )


def matrices():
    """A perceptron without biases, which Muon doesn't take."""
    module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False))
    hidden = layers.Linear(8, activation="tanh", use_bias=False)
    return module, keras.Sequential([keras.Input((4,)), hidden, layers.Linear(3, use_bias=False)])


def test_muon():
    module, model = matrices()
    theirs, arguments = torch.optim.Muon(module.parameters(), lr=0.01), {"loss": (nn.MSELoss(), losses.MSELoss())}
    kerasnets.assert_same(module, model, X, Y, optimizer=(theirs, optimizers.Muon(0.01)), **arguments)
    faults = {
        "momentum is 0.8, PyTorch's is 0.95": {"momentum": 0.8},
        "ns_steps is 3, PyTorch's is 5": {"ns_steps": 3},
        "adjust_lr_fn is 'match_rms_adamw', PyTorch's is None": {"adjust_lr_fn": "match_rms_adamw"},
    }
    for cause, options in faults.items():
        pair = theirs, optimizers.Muon(0.01, **options)
        found = kerasnets.compare(module, model, X, Y, optimizer=pair, **arguments).first
        assert (found.where, found.cause) == ("optimizer", cause)
        assert found.mend == "use kerasnets.optimizers.Muon(0.01)"


@pytest.mark.parametrize("name", ["NAdam", "RAdam"])
def test_decoupled_weight_decay(name):
    module, model = perceptron()
    options = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    theirs, arguments = (
        getattr(torch.optim, name)(module.parameters(), lr=0.01, **options),
        {"loss": (nn.MSELoss(), losses.MSELoss())},
    )
    ours = getattr(optimizers, name)
    kerasnets.assert_same(module, model, X, Y, optimizer=(theirs, ours(0.01, **options)), **arguments)
    found = kerasnets.compare(module, model, X, Y, optimizer=(theirs, ours(0.01, weight_decay=0.1)), **arguments).first
    assert found.cause.startswith("weight decay is coupled")
    assert found.mend == f"use kerasnets.optimizers.{name}(0.01, weight_decay=0.1, decoupled_weight_decay=True)"


def halve(epoch):
    return 0.5


@pytest.mark.parametrize(
    ("theirs", "ours", "cause"),
    [
        (
            lambda o: lr_scheduler.PolynomialLR(o, 20, power=2.0),
            lambda: schedules.PolynomialLR(0.01, 20, power=1.0),
            "the factor of a drop",
        ),
        (
            lambda o: lr_scheduler.ConstantLR(o, 0.5, 4),
            lambda: schedules.ConstantLR(0.01, 0.5, 6),
            "the schedule is 2 steps late (off by two)",
        ),
        (
            lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
            lambda: schedules.CyclicLR(0.01, 0.1, step_size_up=8),
            "the schedule is 2 times as slow as PyTorch's",
        ),
        (
            lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=4),
            lambda: schedules.CyclicLR(0.01, 0.1, step_size_up=2),
            "the schedule is 2 times as fast as PyTorch's",
        ),
        (
            lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
            lambda: schedules.MultiplicativeLR(0.01, halve, 50),
            "the factor of a drop (gamma) is 0.5, PyTorch's is 0.9",
        ),
    ],
)
def test_a_schedule_with_a_fault(theirs, ours, cause):
    module, model = perceptron()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    found = kerasnets.compare(
        module, model, X, Y, optimizer=(optimizer, optimizers.SGD(ours())), scheduler=theirs(optimizer)
    ).first
    assert found.where == "learning rate"
    assert found.cause.startswith(cause)
    assert "kerasnets.schedules." in found.mend


@pytest.mark.parametrize(
    ("name", "option", "cause"),
    [
        ("NAdam", {"momentum_decay": 0.02}, "momentum_decay is 0.02, PyTorch's is 4e-3"),
        ("RAdam", {"beta_2": 0.99}, "beta_2 is 0.99, PyTorch's is 0.999"),
        ("Adamax", {"beta_1": 0.8}, "beta_1 is 0.8, PyTorch's is 0.9"),
    ],
)
def test_an_optimizer_with_a_fault(name, option, cause):
    module, model = perceptron()
    pair = getattr(torch.optim, name)(module.parameters(), lr=0.01), getattr(optimizers, name)(0.01, **option)
    found = kerasnets.compare(module, model, X, Y, loss=(nn.MSELoss(), losses.MSELoss()), optimizer=pair).first
    assert (found.where, found.cause) == ("optimizer", cause)


class Memory(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.table = nn.Embedding(9, 16)
        self.memory = getattr(nn, kind)(16, 12, batch_first=True)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.norm(self.memory(self.table(x))[0][:, -1]))


def memory(place, kind):
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            place.Embedding(9, 16, name="table"),
            getattr(place, kind)(12, name="memory"),
            place.LayerNormalization(name="norm"),
            layers.Linear(3, name="head"),
        ]
    )


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers(kind):
    """Also the initial weights of the embedding and the gates, and one step, which one bias for two would double."""
    module = Memory(kind)
    x, y = RNG.integers(0, 9, (6, 5)), RNG.integers(0, 3, 6)
    arguments = {"loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss())}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    kerasnets.assert_same(module, memory(layers, kind), x, y, optimizer=(optimizer, optimizers.SGD(0.1)), **arguments)
    report = kerasnets.compare(module, memory(keras.layers, kind), x, y, **arguments)
    mends = {finding.mend for finding in report.findings}
    assert {f"use kerasnets.layers.{name}" for name in ("Embedding", "LayerNormalization")} <= mends


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.up1 = nn.ConvTranspose2d(3, 4, 4, 2, 1)
        self.norm = nn.GroupNorm(2, 4)
        self.up2 = nn.ConvTranspose2d(4, 2, 3, 2, 1, 1)

    def forward(self, x):
        return self.up2(torch.relu(self.norm(self.up1(x))))


def test_transposed_convolutions():
    def port(border):
        return keras.Sequential(
            [
                keras.Input((4, 4, 3)),
                layers.Conv2DTranspose(4, 4, strides=2, padding=1, name="up1"),
                layers.GroupNormalization(2, name="norm"),
                keras.layers.ReLU(),
                layers.Conv2DTranspose(2, 3, strides=2, padding=border, output_padding=1, name="up2"),
            ]
        )

    module, x = Decoder(), RNG.normal(size=(2, 3, 4, 4)).astype("float32")
    kerasnets.assert_same(module, port(1), x)
    found = kerasnets.compare(module, port("same"), x).first
    assert (found.where, found.cause.partition(" is ")[0]) == ("up2", "padding")
    assert found.mend == "use kerasnets.layers.Conv2DTranspose(…, padding=(1, 1), output_padding=(1, 1))"


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.prelu = nn.PReLU(12)
        self.pool = nn.AdaptiveAvgPool2d((4, 5))
        self.head = nn.Linear(20, 2)

    def forward(self, x):
        x = self.prelu(self.attention(x, x, x)[0].mT)
        return self.head(self.pool(x.unsqueeze(1)).flatten(1))


def attention(package, prelu=None, size=(5, 4), **options):
    x = inputs = keras.Input((7, 12))
    x = package.MultiHeadAttention(3, 4, name="attention", **options)(x, x)
    x = (prelu or layers.PReLU(12, name="prelu"))(x)
    x = keras.layers.AdaptiveAveragePooling2D(size, name="pool")(keras.layers.Reshape((7, 12, 1))(x))
    x = keras.layers.Flatten()(keras.layers.Permute((2, 1, 3))(x))
    return keras.Model(inputs, layers.Linear(2, name="head")(x))


def test_attention_and_prelu():
    """Also one step, and the initial values that Keras's own layers start from."""
    module, x, y = Attention(), RNG.normal(size=(3, 7, 12)).astype("float32"), RNG.integers(0, 2, 3)
    arguments = {"loss": (nn.CrossEntropyLoss(), losses.CrossEntropyLoss())}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    kerasnets.assert_same(module, attention(layers), x, y, optimizer=(optimizer, optimizers.SGD(0.1)), **arguments)
    stock = attention(keras.layers, keras.layers.PReLU(shared_axes=[1], name="prelu"))
    mends = {finding.mend for finding in kerasnets.compare(module, stock, x, y, **arguments).findings}
    assert {"use kerasnets.layers.MultiHeadAttention", "use kerasnets.layers.PReLU"} <= mends
    found = kerasnets.compare(module, attention(layers, use_bias=False), x).first
    assert (found.where, found.mend) == ("attention", "use_bias=True")
