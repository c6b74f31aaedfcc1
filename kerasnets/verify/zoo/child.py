"""The child process: ``python -m kerasnets.verify.zoo.child`` trains one model, in turns with other programs."""

import json
import os
import time
from typing import Any

from kerasnets import backend as backends
from kerasnets.verify.benchmark.child import Parent, measure_peak_memory

#: Examples of a round of predictions.
PREDICTED = 1000


def main() -> None:
    """Train the model that the job on standard input names: fit, further epochs, predictions."""
    parent = Parent()
    job = json.loads(parent.receive())
    backends.set_backend(job["backend"])
    backends.set_device("cpu" if job["device"] == "cpu" else "auto")
    # This switch turns off the fast path of both fit and predict.
    os.environ["KERASNETS_ACCELERATE"] = "1" if job["program"] == "kerasnets" else "0"

    import keras

    import kerasnets
    from kerasnets.verify.zoo.models import MODELS

    keras.utils.set_random_seed(0)
    made = MODELS[job["model"]](job["examples"])
    model = kerasnets.accelerate(made.model)
    begin = 0.0

    class Turns(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            nonlocal begin
            # Converting the loss to a number waits for the device.
            measured: dict[str, Any] = {"loss": float(logs["loss"])}
            measured["seconds"] = time.perf_counter() - begin
            parent.tell(**measured, memory=measure_peak_memory())
            begin = time.perf_counter()

    options = {"batch_size": job["batch_size"], "shuffle": False, "verbose": 0}
    begin = time.perf_counter()
    model.fit(made.x, made.y, epochs=1 + job["epochs"], callbacks=[Turns()], **options)
    x = keras.tree.map_structure(lambda array: array[:PREDICTED], made.x)
    model.predict(x, batch_size=job["batch_size"], verbose=0)  # compiles
    for _ in range(job["epochs"]):
        begin = time.perf_counter()
        model.predict(x, batch_size=job["batch_size"], verbose=0)
        parent.tell(seconds=time.perf_counter() - begin)


if __name__ == "__main__":
    main()
