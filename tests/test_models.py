"""What fit, evaluate and predict refuse, before any step, the same on every backend."""

import zipfile

import keras
import numpy as np
import pytest
from small import small_network

import kerasnets


@pytest.fixture
def model():
    return small_network()


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return generator.uniform(-1, 1, (20, 28, 28)).astype("float32"), generator.integers(0, 10, 20)


def with_label(y, value, index=3):
    y = y.copy()
    y[index] = value
    return y


def test_good_arrays_pass(model, arrays):
    x, y = arrays
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=arrays)
    assert len(history.history["loss"]) == 2
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"loss", "accuracy"}
    assert model.predict(x, verbose=0).shape == (20, 10)


@pytest.mark.parametrize("value", [-1, 10, -7])
def test_labels_out_of_range(model, arrays, value):
    x, y = arrays
    before = model.get_weights()
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=rf"target {value} at index 3; expected a class index from 0 to 9"):
            call(x, with_label(y, value), verbose=0)
    with pytest.raises(ValueError, match=f"target {value}"):
        model.fit(x, y, validation_data=(x, with_label(y, value)), verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ignored_labels_pass(model, arrays):
    x, y = arrays
    assert np.isfinite(model.fit(x, with_label(y, -100), verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        [keras.losses.SparseCategoricalCrossentropy()],
    ],
)
def test_labels_out_of_range_with_keras_own_loss(arrays, loss):
    x, y = arrays
    model = kerasnets.build("FashionNetwork", hidden=(4,), output="softmax")
    model.compile(loss=loss)
    with pytest.raises(ValueError, match="target 10 at index 3"):
        model.fit(x, with_label(y, 10), verbose=0)


def test_labels_out_of_range_in_other_wrappings(model, arrays):
    x, y = arrays[0], with_label(arrays[1], 10)
    for images, labels in (([x], y), (x, [y]), ({"image": x}, y)):
        with pytest.raises(ValueError, match="target 10 at index 3"):
            model.fit(images, labels, verbose=0)
    for call in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="target 10 at index 3"):
            call(x, y)


def test_labels_of_the_wrong_kind(model, arrays):
    x, y = arrays
    with pytest.raises(ValueError, match="20 images and no labels"):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"labels have shape \(20, 2\); expected \(20,\) for CrossEntropyLoss"):
        model.fit(x, np.stack([y, y], axis=1), verbose=0)
    with pytest.raises(TypeError, match="labels are a list; expected an array"):
        model.fit(x, y.tolist(), verbose=0)
    model.fit(x, y[:, None], verbose=0)
    model.compile(loss=kerasnets.losses.CrossEntropyLoss(), metrics=["accuracy"])
    model.fit(x, np.eye(10, dtype="float32")[y], verbose=0)


def test_a_loss_that_is_a_class(model, arrays):
    model.compile(loss=kerasnets.losses.CrossEntropyLoss)
    with pytest.raises(TypeError, match=r"expected an object of it: CrossEntropyLoss\(\)"):
        model.fit(*arrays, verbose=0)


@pytest.mark.parametrize("batch_size", [0, -3, 2.5])
def test_bad_batch_size(model, arrays, batch_size):
    with pytest.raises(ValueError, match=f"batch_size: {batch_size}; expected a whole number"):
        model.fit(*arrays, batch_size=batch_size, verbose=0)


def test_an_error_in_the_first_step_leaves_the_weights(model, arrays):
    """What the checks can't see, such as a generator of images of the wrong size, costs no trained weights."""
    x, y = arrays
    before = model.get_weights()

    def batches():
        while True:
            yield x[:4, :5], y[:4]

    with pytest.raises(Exception):  # noqa: B017, PT011 (each backend has its own)
        model.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


def test_wrong_number_of_labels(model, arrays):
    x, y = arrays
    with pytest.raises(ValueError, match="20 images and 19 labels"):
        model.fit(x, y[:-1], verbose=0)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 28, 27), r"\(20, 28, 27\); expected \(n, 28, 28\)"),
        ((28, 28), r"\(28, 28\); expected \(n, 28, 28\)\. A single image needs the batch axis"),
        ((20, 1, 28, 28), r"Leave the channel axis out"),
        ((20, 28, 28, 1), r"Leave the channel axis out"),
        ((20, 784), r"\(20, 784\); expected \(n, 28, 28\)"),
        ((0, 28, 28), "there are no images"),
    ],
)
def test_images_of_the_wrong_shape(model, arrays, shape, message):
    x = np.zeros(shape, "float32")
    for call in (lambda: model.fit(x, arrays[1], verbose=0), lambda: model.predict(x, verbose=0)):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex64", "U3", "object"])
def test_images_of_the_wrong_type(model, arrays, dtype):
    x = np.zeros((20, 28, 28), dtype)
    with pytest.raises(TypeError, match="expected floats in"):
        model.fit(x, arrays[1], verbose=0)


def test_raw_pixels_get_the_way_out(model):
    with pytest.raises(TypeError, match=r"x\.astype\('float32'\) / 127\.5 - 1"):
        model.predict(np.zeros((2, 28, 28), "uint8"))


@pytest.mark.parametrize("epochs", [0, -1, "3"])
def test_no_epochs(model, arrays, epochs):
    with pytest.raises(ValueError, match=f"epochs: {epochs!r}; expected a whole number ≥ 1"):
        model.fit(*arrays, epochs=epochs)


@pytest.mark.parametrize("accelerate", [True, False])
def test_no_loss(accelerate):
    """Stock Keras trains nothing on JAX, and says that the loss is 0."""
    x, y = np.ones((8, 3), "float32"), np.zeros(8, "int64")

    def small(**options):
        model = kerasnets.models.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False, **options)])
        model.compile("sgd", loss=None, metrics=["accuracy"])
        return model

    for call in ("fit", "evaluate"):
        with pytest.raises(ValueError, match="No loss to compute"):
            getattr(small(), call)(x, y, verbose=0, accelerate=accelerate)
    with pytest.raises(ValueError, match="No loss to compute"):
        small().train_on_batch(x, y)
    regularised = small(kernel_regularizer="l2")
    assert regularised.fit(x, y, verbose=0, accelerate=accelerate).history["loss"][0] > 0


def test_a_last_batch_of_one_image_under_batch_norm():
    model = kerasnets.build("ConvNeuralNetwork", filters=(2,), hidden=(3,))
    model.compile(optimizer=kerasnets.optimizers.SGD(), loss=kerasnets.losses.CrossEntropyLoss())
    x, y = np.zeros((17, 28, 28), "float32"), np.zeros(17, "int64")
    with pytest.raises(
        ValueError, match=r"17 images in batches of 8 leave one image for the last batch.*batch_norm_fc1"
    ):
        model.fit(x, y, batch_size=8, verbose=0)
    model.fit(x, y, batch_size=5, verbose=0)


def test_tensors_and_generators_pass_through(model, arrays):
    x, y = arrays
    model.fit(keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y), verbose=0)

    def batches():
        while True:
            yield x[:4], y[:4]

    assert len(model.fit(batches(), steps_per_epoch=2, shuffle=False, verbose=0).history["loss"]) == 1


def test_summary_and_callbacks(model, arrays, tmp_path, capsys):
    model.summary()
    assert model.layers[-1].name in capsys.readouterr().out
    path = tmp_path / "best.keras"
    model.fit(
        *arrays,
        epochs=3,
        verbose=0,
        validation_split=0.2,
        callbacks=[
            keras.callbacks.ModelCheckpoint(path, save_best_only=True),
            keras.callbacks.EarlyStopping(patience=2),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )
    assert kerasnets.load_model(path).predict(arrays[0], verbose=0).shape == (20, 10)


def test_a_loaded_model_goes_on_and_still_checks(model, arrays, tmp_path):
    x, y = arrays
    model.fit(x, y, verbose=0, shuffle=False)
    model.save(tmp_path / "m.keras")
    loaded = kerasnets.load_model(tmp_path / "m.keras")
    loaded.fit(x, y, verbose=0, shuffle=False)
    model.fit(x, y, verbose=0, shuffle=False)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match="target 99"):
        loaded.fit(x, with_label(y, 99), verbose=0)


def test_load_model_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such"):
        kerasnets.load_model(tmp_path / "no-such.keras")


def replace_in_zip(path, name, change):
    """Write the archive again, with the file `name` in it as `change` of its bytes; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        contents = {each: archive.read(each) for each in archive.namelist()}
    contents[name] = change(contents[name])
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in contents.items():
            if content is not None:
                archive.writestr(each, content)


def cut(content):
    return content[: len(content) // 2]


def flip_in_weights(path):
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)


H5 = "model.weights.h5"
DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "not a zip file"),
    "cut": (lambda path: path.write_bytes(cut(path.read_bytes())), "not a zip file"),
    "last byte": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not a zip file"),
    "text": (lambda path: path.write_text("hello"), "not a zip file"),
    "bit": (flip_in_weights, f"{H5} in it is damaged"),
    "no config": (
        lambda path: replace_in_zip(path, "config.json", lambda content: None),
        "no item named 'config.json'",
    ),
    "half a config": (lambda path: replace_in_zip(path, "config.json", cut), "JSONDecodeError"),
    "config of nothing": (lambda path: replace_in_zip(path, "config.json", lambda content: b"null"), "but got None"),
    "no weights": (lambda path: replace_in_zip(path, H5, lambda content: None), f"Expected a {H5}"),
    "half the weights": (lambda path: replace_in_zip(path, H5, cut), "truncated file"),
    "unknown layer": (
        lambda path: replace_in_zip(path, "config.json", lambda content: content.replace(b"Linear", b"Nonsense")),
        r"\(TypeError: Could not locate class 'Nonsense'\. Make sure custom classes .* trying to load them\.\)",
    ),
    "unknown model": (
        lambda path: replace_in_zip(path, "config.json", lambda content: content.replace(b"Sequential", b"Nonsense")),
        r"\(TypeError: Could not locate class 'Nonsense'\. Make sure custom classes .* trying to load them\.\)",
    ),
    "unknown argument": (
        lambda path: replace_in_zip(path, "config.json", lambda content: content.replace(b'"units"', b'"sizes"')),
        "missing 1 required positional argument",
    ),
    "a smaller layer": (
        lambda path: replace_in_zip(
            path, "config.json", lambda content: content.replace(b'"units": 10', b'"units": 9')
        ),
        r"shape",
    ),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "folder|directory|denied"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_file_is_named(damage, model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    change, words = DAMAGE[damage]
    change(path)
    with pytest.raises(ValueError, match=words) as caught:
        kerasnets.load_model(path)
    assert str(caught.value).startswith(f"The model {str(path)!r} can't be loaded (")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["model.h5", "model.bin", "folder"])
def test_other_files_are_no_models(name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.h5").write_text("hello")
    (tmp_path / "model.bin").write_text("hello")
    with pytest.raises(ValueError, match=f"{name}' can't be loaded"):
        kerasnets.load_model(tmp_path / name)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_load_model_lets_other_errors_through(error, model, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise error

    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(keras.models, "load_model", fail)
    with pytest.raises(error):
        kerasnets.load_model(tmp_path / "model.keras")


def test_compilation_is_decided_where_the_model_is_loaded(tmp_path):
    """What "auto" came to stays here: True on JAX would be torch.compile on torch, False from torch is slow on JAX."""
    for given in ({}, {"jit_compile": "auto"}, {"jit_compile": False}, {"jit_compile": True}):
        model = kerasnets.build("Network2")
        model.compile(optimizer=kerasnets.optimizers.SGD(0.01), loss=kerasnets.losses.NLLLoss(), **given)
        assert model.get_compile_config()["jit_compile"] == given.get("jit_compile", "auto")
        model.save(tmp_path / "model.keras")
        loaded = kerasnets.load_model(tmp_path / "model.keras")
        assert loaded.jit_compile == model.jit_compile
        assert loaded.get_compile_config() == model.get_compile_config()
        assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
