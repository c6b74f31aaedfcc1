from . import (
    backend,
    batches,
    callbacks,
    data,
    initializers,
    layers,
    lbfgs,
    losses,
    models,
    networks,
    optimizers,
    originals,
    plots,
    recipes,
    schedules,
    training,
)
from .backend import installed_backends, set_backend, set_device
from .data import load_data
from .engine.predictor import predictor
from .models import accelerate, load_model
from .networks import build, list_networks
from .optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from .state_dict import load_state_dict, save_state_dict, state_dict
from .training import train
