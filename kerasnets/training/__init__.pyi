from . import backup, callbacks, recipes, run
from .run import Result, compile_recipe, load_recipe_data, percent, shows_progress_bars, train
