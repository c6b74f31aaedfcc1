from . import (
    benchmark as benchmark,
    originals as originals,
    parity as parity,
    relay as relay,
    same_seed as same_seed,
)
