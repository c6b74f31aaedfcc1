"""Forms of data: arrays of all kinds, loaders, generators, validation, numbers of steps."""

import keras
import numpy as np
import torch
from harness import Recorder, case
from keras import layers, ops
from parts import (
    classification,
    classifier,
    functional,
    labels,
    mlp,
    numbers,
    one_hot,
    regression,
    sequential,
    tensor,
    uniform,
)
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

N = 20

# Arrays


def _readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


ARRAYS = {
    "float64": lambda a: a.astype("float64"),
    "fortran order": np.asfortranarray,
    "negative strides": lambda a: a[::-1],
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "columns of a larger array": lambda a: np.concatenate([a, a], axis=1)[:, 1 : 1 + a.shape[1]],
    "read-only": _readonly,
    "big-endian": lambda a: a.astype(">f4"),
    "integers": lambda a: (10 * a).astype("int64"),
    "int8": lambda a: (10 * a).astype("int8"),
    "booleans": lambda a: a > 0,
    "uint8": lambda a: (100 * np.abs(a)).clip(0, 255).astype("uint8") % 5,
    "tensor": tensor,
    "list": lambda a: [a],
    "tuple": lambda a: (a,),
    "nested list of numbers": lambda a: a.tolist(),
    "a subclass of ndarray": lambda a: a.view(np.matrix),
    "memory view of another shape": lambda a: np.broadcast_to(a[:1], a.shape),
    "float16 tensor": lambda a: tensor(a.astype("float16")),
    "bfloat16 tensor": lambda a: ops.cast(tensor(a), "bfloat16"),
    "torch tensor": torch.as_tensor,
    "strings": lambda a: a.astype(str),
    "objects": lambda a: a.astype(object),
    "nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 50, np.nan, a).astype("float32"),
    "infinity": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 50, np.inf, a).astype("float32"),
}
RAISES = {"strings", "nested list of numbers"}
for _name, _form in ARRAYS.items():

    @case(f"arrays/x as {_name}", raises=_name in RAISES)
    def _(trial, form=_form):
        x, y = regression()
        model = trial.accelerate(mlp())
        trial.all(model, form(x), y, validation_data=(form(x[:6]), y[:6]))

    if _name in (
        "float64",
        "integers",
        "booleans",
        "tensor",
        "torch tensor",
        "fortran order",
        "list",
        "negative strides",
        "uint8",
    ):

        @case(f"arrays/y as {_name}")
        def _(trial, form=_form):
            x, y = regression()
            trial.all(trial.accelerate(mlp()), x, form(y))


@case("arrays/classes as booleans")
def _(trial):
    trial.all(
        trial.accelerate(mlp(4, 1, "sigmoid", loss="binary_crossentropy", metrics=["accuracy"])),
        numbers(N, 4),
        labels(N, classes=2).astype(bool),
    )


@case("arrays/labels (n,) against outputs (n, 1)")
def _(trial):
    trial.all(trial.accelerate(mlp(4, 1, metrics=["mae", "mse"])), numbers(N, 4), numbers(N, seed=2))


@case("arrays/x (n,) for an input (1,)")
def _(trial):
    trial.all(trial.accelerate(mlp(1, 1)), numbers(N), numbers(N, seed=2))


@case("arrays/x (n, 4, 1) for an input (4,)")
def _(trial):
    trial.all(trial.accelerate(mlp()), numbers(N, 4, 1), numbers(N, 2))


@case("arrays/wrong shape", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(N, 5), numbers(N, 2))


@case("arrays/wrong length", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(N, 4), numbers(N - 1, 2))


@case("arrays/targets of a shape that is broadcast")
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(N, 4), numbers(N, 1))


@case("arrays/no targets", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(N, 4))


@case("arrays/no examples", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(0, 4), numbers(0, 2))


@case("arrays/one example")
def _(trial):
    trial.all(trial.accelerate(mlp()), numbers(1, 4), numbers(1, 2))


@case("arrays/weights without targets", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), numbers(N, 4), sample_weight=uniform(N))


@case("arrays/not compiled", raises=True)
def _(trial):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model = trial.accelerate(model)
    trial.predict(model, numbers(N, 4))
    model.fit(numbers(N, 4), numbers(N, 2), verbose=0)


@case("arrays/changed in place between two fits")
def _(trial):
    x, y = regression()
    model = trial.accelerate(mlp())
    trial.fit(model, x, y)
    x[:] = -x
    y += 1
    trial.all(model, x, y)


@case("arrays/changed in place by a callback", stock=True)
def _(trial):
    x, y = regression()

    def change(epoch, logs):
        x[:] *= 0.5

    model = trial.accelerate(mlp())
    trial.fit(model, x, y, epochs=3, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=change)])


@case("arrays/torch tensor on the tape", backends=("torch",))
def _(trial):
    x, y = regression()
    x = torch.as_tensor(x).requires_grad_()
    trial.fit(trial.accelerate(mlp()), x, y)


# Inputs in other forms


def two_inputs(form):
    a, b = keras.Input((4,), name="b"), keras.Input((3,), name="a")
    x = layers.Concatenate()([layers.Dense(3)(a), layers.Dense(2, activation="tanh")(b)])
    return functional({"b": a, "a": b} if form is dict else [a, b], layers.Dense(2)(x))


A, B = numbers(N, 4, seed=5), numbers(N, 3, seed=6)
for _name, (_form, _x) in {
    "list": (list, lambda: [A, B]),
    "tuple": (list, lambda: (A, B)),
    "dict": (dict, lambda: {"b": A, "a": B}),
    "dict in another order": (dict, lambda: {"a": B, "b": A}),
    "list into a dict model": (dict, lambda: [A, B]),
    "dict into a list model": (list, lambda: {"a": B, "b": A}),
    "dict with more than the model takes": (dict, lambda: {"a": B, "z": A[:, :1], "b": A}),
    "tensors": (list, lambda: [tensor(A), tensor(B)]),
    "mixed": (list, lambda: [tensor(A), B]),
}.items():

    @case(f"inputs/{_name}")
    def _(trial, form=_form, x=_x):
        trial.all(trial.accelerate(two_inputs(form)), x(), numbers(N, 2), validation_data=(x(), numbers(N, 2)))


@case("inputs/lengths that differ", raises=True)
def _(trial):
    trial.fit(trial.accelerate(two_inputs(list)), [A, B[:-1]], numbers(N, 2))


@case("inputs/too few", raises=True)
def _(trial):
    trial.fit(trial.accelerate(two_inputs(list)), [A], numbers(N, 2))


@case("inputs/nested structure")
def _(trial):
    a, b, c = keras.Input((4,), name="p"), keras.Input((3,), name="q"), keras.Input((3,), name="r")
    x = layers.Concatenate()([a, b, layers.Dense(2)(c)])
    model = functional({"one": a, "rest": [b, c]}, {"out": [layers.Dense(2)(x)], "more": layers.Dense(1)(x)}, loss=None)
    trial.predict(trial.accelerate(model), {"one": A, "rest": [B, B + 1]})


@case("inputs/one is optional")
def _(trial):
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b", optional=True)
    x = layers.Dense(2)(a)
    model = functional([a, b], x)
    trial.fit(trial.accelerate(model), [A, B], numbers(N, 2))


@case("inputs/integers and floats")
def _(trial):
    a, b = keras.Input((4,)), keras.Input((3,), dtype="int32")
    x = layers.Concatenate()([a, layers.Flatten()(layers.Embedding(5, 2)(b))])
    trial.all(trial.accelerate(functional([a, b], layers.Dense(2)(x))), [A, labels(N, 3, classes=5)], numbers(N, 2))


# Batches and steps

for _name, _given in {
    "size larger than n": {"batch_size": 64},
    "size of n": {"batch_size": N},
    "size 1": {"batch_size": 1, "epochs": 1},
    "default size": {"batch_size": None},
    "size that divides n": {"batch_size": 5},
    "last batch of one": {"batch_size": 19},
    "no epochs": {"epochs": 0},
    "initial epoch": {"epochs": 4, "initial_epoch": 2},
    "initial epoch after the last": {"epochs": 1, "initial_epoch": 3},
    "steps fewer than batches": {"steps_per_epoch": 2},
    "steps of all batches": {"steps_per_epoch": 3},
    "steps more than batches": {"steps_per_epoch": 5},
    "split": {"validation_split": 0.25},
    "split of almost all": {"validation_split": 0.95},
    "split of too much": {"validation_split": 0.99},
    "split and data": {"validation_split": 0.25, "validation_data": (A[:6], B[:6, :2])},
    "validation batch size": {"validation_split": 0.5, "validation_batch_size": 3},
    "validation steps": {"validation_split": 0.5, "validation_batch_size": 3, "validation_steps": 2},
    "validation frequency": {"validation_split": 0.25, "validation_freq": 2, "epochs": 5},
    "validation in some epochs": {"validation_split": 0.25, "validation_freq": [1, 4], "epochs": 5},
    "validation from a list": {"validation_data": [A[:6], B[:6, :2]]},
    "validation with weights": {"validation_data": (A[:6], B[:6, :2], np.linspace(0, 1, 6))},
    "validation with tensors": {"validation_data": lambda: (tensor(A[:6]), tensor(B[:6, :2]))},
    "validation with x alone": {"validation_data": (A[:6],)},
    "validation of another dtype": {"validation_data": (A[:6].astype("float64"), B[:6, :2].astype("int32"))},
    "epochs as numpy": {"epochs": np.int64(2)},
    "verbose 2": {"verbose": 2},
    "verbose 1": {"verbose": 1},
}.items():

    @case(f"steps/{_name}", raises=_name in ("validation with x alone",))
    def _(trial, given=_given):
        given = {k: v() if callable(v) else v for k, v in given.items()}
        model = trial.accelerate(mlp(metrics=["mae"]))
        trial.fit(model, *regression(), callbacks=[Recorder()], **given)
        trial.evaluate(model, *regression())


for _name, _given in {
    "steps": {"steps": 2},
    "more steps than batches": {"steps": 9},
    "batch size larger": {"batch_size": 99},
    "batch size 1": {"batch_size": 1},
    "verbose": {"verbose": 1},
}.items():

    @case(f"steps/of evaluate and predict, {_name}")
    def _(trial, given=_given):
        model = trial.accelerate(mlp(metrics=["mae"]))
        x, y = regression()
        trial.evaluate(model, x, y, callbacks=[Recorder()], **given)
        trial.evaluate(model, x, y, return_dict=False, **given)
        trial.predict(model, x, callbacks=[Recorder()], **given)


@case("steps/arguments by position")
def _(trial):
    model = trial.accelerate(mlp())
    x, y = regression()
    history = model.fit(x, y, 8, 2, 0, None, 0.25, None, False)
    trial.note("history", history.history)
    trial.note("evaluate", model.evaluate(x, y, 8, 0))
    trial.note("predict", model.predict(x, 8, 0))


@case("steps/arguments that there aren't", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), *regression(), workers=3)


@case("steps/shuffled, equal sets")
def _(trial):
    model = trial.accelerate(mlp(optimizer=keras.optimizers.SGD(0.0), metrics=["mae"]))
    x, y = regression()
    history = model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    trial.note("mean over all examples, whatever the order", history.history)
    history = model.fit(x, y, batch_size=5, epochs=2, verbose=0, shuffle=True, validation_split=0.25)
    trial.note("those that are held out are the last", history.history)


@case("steps/shuffle='batch'")
def _(trial):
    model = trial.accelerate(mlp(optimizer=keras.optimizers.SGD(0.0), metrics=["mae"]))
    history = model.fit(*regression(), batch_size=8, epochs=2, verbose=0, shuffle="batch")
    trial.note("history", history.history)


@case("steps/shuffled in full batches, rate 0, batch sees its own labels")
def _(trial):
    x = np.eye(20, dtype="float32")[:, :20]
    model = trial.accelerate(mlp(20, 20, optimizer=keras.optimizers.SGD(0.0)))
    trial.note("history", model.fit(x, 3 * x, batch_size=7, epochs=3, verbose=0).history)


# Loaders


class Rows(Dataset):
    """Rows of arrays, each as whatever `form` makes of them."""

    def __init__(self, *arrays, form=tuple):
        self.arrays, self.form = arrays, form

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, index):
        return self.form(torch.as_tensor(array[index]) for array in self.arrays)


class Stream(IterableDataset):
    """The same rows as a stream, with a length or without."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __iter__(self):
        return iter(zip(*map(torch.as_tensor, self.arrays), strict=True))


class MeasuredStream(Stream):
    def __len__(self):
        return len(self.arrays[0])


def loader(*arrays, **options):
    return DataLoader(TensorDataset(*map(torch.as_tensor, arrays)), **{"batch_size": 8, **options})


def _ragged(rows):
    x, y = zip(*rows, strict=True)
    return torch.stack(x)[:, : 2 + len(x) % 3], torch.stack(y)


LOADERS = {
    "tuples": lambda: loader(A, B[:, :2]),
    "drop last": lambda: loader(A, B[:, :2], drop_last=True),
    "weights": lambda: loader(A, B[:, :2], uniform(N)),
    "shuffled, seeded": lambda: loader(A, B[:, :2], shuffle=True, generator=torch.Generator().manual_seed(3)),
    "sampler": lambda: loader(A, B[:, :2], sampler=list(range(0, N, 3))),
    "batch sampler": lambda: DataLoader(Rows(A, B[:, :2]), batch_sampler=[[0, 1, 2], [5], [7, 8, 9, 10]]),
    "stream": lambda: DataLoader(Stream(A, B[:, :2]), batch_size=8),
    "stream with a length": lambda: DataLoader(MeasuredStream(A, B[:, :2]), batch_size=8),
    "no batches": lambda: DataLoader(
        [(torch.as_tensor(A[i : i + 5]), torch.as_tensor(B[i : i + 5, :2])) for i in (0, 5, 10)], batch_size=None
    ),
    "float64": lambda: loader(A.astype("float64"), B[:, :2].astype("float64")),
    "lists in collation": lambda: DataLoader(Rows(A, B[:, :2], form=list), batch_size=8),
    "bfloat16": lambda: DataLoader(
        TensorDataset(torch.as_tensor(A).bfloat16(), torch.as_tensor(B[:, :2])), batch_size=8
    ),
}
for _name, _make in LOADERS.items():

    @case(f"loader/{_name}", **({"rtol": 3e-2, "atol": 3e-2} if _name == "bfloat16" else {}))
    def _(trial, make=_make):
        model = trial.accelerate(mlp(metrics=["mae"]))
        trial.fit(model, make(), callbacks=[Recorder()], epochs=3)
        trial.evaluate(model, make())

    if _name in ("tuples", "weights", "drop last", "stream"):

        @case(f"loader/validation, {_name}")
        def _(trial, make=_make):
            model = trial.accelerate(mlp(metrics=["mae"], weighted_metrics=["mae"]))
            trial.fit(model, *regression(), validation_data=make(), callbacks=[Recorder()])
            trial.fit(model, make(), validation_data=regression())


@case("loader/predict of x alone, and of tuples")
def _(trial):
    model = trial.accelerate(mlp())
    trial.predict(model, DataLoader(torch.as_tensor(A), batch_size=8))
    trial.predict(model, loader(A, B[:, :2]))


@case("loader/dicts")
def _(trial):
    rows = [
        ({"b": torch.as_tensor(a), "a": torch.as_tensor(b)}, torch.as_tensor(b[:2])) for a, b in zip(A, B, strict=True)
    ]
    model = trial.accelerate(two_inputs(dict))
    trial.fit(model, DataLoader(rows, batch_size=8), epochs=2)
    trial.predict(model, DataLoader(rows, batch_size=8))


@case("loader/shapes that vary")
def _(trial):
    model = trial.accelerate(
        keras.Sequential(
            [keras.Input((None, 3)), layers.Conv1D(4, 2), layers.GlobalAveragePooling1D(), layers.Dense(2)]
        )
    )
    model.compile("sgd", "mse")
    make = lambda: DataLoader(Rows(numbers(N, 4, 3), B[:, :2]), batch_size=7, collate_fn=_ragged)  # noqa: E731
    trial.fit(model, make(), epochs=2)
    trial.evaluate(model, make())


@case("loader/fewer steps than it has")
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(model, loader(A, B[:, :2]), steps_per_epoch=2)


@case("loader/targets beside it", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), loader(A), B[:, :2])


@case("loader/class weights")
def _(trial):
    trial.fit(trial.accelerate(classifier()), loader(*classification()), class_weight={0: 0.5, 1: 2.0, 2: 1.0})


@case("loader/validation split", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), loader(A, B[:, :2]), validation_split=0.5)


@case("loader/random augmentation in the data set")
def _(trial):
    class Noisy(Rows):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x + torch.randn(x.shape), y

    torch.manual_seed(4)
    trial.fit(trial.accelerate(mlp(optimizer="sgd")), DataLoader(Noisy(A, B[:, :2]), batch_size=8), epochs=3)


@case("loader/an error in the middle", raises=True)
def _(trial):
    class Failing(Rows):
        def __getitem__(self, index):
            if index == 17:
                raise OSError("row 17 can't be read")
            return super().__getitem__(index)

    model = trial.accelerate(mlp())
    recorder = Recorder()
    try:
        trial.fit(model, DataLoader(Failing(A, B[:, :2]), batch_size=8), callbacks=[recorder])
    finally:
        trial.note("calls", recorder.calls)


@case("loader/empty last batches", raises=True)
def _(trial):
    trial.fit(trial.accelerate(mlp()), DataLoader(Rows(A[:0], B[:0, :2]), batch_size=8))


# Sequences, generators, tf.data


class Parts(keras.utils.PyDataset):
    """A sequence of batches; `on_epoch_end` is counted."""

    def __init__(self, *arrays, size=8, **options):
        super().__init__(**options)
        self.arrays, self.size, self.ends = arrays, size, 0

    def __len__(self):
        return -(-len(self.arrays[0]) // self.size)

    def __getitem__(self, index):
        chosen = slice(index * self.size, (index + 1) * self.size)
        return tuple(a[chosen] * (1.0 + 0.1 * self.ends) for a in self.arrays)

    def on_epoch_end(self):
        self.ends += 1


@case("py dataset/in order", stock=True)
def _(trial):
    model = trial.accelerate(mlp(metrics=["mae"]))
    parts = Parts(A, B[:, :2])
    trial.fit(model, parts, epochs=3, validation_data=Parts(A[:6], B[:6, :2]), callbacks=[Recorder()])
    trial.note("ends of epochs", parts.ends)
    trial.evaluate(model, Parts(A, B[:, :2]))
    trial.predict(model, Parts(A))


@case("py dataset/weights and fewer steps", stock=True)
def _(trial):
    model = trial.accelerate(mlp(metrics=["mae"]))
    # Unshuffled: on TensorFlow, stock Keras draws the next order while a thread is still reading ahead.
    trial.fit(model, Parts(A, B[:, :2], uniform(N)), epochs=2, steps_per_epoch=2, shuffle=False)


def _endless(*arrays, size=6):
    start = 0
    while True:
        rows = [(start + i) % N for i in range(size)]
        start += size
        yield tuple(a[rows] for a in arrays)


@case("generator/endless", stock=True)
def _(trial):
    model = trial.accelerate(mlp(metrics=["mae"]))
    trial.fit(
        model,
        _endless(A, B[:, :2]),
        steps_per_epoch=4,
        epochs=3,
        callbacks=[Recorder()],
        validation_data=_endless(A, B[:, :2]),
        validation_steps=2,
    )
    trial.evaluate(model, _endless(A, B[:, :2]), steps=3)
    trial.predict(model, _endless(A), steps=3)


@case("generator/finite", stock=True)
def _(trial):
    model = trial.accelerate(mlp(metrics=["mae"]))
    batches = [(A[i : i + 5], B[i : i + 5, :2]) for i in (0, 5, 10, 15)]
    # On TensorFlow, stock Keras counts the step in which it finds the generator empty as well.
    counts = keras.config.backend() != "tensorflow"
    trial.fit(model, (batch for batch in batches), epochs=1, optimizer=counts)
    trial.evaluate(model, (batch for batch in batches))


@case("generator/of tensors with weights", stock=True)
def _(trial):
    batches = [tuple(map(tensor, (A[i : i + 5], B[i : i + 5, :2], uniform(5)))) for i in (0, 5, 10, 15)]
    trial.fit(
        trial.accelerate(mlp(weighted_metrics=["mae"])), (batch for batch in batches * 3), epochs=2, steps_per_epoch=4
    )


def _tf():
    import tensorflow as tf

    return tf


for _name, _change in {
    "batches": lambda data: data.batch(8),
    "drop remainder": lambda data: data.batch(8, drop_remainder=True),
    "shuffled, seeded": lambda data: data.shuffle(20, seed=3).batch(8),
    "repeated": lambda data: data.repeat().batch(8),
    "prefetched and mapped": lambda data: data.batch(5).map(lambda x, y: (2 * x, y)).prefetch(2),
}.items():

    @case(f"tf.data/{_name}", stock=True, backends=("tensorflow",))
    def _(trial, change=_change):
        tf = _tf()
        tf.random.set_seed(2)
        data = change(tf.data.Dataset.from_tensor_slices((A, B[:, :2])))
        steps = {"steps_per_epoch": 3} if data.cardinality().numpy() < 0 else {}
        model = trial.accelerate(mlp(metrics=["mae"]))
        trial.fit(model, data, epochs=3, callbacks=[Recorder()], **steps)
        if not steps:
            trial.evaluate(model, data)
            trial.fit(model, *regression(), validation_data=data)


@case("tf.data/ragged and sparse inputs", backends=("tensorflow",), stock=True)
def _(trial):
    tf = _tf()
    sparse = tf.sparse.from_dense(np.where(A > 0, A, 0))
    inputs = keras.Input((4,), sparse=True)
    trial.fit(trial.accelerate(functional(inputs, layers.Dense(2)(inputs))), sparse, B[:, :2])


@case("arrays/alternating shapes")
def _(trial):
    inputs = keras.Input((None, None, 2))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(3, 3, activation="relu")(inputs))
    model = trial.accelerate(functional(inputs, layers.Dense(2)(x)))
    for n, size in ((20, 5), (13, 7), (20, 5), (9, 7)):
        trial.all(model, numbers(n, size, size, 2), numbers(n, 2))


@case("arrays/alternating dtypes, structures and weights")
def _(trial):
    x, y = regression()
    model = trial.accelerate(mlp(metrics=["mae"], weighted_metrics=["mse"]))
    trial.all(model, x, y)
    trial.all(model, (10 * x).astype("int32"), y, sample_weight=uniform(N))
    trial.all(model, [x], (5 * y).astype("int16"))
    trial.all(model, x, y[:, :1])
    trial.all(model, x, y)


@case("arrays/one-hot of many classes in several batches of predict")
def _(trial):
    model = trial.accelerate(mlp(4, 3, "softmax", loss="categorical_crossentropy"))
    trial.predict(model, A)
    trial.fit(model, A, one_hot(N))
    for n in (1, 7, 8, 9, 16, 20):
        trial.predict(model, A[:n])


@case("arrays/batch shape that is fixed")
def _(trial):
    model = keras.Sequential([keras.Input(batch_shape=(5, 4)), layers.Dense(2)])
    model.compile("sgd", "mse")
    model = trial.accelerate(model)
    trial.all(model, A, B[:, :2], batch_size=5, evaluate={"batch_size": 5}, predict={"batch_size": 5})


@case("arrays/pandas")
def _(trial):
    try:
        import pandas
    except ImportError:
        trial.note("pandas", "isn't installed")
        return
    x, y = pandas.DataFrame(A, columns=list("abcd")), pandas.Series(labels(N))
    trial.all(trial.accelerate(classifier()), x, y)


@case("arrays/sequential of one layer")
def _(trial):
    trial.all(trial.accelerate(sequential((4,), layers.Dense(2), head=0)), A, B[:, :2])
