"""How long an epoch takes: the tutorial's program, native PyTorch, stock Keras and kerasnets, on one machine.

>>> from kerasnets.verify import benchmark
>>> record = benchmark.measure(benchmark.Settings(networks=("NeuralNetwork",)))
>>> benchmark.print_report(record)

All programs use batch size 64, SGD (0.01, momentum 0.9), cross-entropy, the tutorial's dropout, and a new order of the
images in each epoch:

- the program of "How to create a neural network with PyTorch": torchvision's data set and transforms, ``DataLoader``,
  ``loss.item()`` at each step. The record and the options call it the document's, ``"document"``;
- native PyTorch: the images in memory on the device, batches gathered by index, fused SGD, the loss summed on the
  device; eager and compiled, and if there are convolutions also in channels_last memory format. The fastest is "the
  best native loop";
- stock Keras: kerasnets' model, loss and optimizer in Keras's own ``fit`` with its defaults, on each backend;
- kerasnets: the same ``fit`` with the fast path.

All keep the mean training loss and nothing else, as the tutorial's loop does: Keras trains with ``metrics=[]``.

Each program has its own process, in which it trains one batch, then a whole epoch to warm up, and then one epoch per
turn; in between it waits for a line from the parent and uses no CPU. The programs take turns epoch by epoch, so that
whatever else the machine does affects all alike; the median of the epochs counts. The process itself times an epoch,
from the parent's line until the epoch's loss is a number on the host. Keras runs one long ``fit`` and waits in
``on_epoch_end``, so that the work ``fit`` does once isn't counted.

- *first step*: seconds from the start of the process (Python, imports, model, compilation) to the end of a training on
  the first batch alone, without the time to read the data.
- *warm-up*: seconds of the first whole epoch, which includes what is compiled only then.
- *memory*: the process's peak resident memory up to the end of its last epoch, in MiB; on a GPU also the framework's
  peak allocation there.
- *share*: of the rate of the fastest fp32 matrix product that PyTorch reached over several sizes, measured in turn with
  the programs. Counted are the products and convolutions of an epoch, forward and backward, without the gradient of the
  images.
- *one image*: native PyTorch's eager forward under ``inference_mode``, from a tensor on the device to one on the host;
  stock ``model.predict`` and ``kerasnets.predictor``, from NumPy to NumPy. The median of many calls, also in turn.
"""

from kerasnets.verify.benchmark.measurement import Settings, measure
from kerasnets.verify.benchmark.report import draw, errors, page_lines, print_report, readme_lines

__all__ = ["Settings", "draw", "errors", "measure", "page_lines", "print_report", "readme_lines"]
