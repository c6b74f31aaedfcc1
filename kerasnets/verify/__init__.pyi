from . import (
    benchmark as benchmark,
    originals as originals,
    parity as parity,
    relay as relay,
)
