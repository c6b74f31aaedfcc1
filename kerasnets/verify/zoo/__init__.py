"""Models in the manner of other people's, trained by the fast fit and by stock Keras side by side."""

from kerasnets.verify.zoo.measurement import Settings, measure
from kerasnets.verify.zoo.report import page_lines, print_report

__all__ = ["Settings", "measure", "page_lines", "print_report"]
