"""Training, test and prediction steps on PyTorch, traced once and repeated.

Stock Keras runs its layers' Python again in every step and composes its operations from many small ones. Here one step
(forward, loss, gradients, optimizer, metrics) is recorded, with PyTorch's fused operations instead of the layers' own,
and the recording is repeated.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)

from kerasnets import losses
from kerasnets._internal import keras_private
from kerasnets.engine.fallback import warn_once
from kerasnets.engine.labels import check_batch
from kerasnets.engine.layer_patches import view
from kerasnets.engine.source import Arrays, pack_like
from kerasnets.engine.torch.key import StepKey, variables_of
from kerasnets.engine.torch.layers import call_of
from kerasnets.engine.torch.optimizers import constants_of, fused_update
from kerasnets.engine.torch.programs import Programs
from kerasnets.engine.torch.recording import UntraceableError, draws_unseeded, trace


class Engine:
    """Runs a model's steps; the variables hold their state at any time.

    Args:
        model: a compiled Functional or Sequential model; for predictions it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs = Programs()
        self._keys = {kind: StepKey(model, kind) for kind in ("train", "test", "predict")}
        self._untraceable: dict[str, tuple[Any, str]] = {}

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None if it can."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return "torch.distributed is in use"
        rate = keras_private.learning_rate_of(getattr(model, "optimizer", None))
        if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule | keras.Variable):
            return "the learning rate is a Python function"  # to be called at every step
        return None

    @staticmethod
    def put(array: np.ndarray) -> torch.Tensor:
        """`array` as a tensor on the model's device, in the type that stock ``fit`` gives it."""
        return keras.ops.convert_to_tensor(np.require(array, requirements=("C", "W")))

    @staticmethod
    def collects() -> bool:
        """Whether batches that come one by one are collected into blocks: a recorded step gains nothing by it."""
        return False

    def block(self, kind: str, source: Arrays, stock: Callable) -> Callable:
        """A ``train_function``, ``test_function`` or ``predict_function`` that runs the source's next block."""

        def run(_ticks):
            rows, begin, end = source.rows_of_block(self.put)
            leaves = source.leaves(self.put)
            for number, chosen in enumerate(rows[begin:end]):
                batch = [leaf[chosen] for leaf in leaves]
                if number == 0:
                    # The last batch of an epoch is as sure to come again as the others.
                    last = len(chosen) < source.batch_size <= source.n
                    key, step = self._program(kind, source.inputs, batch, at_once=last)
                with torch.no_grad():
                    outputs = step(*batch) if step else self._stock_step(kind, key, source.pack(batch))
            return outputs if kind == "predict" else self.model.get_metrics_result()

        return run

    def batches(self, kind: str, stock: Callable) -> Callable:
        """The same for data that comes batch by batch: a function of a list of one batch."""

        def run(data):
            batch = data[0]
            if kind != "predict":
                check_batch(self.model, batch)
            leaves = [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
            key, step = None, None
            if all(map(_is_dense, leaves)):
                leaves = [leaf.to(_device()).detach().contiguous() for leaf in leaves]
                key, step = self._program(kind, batch, leaves)
            if step is None:
                return self._stock_step(kind, key, batch)
            with torch.no_grad():
                outputs = step(*leaves)
            return outputs if kind == "predict" else self.model.get_metrics_result()

        return run

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, traced for each shape at its first use."""
        programs, device = {}, _device()

        def run(images):
            x = torch.from_numpy(images).to(device)
            if x.shape not in programs:
                programs[x.shape] = self._trace("predict", lambda x: x, [x])
            with torch.inference_mode():
                return keras.ops.convert_to_numpy(programs[x.shape](x))

        return run

    # One step, as it is traced

    def _train_step(self, model, data, constants, optimizer_apart):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = model(x, training=True) if keras_private.takes_training(model) else model(x)
        loss = self._loss(model, x, y, y_pred, weight, training=True)
        variables = model.trainable_variables
        gradients: Sequence[torch.Tensor | None] = ()
        if variables:
            scaled = model.optimizer.scale_loss(loss)
            gradients = torch.autograd.grad(scaled, [v.value for v in variables], allow_unused=True)
        with torch.no_grad():
            self._measure(model, x, y, y_pred, weight, loss.detach())
            if optimizer_apart:  # Keras's own code applies them
                return list(gradients)
            if gradients and not fused_update(model.optimizer, constants, gradients, variables):
                model.optimizer.apply(list(gradients), variables)
        return None

    def _test_step(self, model, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self._predict_step(model, data)
        self._measure(model, x, y, y_pred, weight, self._loss(model, x, y, y_pred, weight, training=False))

    def _predict_step(self, model, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return model(x, training=False) if keras_private.takes_training(model) else model(x)

    def _loss(self, model, x, y, y_pred, weight, training):
        loss = model.loss
        plain = (
            weight is None
            and not model.losses
            and keras_private.compile_record(model).config.get("loss_weights") is None
        )
        indices = torch.is_tensor(y) and torch.is_tensor(y_pred) and y.ndim == 1 and not y.is_floating_point()
        plain = plain and getattr(y_pred, "_keras_mask", None) is None
        if plain and indices and y_pred.ndim == 2 and getattr(loss, "reduction", "") == "mean":
            dtype = getattr(torch, loss.dtype)
            if type(loss) is losses.CrossEntropyLoss or type(loss) is losses.NLLLoss:
                each = loss.class_weights(y_pred.shape[-1])
                y_pred, y = y_pred.to(dtype), y.long()
                if type(loss) is losses.CrossEntropyLoss:
                    return F.cross_entropy(
                        y_pred, y, each, ignore_index=loss.ignore_index, label_smoothing=loss.label_smoothing
                    )
                log_p = torch.log(y_pred) if loss.from_probabilities else y_pred
                return F.nll_loss(log_p, y, each, ignore_index=loss.ignore_index)
        return keras_private.compute_loss(model, x=x, y=y, y_pred=y_pred, sample_weight=weight, training=training)

    def _measure(self, model, x, y, y_pred, weight, loss):
        size = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None).shape[0]
        tracker = keras_private.loss_tracker(model)
        tracker.total.value.add_(loss, alpha=size)
        tracker.count.value.add_(size)
        model.compute_metrics(x, y, y_pred, weight)

    # Programs

    def _program(
        self, kind: str, structure, batch: list[torch.Tensor], at_once: bool = False
    ) -> tuple[Any, Callable | None]:
        """The traced step for batches of these shapes and its key; None where stock Keras's step should run."""
        failed = self._untraceable.get(kind)
        if failed is not None and failed[0] is keras_private.compile_record(self.model):
            return None, None
        state, held = self._keys[kind].get()
        nest = keras.tree.map_structure(lambda leaf: leaf is None, structure)
        key = (kind, repr(nest), tuple((leaf.shape, leaf.dtype) for leaf in batch), state)

        def trace_step():
            return self._trace(kind, lambda *given: pack_like(structure, given), batch)

        try:
            return key, self._programs.get(kind, key, held, trace_step, at_once)
        except UntraceableError as error:
            self._untraceable[kind] = (keras_private.compile_record(self.model), str(error))
            warn_once(f"the step can't be traced ({error})")
            return None, None

    def _trace(self, kind: str, batch_of: Callable, examples: list[torch.Tensor]) -> Callable:
        """The traced step as a function of tensors like `examples`, which `batch_of` packs into a batch."""
        model = self.model
        viewed = view(model, call_of)
        viewed.__dict__["_losses_override"] = []
        step = getattr(self, f"_{kind}_step")
        constants = constants_of(model.optimizer) if kind == "train" else {}

        def traced(apart):
            options = (constants, apart) if kind == "train" else ()
            return trace(lambda *given: step(viewed, batch_of(*given), *options), examples, variables_of(model, kind))

        apart = kind == "train" and _is_untraceable(model.optimizer)
        try:
            program = traced(apart)
        except UntraceableError as error:
            if not draws_unseeded(error):
                if kind != "train" or apart:
                    raise
                apart = True  # it may be the optimizer, or its schedule, that can't be traced
            program = traced(apart)
        if apart:
            variables = model.trainable_variables

            def with_optimizer(*given):
                model.optimizer.apply(program(*given), variables)

            return with_optimizer if variables else program
        return program

    def _stock_step(self, kind: str, key, batch):
        """Keras's own step on a batch of tensors."""
        begin = time.perf_counter()
        if kind == "train":
            with torch.enable_grad():
                outputs = self.model.train_step(batch)
        else:
            with torch.no_grad():
                outputs = getattr(self.model, f"{kind}_step")(batch)
        if key is not None:
            self._programs.spend(key, time.perf_counter() - begin)
        return outputs


#: Two that look at a number that the step computes, and one whose result depends on what PyTorch changes in place.
_UNTRACED = (keras.optimizers.LossScaleOptimizer, keras.optimizers.Nadam, keras.optimizers.ScheduleFreeAdamW)


def _is_untraceable(optimizer) -> bool:
    """Whether an optimizer is known to branch on a number, or to depend on what is changed in place."""
    if isinstance(optimizer, _UNTRACED):
        return True
    return bool(optimizer.gradient_accumulation_steps or (optimizer.use_ema and optimizer.ema_overwrite_frequency))


def _is_dense(leaf) -> bool:
    return torch.is_tensor(leaf) and leaf.layout is torch.strided


def _device() -> torch.device:
    return keras.ops.zeros(()).device
