"""Callbacks: Keras's own, those that look at every batch, and those that change something."""

import math

import keras
import numpy as np
from harness import Recorder, case
from keras import callbacks, layers
from parts import XLA, classification, classifier, mlp, numbers, regression, sequential

import kerasnets

N = 20


def run(name, make, epochs=4, build=mlp, after=None, **options):
    """A case of a fit with the callbacks that `make(trial, model)` gives."""
    fit = {k: options.pop(k) for k in ("validation_split", "batch_size", "validation_freq") if k in options}

    @case(f"callback/{name}", **options)
    def _(trial):
        model = trial.accelerate(build())
        made = make(trial, model)
        trial.fit(model, *regression(), epochs=epochs, callbacks=made, **fit)
        if after:
            after(trial, model, made)
        trial.note("learning rate", float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        trial.evaluate(model, *regression())


# Recorders

run("recorder", lambda trial, model: [Recorder()], validation_split=0.3)
run("recorder, single object", lambda trial, model: [Recorder(), Recorder()], batch_size=3)


@case("callback/recorder of all methods")
def _(trial):
    model = trial.accelerate(classifier())
    x, y = classification()
    trial.fit(model, x, y, callbacks=[Recorder()], validation_data=(x, y), validation_freq=2, epochs=3)
    trial.evaluate(model, x, y, callbacks=[Recorder()])
    trial.predict(model, x, callbacks=[Recorder()])


@case("callback/callback that isn't in a list")
def _(trial):
    trial.fit(
        trial.accelerate(mlp()), *regression(), callbacks=callbacks.EarlyStopping("loss", min_delta=10.0), epochs=5
    )


@case("callback/list of callbacks as an object")
def _(trial):
    model = trial.accelerate(mlp())
    recorder = Recorder()
    given = callbacks.CallbackList([recorder], add_history=True, model=model, epochs=2, steps=3)
    trial.fit(model, *regression(), callbacks=given)
    trial.note("calls", recorder.calls)


class Only(callbacks.Callback):
    """One method alone, given by its name, that notes what it sees."""

    def __init__(self, name, function):
        super().__init__()
        self.seen = []

        def method(*args, **kwargs):
            self.seen.append(args[:-1] if len(args) > 1 else ())
            function(self.model, *args)

        setattr(self, name, method)


def _note_seen(trial, model, made):
    trial.note("seen", [one.seen for one in made if isinstance(one, Only)])
    trial.note("params", [dict(one.params) for one in made])


for _method in (
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_test_batch_end",
):
    run(
        f"only {_method}",
        lambda trial, model, m=_method: [Only(m, lambda *_: None)],
        after=_note_seen,
        validation_split=0.3,
    )


def _weights_in_batches(trial, model):
    sums = []
    trial.note("sums", sums)
    seen = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: sums.append(float(sum(np.abs(w).sum() for w in model.get_weights())))
    )
    seen.sums = sums
    return [seen]


run(
    "weights read in every batch",
    _weights_in_batches,
    after=lambda trial, model, made: trial.note("sums", made[0].sums),
)


def _weights_in_epochs(trial, model):
    seen = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.sums.append([float(np.abs(w).sum()) for w in model.get_weights()]),
        on_epoch_end=lambda epoch, logs: seen.sums.append(
            [float(np.abs(keras.ops.convert_to_numpy(v)).sum()) for v in model.optimizer.variables]
        ),
    )
    seen.sums = []
    return [seen]


run(
    "weights and optimizer read in every epoch",
    _weights_in_epochs,
    after=lambda trial, model, made: trial.note("sums", made[0].sums),
)


def _evaluating(trial, model):
    seen = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.losses.append(model.evaluate(*regression(), verbose=0, return_dict=True))
    )
    seen.losses = []
    return [seen]


run("evaluate inside", _evaluating, after=lambda trial, model, made: trial.note("losses", made[0].losses))


def _predicting(trial, model):
    seen = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.outputs.append(model.predict(numbers(3, 4), verbose=0))
    )
    seen.outputs = []
    return [seen]


run(
    "predict inside, every batch",
    _predicting,
    epochs=2,
    after=lambda trial, model, made: trial.note("outputs", made[0].outputs),
)

# Keras's

run("early stopping", lambda trial, model: [callbacks.EarlyStopping("loss", min_delta=0.5)], epochs=8)
run(
    "early stopping, validation, best weights",
    lambda trial, model: [callbacks.EarlyStopping(patience=1, restore_best_weights=True)],
    epochs=8,
    validation_split=0.3,
)
run(
    "early stopping, start from",
    lambda trial, model: [callbacks.EarlyStopping("loss", min_delta=0.5, start_from_epoch=3)],
    epochs=8,
)
run(
    "plateau",
    lambda trial, model: [callbacks.ReduceLROnPlateau("loss", factor=0.3, patience=1, min_delta=0.3, cooldown=1)],
    epochs=8,
)
run(
    "kerasnets plateau",
    lambda trial, model: [kerasnets.schedules.ReduceLROnPlateau("loss", factor=0.3, patience=1, threshold=0.3)],
    epochs=8,
    build=lambda: mlp(optimizer=kerasnets.optimizers.SGD(0.1, momentum=0.5)),
)
run(
    "scheduler of one argument", lambda trial, model: [callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))]
)
run(
    "scheduler of two arguments", lambda trial, model: [callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7)]
)
run(
    "terminate on nan",
    lambda trial, model: [callbacks.TerminateOnNaN(), Recorder()],
    build=lambda: mlp(optimizer=keras.optimizers.SGD(1e12)),
)
run(
    "lambda callback",
    lambda trial, model: [
        callbacks.LambdaCallback(
            on_train_begin=lambda logs: trial.note("begun", 1), on_train_end=lambda logs: trial.note("ended", logs)
        )
    ],
)
run(
    "averages swapped in",
    lambda trial, model: [callbacks.SwapEMAWeights(swap_on_epoch=True)],
    build=lambda: mlp(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)),
    validation_split=0.3,
)
run(
    "averages swapped in for evaluation",
    lambda trial, model: [callbacks.SwapEMAWeights()],
    build=lambda: mlp(optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)),
    validation_split=0.3,
)


def _log_lines(trial, model, made):
    trial.note("lines", [line.split(",")[0] for line in (trial.folder / "log.csv").read_text().splitlines()])
    trial.note("head", (trial.folder / "log.csv").read_text().splitlines()[0])


run(
    "csv logger",
    lambda trial, model: [callbacks.CSVLogger(str(trial.folder / "log.csv"))],
    after=_log_lines,
    validation_split=0.3,
)


def _checkpoints(trial, model, made):
    trial.note("files", sorted(path.name for path in trial.folder.rglob("*.h5")))
    for path in sorted(trial.folder.rglob("*.weights.h5")):
        model.load_weights(path)
        trial.note(path.name, model.get_weights())


for _every in (1, 2, 4, 5):
    run(
        f"checkpoint every {_every} batches",
        lambda trial, model, every=_every: [
            callbacks.ModelCheckpoint(
                str(trial.folder / "{epoch}-{batch}.weights.h5"), save_weights_only=True, save_freq=every
            )
        ],
        after=_checkpoints,
        epochs=3,
    )
run(
    "checkpoint every epoch",
    lambda trial, model: [
        callbacks.ModelCheckpoint(str(trial.folder / "{epoch}-{loss:.1f}.weights.h5"), save_weights_only=True)
    ],
    after=_checkpoints,
)
run(
    "checkpoint of the best",
    lambda trial, model: [
        callbacks.ModelCheckpoint(
            str(trial.folder / "best.weights.h5"), save_weights_only=True, save_best_only=True, monitor="val_loss"
        )
    ],
    after=_checkpoints,
    validation_split=0.3,
)


@case("callback/checkpoint of whole models, read back and trained on")
def _(trial):
    model = trial.accelerate(classifier(optimizer=keras.optimizers.SGD(0.1, momentum=0.9)))
    path = str(trial.folder / "model.keras")
    trial.fit(model, *classification(), callbacks=[callbacks.ModelCheckpoint(path)])
    again = keras.models.load_model(path)
    trial.state(again, "read back")
    trial.fit(trial.accelerate(again), *classification())


for _freq in ("epoch", 2):

    @case(f"callback/backup, {_freq}")
    def _(trial, freq=_freq):
        folder = str(trial.folder / "backup")

        class Interrupt(callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if self.model.optimizer.iterations.value == 5:
                    raise InterruptedError

        x, y = regression()
        model = trial.accelerate(mlp())
        try:
            trial.fit(
                model,
                x,
                y,
                epochs=4,
                callbacks=[callbacks.BackupAndRestore(folder, save_freq=freq, delete_checkpoint=False), Interrupt()],
            )
        except InterruptedError:
            trial.note("interrupted", True)
        model = trial.accelerate(mlp())
        trial.fit(model, x, y, epochs=4, callbacks=[callbacks.BackupAndRestore(folder, save_freq=freq), Recorder()])


@case("callback/tensorboard", backends=("tensorflow",))
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(
        model,
        *regression(),
        callbacks=[callbacks.TensorBoard(str(trial.folder / "logs"), update_freq=2, histogram_freq=1)],
        validation_split=0.3,
    )


@case("callback/tensorboard, profiled batches", backends=("tensorflow",))
def _(trial):
    model = trial.accelerate(mlp())
    trial.fit(
        model,
        *regression(),
        callbacks=[callbacks.TensorBoard(str(trial.folder / "logs"), update_freq="batch", write_steps_per_second=True)],
    )


# Those that change something


def changes(name, change, method="on_epoch_begin", build=mlp, **options):
    """A case of a callback that calls `change(model, index)`."""

    def make(trial, model):
        return [callbacks.LambdaCallback(**{method: lambda index, logs: change(model, index)})]

    run(f"changes/{name}", make, build=build, **options)


def _rate(model, index):
    model.optimizer.learning_rate = 0.1 / (1 + index)


changes("learning rate, every epoch", _rate)
changes("learning rate, every batch", _rate, "on_train_batch_begin")
changes("learning rate, after every batch", _rate, "on_train_batch_end")
changes("learning rate by assign", lambda model, i: model.optimizer.learning_rate.assign(0.1 / (1 + i)))
changes(
    "learning rate of kerasnets' SGD", _rate, build=lambda: mlp(optimizer=kerasnets.optimizers.SGD(0.1, momentum=0.9))
)


def _stop(model, index):
    if index == 1:
        model.stop_training = True


changes("stop in the middle of an epoch", _stop, "on_train_batch_end", validation_split=0.3)
changes("stop at the beginning of a batch", _stop, "on_train_batch_begin")
changes("stop at the beginning of an epoch", _stop, "on_epoch_begin", validation_split=0.3)
changes("stop at the end of an epoch", _stop, "on_epoch_end")


def _weights(model, index):
    model.set_weights([0.5 * w for w in model.get_weights()])


changes("weights, every epoch", _weights)
changes("weights, every batch", _weights, "on_train_batch_end")
changes("one weight by assign", lambda model, i: model.layers[0].kernel.assign(model.layers[0].kernel * 0.0 + 0.1))


def _trainable(model, index):
    model.layers[0].trainable = index % 2 == 0


changes("trainable, every epoch", _trainable)


def _optimizer(model, index):
    model.optimizer.momentum = 0.5


changes("momentum of Keras's SGD", _optimizer)
changes(
    "momentum of kerasnets' SGD", _optimizer, build=lambda: mlp(optimizer=kerasnets.optimizers.SGD(0.1, momentum=0.9))
)


def _clip(model, index):
    model.optimizer.clipnorm = 0.01 * (1 + index)


changes("clipnorm", _clip)


def _dropout_rate(model, index):
    model.layers[0].rate = 0.0 if index else 0.5


changes(
    "rate of a dropout",
    _dropout_rate,
    build=lambda: sequential((4,), layers.Dropout(0.5, seed=3), layers.Dense(3), **XLA),
)


def _activation(model, index):
    model.layers[0].activation = keras.activations.relu if index % 2 else keras.activations.tanh


changes("activation", _activation)


def _regularizer(model, index):
    model.layers[0].kernel_regularizer.l2 = keras.ops.convert_to_tensor(0.1 * index)


changes(
    "regularizer's strength", _regularizer, build=lambda: sequential((4,), layers.Dense(3, kernel_regularizer="l2"))
)


def _epsilon(model, index):
    model.layers[0].momentum = 0.1 + 0.2 * index
    model.layers[0].epsilon = 0.1 * (1 + index)


changes(
    "momentum and epsilon of batch norm",
    _epsilon,
    build=lambda: sequential((4,), layers.BatchNormalization(), layers.Dense(3)),
)


def _metrics_reset(model, index):
    model.reset_metrics()


changes("metrics reset in a batch", _metrics_reset, "on_train_batch_end", validation_split=0.3)
changes(
    "iterations",
    lambda model, i: model.optimizer.iterations.assign(100),
    build=lambda: mlp(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))),
)


@case("callback/changes/logs of an epoch")
def _(trial):
    class More(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"] = 2.0 * epoch
            logs["loss"] = math.floor(logs["loss"])

    trial.fit(
        trial.accelerate(mlp()),
        *regression(),
        callbacks=[More(), callbacks.EarlyStopping("rate", mode="min", patience=1)],
        epochs=6,
    )


@case("callback/changes/an error in a batch leaves the weights of that batch", raises=True)
def _(trial):
    class Fail(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise InterruptedError

    model = trial.accelerate(mlp())
    try:
        trial.fit(model, *regression(), callbacks=[Fail()])
    finally:
        trial.state(model, "after the error")


@case("callback/changes/a second fit inside")
def _(trial):
    model = trial.accelerate(mlp())
    inside = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: other.fit(*regression(), epochs=1, verbose=0, shuffle=False)
    )
    other = trial.accelerate(mlp())
    trial.fit(model, *regression(), callbacks=[inside])
    trial.state(other, "other")


@case("callback/changes/train_on_batch inside")
def _(trial):
    model = trial.accelerate(mlp())
    x, y = regression()
    inside = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.train_on_batch(x[:5], y[:5]))
    trial.fit(model, x, y, callbacks=[inside], epochs=3)
