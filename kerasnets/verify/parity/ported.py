"""Keras's side: the ported network on the active backend."""

import itertools
from typing import Any

import keras
import numpy as np

from kerasnets import layers, schedules, training
from kerasnets._internal.arrays import to_numpy
from kerasnets.interop.optimizer_state import load_optimizer_state_dict
from kerasnets.interop.weights import entries, load_state_dict
from kerasnets.verify.parity.case import Case, Values, list_batches
from kerasnets.verify.parity.original import Original, Run, State, draw_initial_state, score_outputs, select_running


class _Recorder(keras.optimizers.Optimizer):
    """Keeps the gradients and leaves the weights alone: the exact gradients of the backend's own training step."""

    def __init__(self):
        super().__init__(learning_rate=0.0, name="recorder")  # TensorFlow takes no name that begins with "_"

    def build(self, variables):
        super().build(variables)
        self.gradients = self.add_optimizer_variables(variables, "gradient")

    def update_step(self, gradient, variable, learning_rate):
        self.assign(self.gradients[self._get_variable_index(variable)], gradient)


class Ported:
    """The Keras network, compiled as the case says, in Keras's current float type."""

    def __init__(self, case: Case):
        self.case = case
        recipe = case.recipe
        if case.drops:
            rate = schedules.StepLR(recipe.optimizer_options["learning_rate"], **case.drops)
            recipe = recipe.replace(optimizer_options={**recipe.optimizer_options, "learning_rate": rate})
        self.model = training.compile_recipe(recipe)
        self._probe = training.compile_recipe(recipe)
        self._probe.compile(optimizer=_Recorder(), loss=self._probe.loss)

    def load(self, state: State) -> None:
        """Load PyTorch's weights, buffers, optimizer state and schedule."""
        load_state_dict(self.model, state.model)
        load_state_dict(self._probe, state.model)
        names = [name for name in state.model if name.endswith((".weight", ".bias"))]
        kept = state.optimizer
        if kept is None:
            kept = Original(self.case, keras.config.floatx(), state).optimizer.state_dict()
        load_optimizer_state_dict(self.model, kept, names, state.scheduler, iterations=state.steps)

    def weights(self) -> dict[str, np.ndarray]:
        """Weights and running statistics, in PyTorch's names, shapes and orders."""
        return {
            entry.name: entry.to_torch(to_numpy(entry.variable))
            for entry in entries(self.model)
            if entry.variable is not None
        }

    def values(self, x: np.ndarray, y: np.ndarray) -> Values:
        """Take a step on a batch; returns everything it computed or changed."""
        step: dict[str, Any] = {"batch_size": len(x), "shuffle": False, "verbose": 0}
        evaluated = self.model.predict(x, verbose=0)
        self._probe.fit(x, y, **step)
        slots = zip(self._probe.trainable_variables, self._probe.optimizer.gradients, strict=True)
        slot_of = {id(variable): slot for variable, slot in slots}
        gradients = {
            entry.name: entry.to_torch(to_numpy(slot_of[id(entry.variable)]))
            for entry in entries(self._probe)
            if id(entry.variable) in slot_of
        }
        # Not the logged loss, which is float32 on the torch backend.
        outputs = self._probe(x, training=True)
        loss = self.model.loss(y, outputs)
        self.model.fit(x, y, **step)
        weights = self.weights()
        return {
            "outputs": {"in training": to_numpy(outputs), "in evaluation": to_numpy(evaluated)},
            "loss": {"loss": to_numpy(loss)},
            "gradients": gradients,
            "weights": {name: weights[name] for name in gradients},
            "buffers": select_running(weights),
        }

    def train(self, arrays, steps: int) -> Run:
        """Train with ``fit`` for `steps` steps, from PyTorch's initial weights."""
        (x, y), test = arrays
        self.load(draw_initial_state(self.case))
        losses: list[float] = []
        log = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])))
        for epoch in list_batches(len(x), self.case, steps):
            order = np.concatenate(epoch)
            self.model.fit(x[order], y[order], self.case.recipe.batch_size, shuffle=False, verbose=0, callbacks=[log])
        outputs = self.model.predict(test[0], batch_size=500, verbose=0)
        return Run(losses, self.weights(), *score_outputs(self.case, to_numpy(outputs), test[1]))

    def find_biases_without_gradient(self) -> dict[str, str]:
        """Biases before a batch norm → the name of the batch norm, both by PyTorch's names."""
        found = {}
        for layer, following in itertools.pairwise(self.model.layers):
            if isinstance(following, layers.BatchNormalization):
                found[f"{layer.torch_name}.bias"] = following.torch_name
        return found
