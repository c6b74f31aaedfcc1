"""A program that uses every public name of kerasnets, for the type checker of nox's lint session.

Run it as: python tests/public_api.py FOLDER
"""

import sys
from pathlib import Path

import keras
import torch

import kerasnets
from kerasnets import data, layers, losses, optimizers, plots, schedules


def choose_where() -> None:
    kerasnets.set_backend("torch" if "torch" in kerasnets.installed_backends() else "jax")
    kerasnets.set_device("cpu")
    kerasnets.backend.set_precision("float32")
    print(kerasnets.backend.backend(), kerasnets.backend.device(), *kerasnets.backend.devices())


def make_optimizers() -> list[optimizers.Optimizer]:
    steps = 94
    step = schedules.StepLR(0.1, step_size=10, gamma=0.1, steps_per_epoch=steps)
    warm_up = schedules.LinearLR(0.1, start_factor=0.5, total_iters=2)
    decay = schedules.SequentialLR([warm_up, schedules.ExponentialLR(0.1, gamma=0.9)], [2], steps_per_epoch=steps)
    drops = schedules.MultiStepLR(1e-3, milestones=[3, 6], steps_per_epoch=steps)
    chosen = schedules.LambdaLR(1e-3, lambda epoch: 0.9**epoch, epochs=5, steps_per_epoch=steps)
    cosine = schedules.CosineAnnealingLR(0.01, T_max=5, steps_per_epoch=steps)
    start = schedules.ConstantLR(2e-3, factor=0.5, total_iters=3, steps_per_epoch=steps)
    line = schedules.PolynomialLR(1e-3, total_iters=5, power=0.9, steps_per_epoch=steps)
    waves = schedules.CyclicLR(1e-3, 1e-2, step_size_up=100, mode="triangular2")
    products = schedules.MultiplicativeLR(0.02, lambda epoch: 0.95, epochs=5, steps_per_epoch=steps)
    restarts = schedules.CosineAnnealingWarmRestarts(1.0, T_0=2, steps_per_epoch=steps)
    return [
        optimizers.SGD(0.01),
        optimizers.SGD(step, momentum=0.9, weight_decay=1e-4, param_groups=optimizers.no_weight_decay()),
        optimizers.SGD(schedules.OneCycleLR(0.1, total_steps=5 * steps), momentum=0.9, clip_grad_norm=1.0),
        optimizers.Adam(decay),
        optimizers.Adam(lambda: 1e-3, clip_grad_value=0.5),
        optimizers.AdamW(drops, weight_decay=0.05),
        optimizers.RMSprop(chosen),
        optimizers.Adagrad(cosine),
        optimizers.Adadelta(restarts),
        optimizers.NAdam(start, momentum_decay=0.01),
        optimizers.RAdam(line, decoupled_weight_decay=True),
        optimizers.Adamax(waves),
        optimizers.Muon(products, adjust_lr_fn="match_rms_adamw"),
    ]


def make_losses() -> list[keras.losses.Loss]:
    return [
        losses.CrossEntropyLoss(weight=[1.0] * 10, ignore_index=-1, label_smoothing=0.1),
        losses.NLLLoss(from_probabilities=True),
        losses.MSELoss(reduction="sum"),
        losses.L1Loss(),
        losses.SmoothL1Loss(beta=0.5),
        losses.HuberLoss(delta=2.0),
        losses.KLDivLoss(reduction="batchmean", log_target=True),
        losses.BCELoss(weight=[0.5, 2.0]),
        losses.BCEWithLogitsLoss(pos_weight=[3.0]),
    ]


def make_layers() -> list[object]:
    return [
        layers.Flatten(),
        layers.Linear(10, torch_name="fc1", bias_initializer=kerasnets.initializers.FanInUniform(784, seed=0)),
        layers.Conv2D(8, 3, padding=1),
        layers.BatchNormalization(axis=1, momentum=0.2),
        layers.LeakyReLU(0.1),
        layers.Conv1D(8, 3, padding=1),
        layers.Conv2DTranspose(8, 4, strides=2, padding=1),
        layers.Embedding(100, 8, padding_idx=0, embeddings_initializer=kerasnets.initializers.StandardNormal(seed=0)),
        layers.GroupNormalization(4),
        layers.LayerNormalization(axis=(-2, -1)),
        layers.LSTM(8, torch_layer=1),
        layers.GRU(8, return_sequences=True),
        layers.PReLU(num_parameters=1),
        layers.MultiHeadAttention(2, 4, kernel_initializer=kerasnets.initializers.XavierUniform(seed=0)),
    ]


def train_a_network(folder: Path) -> None:
    (x, y), (x_test, y_test) = kerasnets.load_data("fashion_mnist_sample", download=False, dtype="float32")
    model = kerasnets.build("NeuralNetwork", seed=42, hidden=(64, 32))
    model.compile(
        optimizer=optimizers.SGD(schedules.StepLR(0.1, step_size=1, steps_per_epoch=94), momentum=0.9),
        loss=losses.CrossEntropyLoss(),
        metrics=["accuracy"],
    )
    log = kerasnets.callbacks.EpochLog()
    history = model.fit(x, y, batch_size=64, epochs=2, validation_data=(x_test, y_test), seed=0, callbacks=[log])
    print([epoch["seconds"] for epoch in log.epochs], kerasnets.batches.epoch_order(len(x), seed=0, epoch=0)[:5])
    model.save(folder / "model.keras")
    model = kerasnets.accelerate(kerasnets.load_model(folder / "model.keras"), trust=True)

    predict = kerasnets.predictor(model)
    label = int(predict(x_test[0]).argmax())
    print(data.class_names("fashion_mnist_sample")[label])

    scores = predict(x_test)
    names = data.class_names("fashion_mnist")
    pictures = [
        plots.show_images(x_test, y_test, class_names=names),
        plots.predictions(x_test, y_test, scores, class_names=names, lang="zh"),
        plots.confusion_matrix(y_test, scores, class_names=names, normalize=False),
        plots.learning_curves(history),
        plots.architecture(model),
        plots.weights(model, n=8),
        plots.activation("relu"),
        plots.comparison([{"epochs": 1}, {"epochs": 2}], [80.0, 85.0]),
        plots.bars({"seconds per epoch": {"torch": 1.5, "jax": 1.4}}),
        plots.neuron(3),
        plots.layered_network([4, 3, 2]),
        plots.gradient_descent([0.05, 0.6]),
    ]
    for number, picture in enumerate(pictures):
        picture.savefig(folder / f"{number}.png")


def exchange_with_pytorch(folder: Path) -> None:
    original = kerasnets.originals.build("ConvNeuralNetwork", dropout=0.0)
    names = [name for name, _ in original.named_parameters()]
    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    model = kerasnets.build("ConvNeuralNetwork")
    model.compile(optimizer=optimizers.Adam(schedules.ExponentialLR(1e-3, 0.9)), loss=losses.CrossEntropyLoss())
    result = kerasnets.load_state_dict(model, original.state_dict())
    print(result.missing_keys, result.unexpected_keys, *kerasnets.state_dict(model))
    model.fit(x[:64], y[:64], verbose=0)
    kerasnets.save_state_dict(model, folder / "weights.safetensors")
    kerasnets.load_state_dict(model, str(folder / "weights.safetensors"), strict=False)

    state, scheduler = kerasnets.optimizer_state_dict(model, names), kerasnets.scheduler_state_dict(model)
    kerasnets.load_optimizer_state_dict(model, state, names, scheduler=scheduler)


def compare_a_port(folder: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    model = keras.Sequential([keras.Input((4,)), layers.Linear(8), keras.layers.ReLU(), layers.Linear(3)])
    x = [[float(i * j % 5) for i in range(4)] for j in range(3)]
    report = kerasnets.compare(
        module, model, x, [0, 1, 2], loss=(torch.nn.CrossEntropyLoss(), losses.CrossEntropyLoss())
    )
    print(report.same, report.first, report.text(matches=False))
    report.save_json(folder / "report.json")
    report.plot().savefig(folder / "report.png")
    kerasnets.assert_same(module, model, x, ignore=["initial weights"])


def run_recipes(folder: Path) -> None:
    recipe = kerasnets.recipes.find("NeuralNetwork", "fashion_mnist_sample").replace(epochs=1)
    plateau = schedules.ReduceLROnPlateau(monitor="loss", patience=1)
    result = kerasnets.train(recipe, seed=1, out=folder / "training", verbose=0, callbacks=[plateau])
    print(f"{result.test_accuracy:.2f} %", *kerasnets.list_networks())

    swept = kerasnets.sweep(recipe, {"learning_rate": [0.1, 0.01]}, out=folder / "sweep", workers=2, progress=False)
    print(swept, swept.recipe == kerasnets.recipes.load(folder / "sweep" / "best.json"), *swept.draw("en"))

    (x, y), _ = kerasnets.load_data("fashion_mnist_sample")
    model = kerasnets.networks.build("Network2", form="named")
    assert isinstance(result.model, kerasnets.models.Model)
    minimum = kerasnets.lbfgs.minimize(
        model, losses.NLLLoss(from_probabilities=True), x[:100], y[:100], max_iterations=2
    )
    print(minimum.losses, minimum.converged)
    plots.view_classify(x[0], kerasnets.predictor(model)(x[0])).savefig(folder / "view.png")
    test = kerasnets.training.compile_recipe(recipe).evaluate(x[:100], y[:100], verbose=0, return_dict=True)
    print(kerasnets.training.percent(test["accuracy"]))


def main() -> None:
    folder = Path(sys.argv[1])
    choose_where()
    print(len(make_optimizers()), len(make_losses()), len(make_layers()))
    train_a_network(folder)
    exchange_with_pytorch(folder)
    compare_a_port(folder)
    run_recipes(folder)


if __name__ == "__main__":
    main()
