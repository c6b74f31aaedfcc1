"""One training step on PyTorch as a flat list of operations.

Stock Keras runs its layers' Python again in every step, and composes its operations from many small ones. Here the
step (forward, loss, gradients, optimizer, metrics) is run once on fake tensors by PyTorch's tracer ``make_fx``, with
PyTorch's fused operations in place of the layers' own, and what it recorded is repeated on the real variables: no
layers, no autograd. On a GPU the list is captured as a CUDA graph, one launch a step.
"""

import json
from collections.abc import Callable, Sequence

import keras
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own name for it)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from kerasnets import layers, losses, optimizers
from kerasnets.accelerate.layers import in_place_of_layers, pools_before_relu
from kerasnets.accelerate.programs import Programs, parts, variables_of

#: Operations that give their input itself, which only autograd needs.
_SAME = (torch.ops.aten.alias.default, torch.ops.aten.detach.default)


class Engine:
    """Runs a model's steps; the variables hold their state at any time.

    Args:
        model: a compiled Functional or Sequential model; for :meth:`predict` it need not be compiled.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._programs = Programs()

    @staticmethod
    def why_not(model: keras.Model) -> str | None:
        """What of `model` this engine can't run; None: it can."""
        for layer in model._flatten_layers():
            seeds = getattr(layer, "seed_generator", None)
            if seeds is not None and seeds._initial_seed is not None:
                return f"the layer {layer.name!r} draws its random numbers from a seed of its own"
            if isinstance(layer, keras.layers.RNN):
                return f"the layer {layer.name!r} is recurrent"
        rate = getattr(getattr(model, "optimizer", None), "_learning_rate", None)
        if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule | keras.Variable):
            return "the learning rate is a Python function"  # to be called at every step
        return None

    def put(self, array) -> torch.Tensor:
        """`array` on the model's device; floats in Keras's float type, as in stock ``fit``."""
        if isinstance(array, np.ndarray):
            array = np.require(array, requirements=("C", "W"))
        tensor = torch.as_tensor(array)
        dtype = getattr(torch, keras.config.floatx()) if tensor.is_floating_point() else tensor.dtype
        return tensor.to(_device(), dtype)

    def train(self, data: Sequence, rows: torch.Tensor, begin: int, end: int) -> None:
        """Take training steps.

        Args:
            data: images, labels and weights of the examples (or None), as :meth:`put` gives them, each a nest.
            rows: int64 ``(steps, batch)``: which examples each step sees.
            begin: the first step.
            end: the step after the last.
        """
        self._run("train", data, rows, begin, end)

    def test(self, data: Sequence, rows: torch.Tensor, begin: int, end: int) -> None:
        """Update the metrics by the batches `begin` to `end` (exclusive)."""
        self._run("test", data, rows, begin, end)

    def predict(self, data: Sequence, rows: torch.Tensor, index: int):
        """The outputs for batch number `index`."""
        return self._run("predict", data, rows, index, index + 1)

    def prepare(self, kind: str, data: Sequence, rows: torch.Tensor) -> None:
        """Trace the step now, so that what can't be traced fails before anything has begun."""
        self._program(kind, data, rows)

    def forward(self) -> Callable:
        """A function of a NumPy batch of inputs to the NumPy outputs, traced for each shape at its first use."""
        programs = {}

        def run(images):
            x = torch.from_numpy(images).to(device)
            if x.shape not in programs:
                variables = list(self.model.variables)
                programs[x.shape] = self._trace(lambda x: self._predict_step(x, None, None), [x], variables)
            with torch.inference_mode():
                return keras.ops.convert_to_numpy(programs[x.shape](x))

        device = _device()
        return run

    def _run(self, kind, data, rows, begin, end):
        step = self._program(kind, data, rows)
        outputs = None
        with torch.no_grad():
            for i in range(begin, end):
                outputs = step(rows[i])
        return outputs

    # One step, as it is traced

    def _train_step(self, x, y, weight):
        model = self.model
        y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
        loss = self._loss(x, y, y_pred, weight, training=True)
        variables = model.trainable_variables
        scaled = model.optimizer.scale_loss(loss)
        gradients = torch.autograd.grad(scaled, [v.value for v in variables], allow_unused=True)
        with torch.no_grad():
            if not _update(model.optimizer, self._constants, gradients, variables):
                model.optimizer.apply(list(gradients), variables)
            self._measure(x, y, y_pred.detach() if torch.is_tensor(y_pred) else y_pred, weight, loss.detach())

    def _test_step(self, x, y, weight):
        y_pred = self._predict_step(x, y, weight)
        loss = self._loss(x, y, y_pred, weight, training=False)
        self._measure(x, y, y_pred, weight, loss)

    def _predict_step(self, x, y, weight):
        return self.model(x, training=False) if self.model._call_has_training_arg else self.model(x)

    def _loss(self, x, y, y_pred, weight, training):
        model, loss = self.model, self.model.loss
        plain = weight is None and not model.losses and model._compile_config.config.get("loss_weights") is None
        indices = torch.is_tensor(y) and torch.is_tensor(y_pred) and y.ndim == 1 and not y.is_floating_point()
        plain = plain and type(model).compute_loss is keras.Model.compute_loss
        if plain and indices and y_pred.ndim == 2 and getattr(loss, "reduction", "") == "mean":
            dtype = getattr(torch, loss.dtype)
            if type(loss) is losses.CrossEntropyLoss or type(loss) is losses.NLLLoss:
                each = loss._class_weight(y_pred.shape[-1])
                y_pred, y = y_pred.to(dtype), y.long()
                if type(loss) is losses.CrossEntropyLoss:
                    return F.cross_entropy(
                        y_pred, y, each, ignore_index=loss.ignore_index, label_smoothing=loss.label_smoothing
                    )
                log_p = torch.log(y_pred) if loss.from_probabilities else y_pred
                return F.nll_loss(log_p, y, each, ignore_index=loss.ignore_index)
        return model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight, training=training)

    def _measure(self, x, y, y_pred, weight, loss):
        size = keras.tree.flatten(x)[0].shape[0]
        tracker = self.model._loss_tracker
        tracker.total.value.add_(loss, alpha=size)
        tracker.count.value.add_(size)
        self.model.compute_metrics(x, y, y_pred, weight)

    # Tracing

    def _program(self, kind: str, data: Sequence, rows: torch.Tensor) -> Callable:
        """One traced step on `data`, as a function of its batch's rows."""
        self._constants = _constants(self.model.optimizer) if kind == "train" else None
        leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
        variables = variables_of(self.model, kind)
        trainable, objects = parts(self.model, kind)
        key = (
            trainable,
            tuple(part is None for part in keras.tree.flatten(data)),
            # A CUDA graph reads and writes where it did when it was captured; a single batch is copied there.
            tuple((t.shape, t.dtype, t.data_ptr() if t.is_cuda and len(t) > rows.shape[1] else 0) for t in leaves),
            tuple(v.value.data_ptr() for v in variables),
            json.dumps(self._constants, default=str),
        )

        def step(chosen, *leaves):
            rest = iter(leaves)
            return getattr(self, f"_{kind}_step")(
                *keras.tree.map_structure(lambda a: None if a is None else next(rest)[chosen], list(data))
            )

        program = self._programs.get(
            (kind, rows.shape[1]), key, objects, lambda: self._trace(step, [rows[0], *leaves], variables)
        )
        return lambda chosen: program(chosen, *leaves)

    def _trace(self, step: Callable, examples: list[torch.Tensor], variables: list) -> Callable:
        """`step` of tensors like `examples` as a list of operations on the variables' own values."""

        def run(*tensors):
            given, state = tensors[: len(examples)], tensors[len(examples) :]
            with keras.StatelessScope(list(zip(variables, state, strict=True)), collect_losses=True) as scope:
                outputs = step(*given)
                changed = [(old, scope.get_current_value(v)) for v, old in zip(variables, state, strict=True)]
            with torch.no_grad():
                for old, new in changed:
                    if new is not old:
                        old.copy_(new)
            return outputs

        values = [v.value for v in variables]
        with in_place_of_layers(self.model, _call_of, pools_before_relu(self.model)):
            module = make_fx(run, tracing_mode="fake")(*examples, *values)
        graph = module.graph
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target in _SAME:
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)
        _add_gradients_to_velocities(graph)
        graph.eliminate_dead_code()
        graph.lint()
        module.recompile()
        forward = module.forward
        if examples[0].is_cuda:
            return _captured(forward, examples, values)
        return lambda *given: forward(*given, *values)


def _add_gradients_to_velocities(graph: torch.fx.Graph) -> None:
    """Let the product that gives a weight's gradient add it to the momentum's velocity, v ← μ·v + xᵀ·g, at once.

    Small networks spend a third of a step in the memory traffic of their update; this saves a write and a read of the
    gradients. ``_fused_sgd_`` without momentum then takes the step with the velocity as its gradient.
    """
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is not aten._fused_sgd_.tensor_lr:
            continue
        options = node.kwargs
        if not options["momentum"] or any(
            options[name] for name in ("weight_decay", "dampening", "nesterov", "maximize")
        ):
            continue
        merged, others = [], []
        for entry in zip(*node.args, strict=True):
            gradient = entry[1]
            is_product = gradient.target is aten.mm.default and len(gradient.users) == 1
            (merged if is_product else others).append(entry)
        for _, product, velocity in merged:
            with graph.inserting_before(product):
                graph.call_function(aten.addmm_.default, (velocity, *product.args), {"beta": options["momentum"]})
        with graph.inserting_before(node):
            if merged:
                values, _, velocities = map(list, zip(*merged, strict=True))
                graph.call_function(node.target, (values, velocities, []), {**options, "momentum": 0.0})
            if others:
                graph.call_function(node.target, tuple(map(list, zip(*others, strict=True))), options)
        graph.erase_node(node)


def _device() -> torch.device:
    return keras.ops.zeros(()).device


def _captured(forward: Callable, examples: list[torch.Tensor], values: list[torch.Tensor]) -> Callable:
    """`forward` as a CUDA graph, a function of `examples`; state and random numbers are left as they were.

    Of the examples the rows and single batches are copied to where the graph reads them, and data sets are not.
    The first calls outside the capture let cuDNN and cuBLAS choose their algorithms and allocate, as the notes on CUDA
    graphs in PyTorch's documentation ask for.
    """
    before, generator = [value.clone() for value in values], torch.cuda.get_rng_state()
    size = len(examples[0])
    own = [example.clone() if len(example) == size else example for example in examples]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(3):
            forward(*own, *values)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        with torch.cuda.graph(graph):
            outputs = forward(*own, *values)
        for value, old in zip(values, before, strict=True):
            value.copy_(old)
    torch.cuda.set_rng_state(generator)

    def replay(*given):
        for kept, new in zip(own, given, strict=True):
            if len(kept) == size:
                kept.copy_(new)
        graph.replay()
        return keras.tree.map_structure(lambda output: output.clone(), outputs)

    return replay


# PyTorch's own operations for layers


def _call_of(layer: keras.Layer) -> Callable | None:
    """A function that does what ``layer.call`` does, by PyTorch's fused operations; None: the layer's own will do."""
    if layer.compute_dtype not in ("float32", "float64", "bfloat16"):
        return None
    kind = type(layer)
    if kind in (layers.Linear, keras.layers.Dense) and layer.quantization_mode is None and not layer.lora_enabled:
        return lambda x, training=None: _dense(layer, x)
    if kind in (layers.Conv2D, keras.layers.Conv2D) and not layer.lora_enabled:
        simple = layer.padding == "valid" or (layer.padding == "same" and layer.strides == (1, 1))
        return (lambda x: _conv(layer, x)) if simple else None
    if kind is layers.BatchNormalization and layer.compute_dtype == layer.variable_dtype:
        return lambda x, training=None: _batch_norm(layer, x, training)
    if kind is keras.layers.MaxPooling2D and layer.padding == "valid":
        return lambda x: _channels_first(
            layer.data_format, x, lambda x: F.max_pool2d(x, layer.pool_size, layer.strides)
        )
    return None


def _channels_first(data_format: str, x, function: Callable):
    """`function` of feature maps as PyTorch has them; in memory the channels are last throughout."""
    if data_format == "channels_last":
        return function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return function(x.contiguous(memory_format=torch.channels_last))


def _dense(layer, x):
    if layer.bias is None:
        x = torch.matmul(x, layer.kernel.value)
    elif x.ndim == 2:
        x = torch.addmm(layer.bias.value, x, layer.kernel.value)
    else:
        x = torch.matmul(x, layer.kernel.value) + layer.bias.value
    return x if layer.activation is None else layer.activation(x)


def _conv(layer, x):
    border = getattr(layer, "_border", None)
    bias = None if layer.bias is None else layer.bias.value
    x = _channels_first(
        layer.data_format,
        x,
        lambda x: F.conv2d(
            x,
            layer.kernel.value.permute(3, 2, 0, 1),
            bias,
            stride=layer.strides,
            padding=layer.padding if border is None else border,
            dilation=layer.dilation_rate,
            groups=layer.groups,
        ),
    )
    return x if layer.activation is None else layer.activation(x)


def _batch_norm(layer, x, training):
    def normalise(x):
        return F.batch_norm(
            x,
            layer.moving_mean.value,
            layer.moving_variance.value,
            None if layer.gamma is None else layer.gamma.value,
            None if layer.beta is None else layer.beta.value,
            training=bool(training and layer.trainable),
            momentum=layer.momentum,
            eps=layer.epsilon,
        )

    if x.ndim == 4:
        last = layer.axis in (-1, 3)
        return _channels_first("channels_last" if last else "channels_first", x, normalise)
    return normalise(x) if x.ndim == 2 else type(layer).call(layer, x, training)


# PyTorch's own optimizers


def _constants(optimizer) -> dict:
    """What a traced step has as constants: the optimizer's arguments but the learning rate, which is a variable."""
    config = optimizer.get_config()
    return config if isinstance(config["learning_rate"], dict) else {**config, "learning_rate": None}


_KERAS_OPTIONS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


def _update(optimizer, constants, gradients, variables) -> bool:
    """Take a step by PyTorch's fused kernels in the optimizer's own variables; False where it has rules they lack."""
    kind = type(optimizer)
    if kind not in (optimizers.SGD, optimizers.Adam, optimizers.AdamW) or any(g is None for g in gradients):
        return False
    if any(getattr(optimizer, name) for name in _KERAS_OPTIONS) or optimizer._groups or any(optimizer._excluded):
        return False
    if optimizer.clip_grad_norm is not None or optimizer.clip_grad_value is not None:
        return False
    if optimizers._moves_momentum(optimizer._learning_rate) or any(v.constraint is not None for v in variables):
        return False
    rate = keras.ops.convert_to_tensor(optimizer.learning_rate)
    # The kernels go through memory from end to end: a kernel's gradient has to lie there as the kernel does.
    gradients = [gradient.contiguous() for gradient in gradients]
    values = [v.value for v in variables]
    states = [optimizer.state_of(v) for v in variables]

    def state(name):
        return [s[name].value for s in states] if name in states[0] else []

    common = {"weight_decay": optimizer.weight_decay, "maximize": optimizer.maximize, "lr": rate, "fused": True}
    if kind is optimizers.SGD:
        if optimizer.dampening:
            return False
        sgd(
            values,
            gradients,
            state("momentum_buffer") or [None] * len(values),
            momentum=constants["momentum"],
            dampening=0.0,
            nesterov=optimizer.nesterov,
            **common,
        )
    else:
        step = optimizer.iterations.value.to(torch.float32)
        adam(
            values,
            gradients,
            state("exp_avg"),
            state("exp_avg_sq"),
            state("max_exp_avg_sq"),
            list(step.expand(len(values)).clone().unbind()),
            amsgrad=optimizer.amsgrad,
            beta1=constants["beta_1"],
            beta2=constants["beta_2"],
            eps=optimizer.epsilon,
            decoupled_weight_decay=kind is optimizers.AdamW,
            **common,
        )
    optimizer.iterations.value.add_(1)
    return True
