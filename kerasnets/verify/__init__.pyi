from . import benchmark, originals, parity, relay
