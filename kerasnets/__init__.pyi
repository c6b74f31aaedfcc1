__version__: str

from . import (
    backend as backend,
    batches as batches,
    data as data,
    initializers as initializers,
    layers as layers,
    lbfgs as lbfgs,
    losses as losses,
    models as models,
    networks as networks,
    optimizers as optimizers,
    plots as plots,
    schedules as schedules,
    training as training,
)
from .backend import (
    installed_backends as installed_backends,
    set_backend as set_backend,
    set_device as set_device,
)
from .data import load_data as load_data
from .engine.low_latency import predictor as predictor
from .interop.optimizer_state import (
    load_optimizer_state_dict as load_optimizer_state_dict,
    optimizer_state_dict as optimizer_state_dict,
    scheduler_state_dict as scheduler_state_dict,
)
from .interop.weights import (
    load_state_dict as load_state_dict,
    save_state_dict as save_state_dict,
    state_dict as state_dict,
)
from .models import (
    accelerate as accelerate,
    load_model as load_model,
)
from .networks import (
    build as build,
    list_networks as list_networks,
)
from .training import (
    callbacks as callbacks,
    recipes as recipes,
    sweep as sweep,
    train as train,
)
from .verify import originals as originals
from .verify.compare import (
    assert_same as assert_same,
    compare as compare,
)
