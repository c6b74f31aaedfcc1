"""Wrong arguments, thrown at everything public: a ValueError or TypeError that names the argument or the value."""

import pathlib
import traceback

import keras
import matplotlib as mpl
import numpy as np
import pytest
import torch
from small import small_network as small

import kerasnets
from kerasnets import batches, layers, losses, models, optimizers, plots, schedules, training
from kerasnets.training import callbacks, recipes

mpl.use("Agg")

NUMBER = ["a", -1, float("nan"), [], {}, 1j, object(), np.array(["x"])]
COUNT = ["a", -1, 0, 1.5, float("nan"), [], {}, 1j, object()]
SIZE = ["a", -1, 1.5, float("inf"), {}, object()]
TEXT = ["nothing of this name", "", None, 3, [], object()]
PATH = [3, 1.5, [], {}, object(), True]
THING = ["a", 3, 1.5, [], {}, object()]

X, Y = np.zeros((8, 28, 28), "float32"), np.arange(8) % 10


def keyword(function, name, **others):
    return lambda value: function(**others, **{name: value})


def fit(name):
    options = {"verbose": 0, "x": X, "y": Y}
    return lambda value: small().fit(**{**options, name: value})


def recipe(**changes):
    found = recipes.find("FashionNetwork", "fashion_mnist_sample")
    return found.replace(**{"epochs": 1, "options": {"hidden": (4,)}, **changes})


def train(name):
    options = {"recipe": recipe(), "arrays": ((X, Y), (X, Y)), "verbose": 0}
    return lambda value: training.train(**{**options, name: value})


def compare(name):
    module = torch.nn.Linear(4, 3)
    model = keras.Sequential([keras.Input((4,)), layers.Linear(3)])
    options = {
        "x": X[:, 0, :4],
        "y": Y % 3,
        "loss": (torch.nn.CrossEntropyLoss(), losses.CrossEntropyLoss()),
        "optimizer": (torch.optim.SGD(module.parameters(), 0.1), optimizers.SGD(0.1)),
    }
    return lambda value: kerasnets.assert_same(**{"module": module, "model": model, **options, name: value})


#: What is called → the function of one wrong argument, and the wrong values.
CALLS = {
    **{
        f"{rule}, {name}": (keyword(getattr(optimizers, rule), name), NUMBER)
        for rule, names in {
            "SGD": ("learning_rate", "momentum", "weight_decay"),
            "Adam": ("learning_rate", "epsilon", "weight_decay"),
            "AdamW": ("learning_rate", "weight_decay"),
            "RMSprop": ("learning_rate", "rho", "epsilon", "momentum"),
            "Adagrad": ("learning_rate", "lr_decay", "epsilon"),
            "Adadelta": ("learning_rate", "rho"),
        }.items()
        for name in names
    },
    "StepLR, step_size": (keyword(schedules.StepLR, "step_size", learning_rate=0.1), COUNT),
    "StepLR, gamma": (keyword(schedules.StepLR, "gamma", learning_rate=0.1, step_size=2), NUMBER),
    "CosineAnnealingLR, T_max": (keyword(schedules.CosineAnnealingLR, "T_max", learning_rate=0.1), COUNT),
    "OneCycleLR, total_steps": (keyword(schedules.OneCycleLR, "total_steps", max_lr=0.1), COUNT),
    "Linear, units": (layers.Linear, COUNT),
    "Conv2D, filters": (lambda value: layers.Conv2D(value, 3), COUNT),
    "Conv2D, kernel_size": (lambda value: layers.Conv2D(2, value), ["a", 0, -1, {}, object()]),
    "BatchNormalization, momentum": (keyword(layers.BatchNormalization, "momentum"), [*NUMBER, 2.0]),
    "BatchNormalization, epsilon": (keyword(layers.BatchNormalization, "epsilon"), NUMBER),
    "LeakyReLU, negative_slope": (keyword(layers.LeakyReLU, "negative_slope"), NUMBER),
    "CrossEntropyLoss, label_smoothing": (keyword(losses.CrossEntropyLoss, "label_smoothing"), [*NUMBER, 2.0]),
    "CrossEntropyLoss, reduction": (keyword(losses.CrossEntropyLoss, "reduction"), ["median", 3]),
    "build": (kerasnets.build, TEXT),
    "build, hidden": (lambda value: kerasnets.build("FashionNetwork", hidden=value), SIZE),
    "build, dropout": (lambda value: kerasnets.build("FashionNetwork", dropout=value), [*NUMBER, 1.0]),
    "build, seed": (lambda value: kerasnets.build("Net", seed=value), ["a", -1, 1.5, []]),
    "load_data": (kerasnets.load_data, TEXT),
    "load_data, dtype": (lambda value: kerasnets.load_data("fashion_mnist_sample", dtype=value), ["float16", 3, []]),
    "load_data, root": (lambda value: kerasnets.load_data("mnist", value, download=False), PATH),
    "set_device": (kerasnets.set_device, ["tpu of mine", "", 3, [], object()]),
    "find": (recipes.find, TEXT),
    "Recipe, epochs": (lambda value: recipe(epochs=value), COUNT),
    "Recipe, batch_size": (lambda value: recipe(batch_size=value), COUNT),
    "StepLog": (callbacks.StepLog, COUNT),
    "epoch_order, n": (lambda value: batches.epoch_order(value, 0, 0), ["a", -1, 1.5, None]),
    "epoch_order, seed": (lambda value: batches.epoch_order(5, value, 0), ["a", -1, 1.5, None]),
    "epoch_order, drawn": (lambda value: batches.epoch_order(5, 0, 0, value), ["a", -1, 1.5, None]),
    "accelerate": (kerasnets.accelerate, THING),
    "predictor": (kerasnets.predictor, THING),
    "load_model": (kerasnets.load_model, [*PATH, "no such file"]),
    "state_dict": (kerasnets.state_dict, THING),
    "load_state_dict, model": (lambda value: kerasnets.load_state_dict(value, {}), THING),
    "load_state_dict, source": (lambda value: kerasnets.load_state_dict(small(), value), [3, [], object(), "a", {}]),
    "save_state_dict, path": (lambda value: kerasnets.save_state_dict(small(), value), [*PATH, "weights.txt"]),
    "optimizer_state_dict": (kerasnets.optimizer_state_dict, THING),
    "load_optimizer_state_dict": (lambda value: kerasnets.load_optimizer_state_dict(small(), value), [*THING, None]),
    "fit, x": (fit("x"), ["a", 3, None, [], X[0], X[:0], X.astype("uint8"), X.astype(">f4"), X.astype("complex64")]),
    "fit, y": (fit("y"), ["a", 3, Y[:3], Y - 1, Y + 5, Y.astype(">i8"), Y.astype("uint64"), Y.astype("S1")]),
    "fit, epochs": (fit("epochs"), [*COUNT, None]),
    "fit, batch_size": (fit("batch_size"), COUNT),
    "fit, seed": (fit("seed"), ["a", -1, 1.5, []]),
    "fit, initial_epoch": (fit("initial_epoch"), ["a", -1, 1.5, None]),
    "fit, steps_per_epoch": (fit("steps_per_epoch"), ["a", -1, 1.5]),
    "fit, validation_split": (fit("validation_split"), ["a", -1, 1.0, float("inf")]),
    "fit, class_weight": (fit("class_weight"), ["a", 3, [1.0]]),
    "fit, callbacks": (fit("callbacks"), ["a", 3, [3]]),
    "evaluate, batch_size": (lambda value: small().evaluate(X, Y, value, verbose=0), COUNT),
    "predict, x": (lambda value: small().predict(value, verbose=0), ["a", 3, None, [], X[0], X.astype(">f4")]),
    "predict, batch_size": (lambda value: small().predict(X, value, verbose=0), COUNT),
    "train, recipe": (train("recipe"), [*THING, None]),
    "train, seed": (train("seed"), ["a", -1, 1.5, None]),
    "train, out": (train("out"), PATH),
    "train, callbacks": (train("callbacks"), ["a", [3]]),
    "compare, module": (compare("module"), [*THING, None]),
    "compare, model": (compare("model"), [*THING, None, small(), torch.nn.Linear(4, 3)]),
    "compare, x": (compare("x"), ["a", 3, None, [], {}, {"b": X}, [X, X], X, X.astype("complex64"), X[:1, 0, :4]]),
    "compare, y": (compare("y"), ["a", 3, None, [], {}, {"b": Y}, [Y, Y], Y[:3], X[0, 0]]),
    "compare, loss": (compare("loss"), ["a", 3, [], {}, (3, 3), (torch.nn.MSELoss(),), {"b": 3}, object()]),
    "compare, optimizer": (compare("optimizer"), ["a", 3, [], {}, (3, 3), optimizers.SGD(0.1), object()]),
    "compare, scheduler": (compare("scheduler"), ["a", 3, [], {}, (3, 3), schedules.StepLR(0.1, step_size=2)]),
    "compare, steps_per_epoch": (compare("steps_per_epoch"), COUNT),
    "assert_same, ignore": (compare("ignore"), ["a", 3, [3], object()]),
    "confusion_matrix": (lambda value: plots.confusion_matrix(value, [1]), [[10**9], [-1], ["a"], [0, 1], None, 3, []]),
    "confusion_matrix, ax": (lambda value: plots.confusion_matrix(Y, Y, ax=value), THING),
    "show_images": (plots.show_images, ["a", None, 3, np.zeros((2, 2))]),
    "show_images, columns": (lambda value: plots.show_images(X, columns=value), COUNT),
    "weights": (plots.weights, THING),
    "activation": (plots.activation, ["a", None, 3, []]),
    "activation, points": (lambda value: plots.activation("relu", points=value), [*COUNT, 10**9]),
    "architecture": (plots.architecture, THING),
    "bars": (plots.bars, ["a", 3, {}, {"a": {}}, {"a": {"b": -1}}]),
}  # fmt: skip

WRITTEN_BY_US_OR_KERAS = [pathlib.Path(package.__file__).parent for package in (kerasnets, keras)]


def test_there_are_enough():
    assert sum(len(values) for _, values in CALLS.values()) >= 200


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", CALLS)
def test_wrong_arguments_are_named(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, values = CALLS[what]
    problems = []
    for value in values:
        try:
            call(value)
        except (ValueError, TypeError, FileNotFoundError) as error:
            file = pathlib.Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            if not any(folder in file.parents for folder in WRITTEN_BY_US_OR_KERAS) and "missing" not in str(error):
                problems.append(f"{value!r}: {type(error).__name__} from {file.name}: {error}")
        except Exception as error:
            problems.append(f"{value!r}: {type(error).__name__}: {error}")
        else:
            problems.append(f"{value!r} is taken")
    assert not problems, "\n".join(problems)


def test_what_no_backend_may_say_in_its_own_words():
    """The same mistake, the same error, on every backend."""
    bare = models.Sequential([keras.Input((28, 28)), layers.Flatten(), layers.Linear(10)])
    for call in ("fit", "evaluate", "train_on_batch"):
        with pytest.raises(ValueError, match="compile"):
            getattr(bare, call)(X, Y)
    with pytest.raises(ValueError, match="optimizer=None"):
        small(optimizer=None).fit(X, Y, verbose=0)
    for empty in (torch.utils.data.DataLoader([]), (pair for pair in ())):
        with pytest.raises(ValueError, match=r"empty|at least one batch"):
            small().fit(empty, shuffle=False, verbose=0)
