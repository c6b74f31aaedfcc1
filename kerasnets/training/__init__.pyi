from . import (
    backup as backup,
    callbacks as callbacks,
    recipes as recipes,
    run as run,
)
from .run import (
    Result as Result,
    compile_recipe as compile_recipe,
    load_recipe_data as load_recipe_data,
    percent as percent,
    shows_progress_bars as shows_progress_bars,
    train as train,
)
from .sweeps.run import sweep as sweep
