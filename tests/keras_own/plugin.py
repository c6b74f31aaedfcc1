"""A pytest plugin for Keras's own tests: every Functional and Sequential model goes through kerasnets' fast path.

:mod:`run` loads it. KERAS_OWN_WAY says ``fast``, or ``stock`` for Keras as it is; KERAS_OWN_RESULTS is the file that
the outcomes go to; with KERASNETS_TRUST=1 the models are accelerated with ``trust=True``.
"""

import collections
import functools
import inspect
import json
import os
import sys
import warnings
from pathlib import Path

import pytest

#: Method → the function of the model that does its steps.
METHODS = {"fit": "train_function", "evaluate": "test_function", "predict": "predict_function"}

#: What the running test did: "fit fast", "fit stock" and so on → calls, and the reasons for going through stock Keras.
calls: collections.Counter[str] = collections.Counter()
reasons: collections.Counter[str] = collections.Counter()

#: The outermost call that is running: its method, its model, that model's function before, and how the call ends.
running: dict = {}

outcomes: dict[str, dict] = {}


# What Keras's conftest.py, which the wheel leaves out, gives its tests


def skip_if_backend(name, reason):
    """Keras's tests import it from their conftest."""
    import keras

    return pytest.mark.skipif(keras.config.backend() == name, reason=reason)


def pytest_configure(config):
    config.addinivalue_line("markers", "requires_trainable_backend: all of kerasnets' backends are")
    config.addinivalue_line("markers", "multi_device: needs several devices")
    if computes(config):
        # As in tests/conftest.py: TensorFlow imported before torchvision aborts the process.
        import torchvision  # noqa: F401  # isort: skip
        import keras  # noqa: F401

        sys.modules["conftest"] = sys.modules[__name__]
        if os.environ["KERAS_OWN_WAY"] == "fast":
            go_through_kerasnets()


def computes(config) -> bool:
    """Whether tests run in this process; it isn't one that only hands them out to xdist's workers."""
    return hasattr(config, "workerinput") or not config.getoption("numprocesses", None)


def pytest_collection_modifyitems(items):
    for module in {item.module for item in items}:
        leave_keras(module)
    for item in items:
        if "multi_device" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs several devices"))


def leave_keras(module) -> None:
    """Give the module of tests a name outside Keras: what it defines stands for a user's code, not for Keras's."""
    before, after = module.__name__, module.__name__.replace("keras.src", "tests_of_keras")
    sys.modules[after] = module
    module.__name__ = after  # of all that is defined from now on, in a test
    waiting = list(vars(module).values())
    while waiting:
        defined = waiting.pop()
        if (inspect.isclass(defined) or inspect.isfunction(defined)) and defined.__module__ == before:
            defined.__module__ = after
            waiting.extend(vars(defined).values())


@pytest.fixture(autouse=True)
def seed():
    """The same random state in both runs."""
    import keras

    keras.utils.set_random_seed(0)


# The fast path


def go_through_kerasnets() -> None:
    """Accelerate models at their first ``fit``, ``evaluate`` or ``predict``."""
    import keras

    for name in METHODS:
        setattr(keras.Model, name, through_kerasnets(name, getattr(keras.Model, name)))
    warnings.warn = collecting_reasons(warnings.warn)


def through_kerasnets(name: str, stock):
    """The method `name` of ``keras.Model``, where `stock` is Keras's."""

    @functools.wraps(stock)
    def method(self, *args, **kwargs):
        import keras

        if name in self.__dict__:  # the accelerated method calls Keras's, with a function of its own where it is fast
            if running.get("name") == name and running["model"] is self:
                running["end"] = "stock" if getattr(self, METHODS[name]) is running["function"] else "fast"
            return stock(self, *args, **kwargs)
        graph = isinstance(self, keras.Sequential | keras.src.models.functional.Functional)
        if not graph or getattr(type(self), name) is not method:  # a class with a fit of its own came here by super()
            return counted(name, self, functools.partial(stock, self), "of other models")(*args, **kwargs)
        accelerate(self)
        return self.__dict__[name](*args, **kwargs)

    return method


def accelerate(model) -> None:
    """``kerasnets.accelerate``, with the calls counted."""
    import kerasnets

    takes_trust = "trust" in inspect.signature(kerasnets.accelerate).parameters
    trust = {"trust": True} if os.environ.get("KERASNETS_TRUST") == "1" and takes_trust else {}
    kerasnets.accelerate(model, **trust)
    for name in METHODS:
        model.__dict__[name] = counted(name, model, model.__dict__[name], "fast")


def counted(name: str, model, method, end: str):
    """`method`, counted where it isn't called by another that is."""

    @functools.wraps(method)
    def run(*args, **kwargs):
        if running:
            return method(*args, **kwargs)
        forget_what_was_said()
        running.update(name=name, model=model, function=getattr(model, METHODS[name]), end=end)
        try:
            return method(*args, **kwargs)
        except BaseException:
            running["end"] += ", raised"
            raise
        finally:
            calls[f"{name} {running['end']}"] += 1
            running.clear()

    return run


def forget_what_was_said() -> None:
    """Kerasnets says each reason once a process; here it should be known for each test."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("kerasnets.") and isinstance(said := vars(module).get("_said"), set):
            said.clear()


def collecting_reasons(warn):
    """``warnings.warn`` that keeps kerasnets' warnings to itself: some of Keras's tests look at every warning."""

    @functools.wraps(warn)
    def collect(message, category=None, stacklevel=1, source=None, **options):
        name = getattr(category or type(message), "__name__", "")
        if name == "LikelyMistakeWarning":
            return
        if name == "StockFitWarning":
            reasons[str(message)] += 1
            if running:
                running["end"] = "stock"
        else:
            warn(message, category, stacklevel + 1, source, **options)

    return collect


# The outcomes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    calls.clear()
    reasons.clear()
    running.clear()
    try:
        return (yield)
    finally:
        item.user_properties += [("calls", dict(calls)), ("reasons", dict(reasons))]


def pytest_collectreport(report):
    if report.failed:
        keep(report)


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        keep(report)


def keep(report) -> None:
    """Keep an outcome; the worst, where a test reports several."""
    before = outcomes.get(report.nodeid, {"outcome": ""})
    if before["outcome"] == "failed" or (before["outcome"] and not report.failed):
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr or "").strip()
    outcomes[report.nodeid] = {
        "outcome": report.outcome,
        "why": text.strip().partition("\n")[0] if crash else text.rpartition("\n")[2],
        **{"calls": {}, "reasons": {}},
        **dict(getattr(report, "user_properties", ())),
    }


def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        Path(os.environ["KERAS_OWN_RESULTS"]).write_text(json.dumps(outcomes, indent=1))
