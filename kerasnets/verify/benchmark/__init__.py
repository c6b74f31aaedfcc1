"""How fast an epoch is: the document's program, native PyTorch, stock Keras and kerasnets, side by side on one machine.

>>> from kerasnets import benchmark
>>> record = benchmark.measure(benchmark.Settings(networks=("NeuralNetwork",)))
>>> benchmark.print_report(record)

What is compared, all with batch size 64, SGD (0.01, momentum 0.9), cross-entropy, the document's dropout, and another
order of the images each epoch:

- the document's program: torchvision's data set and transforms, ``DataLoader``, ``loss.item()`` at each step;
- native PyTorch: the images in memory on the device, batches gathered by index, fused SGD, the loss summed on the
  device; eager, for convolutions also in channels_last memory format, and compiled. The fastest is "the best native";
- stock Keras: kerasnets' model, loss and optimizer through Keras's own ``fit`` with its defaults, on each backend;
- kerasnets: the same ``fit`` with the fast path.

All keep the mean training loss and nothing else, as the document's loop does: Keras trains with ``metrics=[]``.

How: each program has a process of its own, in which it trains one batch, then a whole epoch to warm up, and then an
epoch each time its turn comes; in between it waits for a line from the parent and takes no CPU. So the programs take
turns, epoch by epoch, and what else the machine does hits all alike; the median of the epochs counts. The process
itself takes the time of an epoch, from the parent's line until the epoch's loss is a number on the host. Keras is in
one long ``fit``, and waits in ``on_epoch_end``, so that what ``fit`` does once isn't counted.

- *first step*: seconds from the start of the process (Python, imports, model, compilation) until a training on the
  first batch alone is through, without the time to read the data.
- *warm-up*: seconds of the first whole epoch; what is compiled only there shows here.
- *memory*: the process's largest resident memory up to the end of its last epoch, in MiB; on a GPU also what the
  framework's allocator held there at most.
- *share*: of the fastest fp32 matrix product that PyTorch reached on several sizes, in turn with the programs. Counted
  are the products and convolutions of an epoch, forward and backward, without the gradient of the images.
- *one image*: native PyTorch's eager forward under ``inference_mode``, from a tensor on the device to one on the host;
  stock ``model.predict`` and ``kerasnets.predictor``, from NumPy to NumPy. The median of many calls, in turn, too.
"""

from kerasnets.verify.benchmark.measurement import Settings, installed, measure
from kerasnets.verify.benchmark.report import bars_lines, draw, errors, print_report, readme_lines
from kerasnets.verify.benchmark.targets import BARS

__all__ = ["BARS", "Settings", "bars_lines", "draw", "errors", "installed", "measure", "print_report", "readme_lines"]
