"""Recipes: the tutorials' numbers, what a change does to them, and their form in JSON."""

import json

import keras
import numpy as np
import pytest

import kerasnets
from kerasnets import schedules
from kerasnets.training import recipes

pytestmark = pytest.mark.once


def test_recipes_hold_the_tutorials_results():
    """The numbers are from the tutorials, section by section."""
    accuracies = {(r.network, r.dataset): r.document_accuracy for r in recipes.RECIPES if r.document_accuracy}
    assert accuracies == {
        ("NeuralNetwork", "mnist"): 97.45,
        ("NeuralNetwork", "fashion_mnist"): 87.60,
        ("NeuralNetwork_v1", "fashion_mnist"): 87.0,
        ("ConvNeuralNetwork", "fashion_mnist"): 91.53,
    }
    assert recipes.find("FashionNetwork").document_train_loss == 0.2596
    assert {recipe.network for recipe in recipes.RECIPES} == set(kerasnets.list_networks())


def test_find_moves_a_recipe_to_another_data_set_without_the_tutorials_result():
    assert recipes.find("NeuralNetwork", "fashion_mnist").document_accuracy == 87.60
    assert recipes.find("NeuralNetwork", "fashion_mnist_sample").document_accuracy is None
    dropout = recipes.find("FashionNetwork", "fashion_mnist", {"dropout": 0.25})
    assert dropout in recipes.RECIPES
    assert recipes.find("FashionNetwork", "mnist", {"dropout": 0.5}).options == {"dropout": 0.5}
    with pytest.raises(ValueError, match="network 'Nets'; expected one of 'NeuralNetwork'"):
        recipes.find("Nets")


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": -1}])
def test_recipes_refuse_less_than_one(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=f"Invalid {name}: {value}; expected a whole number ≥ 1"):
        recipes.find("Net").replace(**change)


def test_a_change_drops_the_tutorials_results():
    recipe = recipes.find("FashionNetwork")
    assert recipe.replace(epochs=recipe.epochs) == recipe
    assert recipe.replace(epochs=3).document_train_loss is None
    assert recipe.replace(epochs=3, document_train_loss=0.3).document_train_loss == 0.3


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda r: f"{r.name}-{r.dataset}")
def test_without_dropout_a_network_computes_the_same_in_training(recipe):
    network = kerasnets.build(recipe.network, **recipes.remove_dropout(recipe).network_options)
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout) and layer.rate] == []


def test_json_holds_numbers_of_numpy_and_schedules():
    rate = schedules.StepLR(0.1, step_size=2)
    recipe = recipes.find("Net").replace(
        optimizer_options={"learning_rate": rate, "momentum": np.float32(0.5)}, options={"filters": np.arange(2)}
    )
    plain = json.loads(json.dumps(recipe.to_dict()))
    assert plain["options"] == {"filters": [0, 1]}
    assert plain["optimizer_options"]["momentum"] == 0.5
    restored = keras.saving.deserialize_keras_object(plain["optimizer_options"]["learning_rate"])
    assert restored.get_config() == rate.get_config()


def test_json_names_what_it_cant_hold():
    recipe = recipes.find("Net").replace(loss_options={"weight": [1.0, object()]})
    with pytest.raises(TypeError, match=r"loss_options\['weight'\] of the recipe is a object"):
        recipe.to_dict()


def test_a_recipe_comes_back_from_its_file(tmp_path):
    recipe = recipes.find("Net").replace(optimizer_options={"learning_rate": schedules.StepLR(0.1, step_size=2)})
    for name, content in (("own", recipe.to_dict()), ("result", {"recipe": recipe.to_dict(), "seed": 3})):
        (tmp_path / name).write_text(json.dumps(content))
        loaded = recipes.load(tmp_path / name)
        assert loaded.to_dict() == recipe.to_dict()
        assert isinstance(loaded.optimizer_options["learning_rate"], schedules.StepLR)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "it holds a list"),
        ("{", "has no recipe: Expecting"),
        ('{"networks": 1}', "Unknown attribute of a recipe 'networks'.*Did you mean 'network'"),
        ('{"name": "Net"}', "Not a recipe: .*'network'"),
    ],
)
def test_a_file_without_a_recipe_is_named(content, message, tmp_path):
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ValueError, match=rf"best.json' has no recipe: .*{message}|{message}"):
        kerasnets.train(tmp_path / "best.json")
    with pytest.raises(FileNotFoundError):
        recipes.load(tmp_path / "nowhere.json")
