from . import (
    benchmark as benchmark,
    compare as compare,
    originals as originals,
    parity as parity,
    relay as relay,
    same_seed as same_seed,
)
