"""Many trainings of one recipe, as a grid or a search, on Optuna: what varies, where it is kept, and who trains it.

Keras is imported in the processes that train, not here: each has a backend of its own.
"""
