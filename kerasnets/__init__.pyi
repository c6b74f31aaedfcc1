from . import (
    backend,
    batches,
    data,
    initializers,
    layers,
    lbfgs,
    losses,
    models,
    networks,
    optimizers,
    plots,
    schedules,
    training,
)
from .backend import installed_backends, set_backend, set_device
from .data import load_data
from .engine.predictor import predictor
from .interop.optimizer_state import load_optimizer_state_dict, optimizer_state_dict, scheduler_state_dict
from .interop.weights import load_state_dict, save_state_dict, state_dict
from .models import accelerate, load_model
from .networks import build, list_networks
from .training import callbacks, recipes, train
from .verify import originals
