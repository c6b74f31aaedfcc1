"""The fast path against stock Keras, case by case; the cases are in the files cases_*.py beside this one.

nox -s "comparison(torch)"                    all cases on one backend; arguments after -- go to pytest
nox -s "comparison(torch)" -- -k "dropout"    those that have a word in their name

A failure says what differs and how far stock Keras's own results move when its initial weights are moved by 1e-6: a
difference of that size is rounding that the case lets grow. The lists at the end are not failures.
"""

import importlib
import re
from pathlib import Path

import harness
import keras
import pytest

for path in sorted(Path(__file__).parent.glob("cases_*.py")):
    importlib.import_module(path.stem)

HERE = [case for case in harness.CASES.values() if keras.config.backend() in case.backends]

#: How many lines of differences are printed.
SHOWN = 12


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "_")) for case in HERE])
def test_fast_equals_stock(case, record_property):
    if case.trust and not harness.has_trust():
        pytest.skip("accelerate takes no trust")
    stock = harness.play(case, fast=False)
    fast = harness.play(case, fast=True)
    if fast.stock_reasons:
        expected = case.user_code or case.stock
        title = (
            "ran through stock Keras, as expected"
            if expected
            else "ran through stock Keras, though nothing asks for it"
        )
        reasons = "; ".join(
            re.split(r"slower: |\.? \(accelerate=|\. Pass accelerate=", line)[1] for line in fast.stock_reasons
        )
        record_property(f"comparison: {title}", f"{case.name}: {reasons}")
    elif case.user_code:
        record_property("comparison: user code that ran fast without trust", case.name)
    if stock.error is not None and not case.raises:
        record_property(
            "comparison: stock Keras raises", f"{case.name}: {harness._named(stock.error)}".partition("\n")[0]
        )
    if case.raises and stock.error is None:
        record_property("comparison: stock Keras raises nothing, against expectation", case.name)
    for line in fast.other_warnings:
        if line not in stock.other_warnings:
            record_property(
                "comparison: warnings on the fast path alone", f"{case.name}: {line}".replace("\n", " ")[:300]
            )
    found = harness.differences(stock, fast, case.rtol, case.atol)
    known = case.known.get(keras.config.backend())
    if known:
        title = "known differences" if found else "known differences that are gone"
        record_property(f"comparison: {title}", f"{case.name}: {known}")
        return
    if not found:
        return
    lines = [*found[:SHOWN], *([f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]
    if type(stock.error) is type(fast.error):
        nudged = harness.play(case, fast=False, nudge=1e-6)
        moved = harness.differences(stock, nudged, case.rtol, case.atol)
        lines.append(f"Stock Keras from weights moved by 1e-6: {moved[0] if moved else 'no difference'}")
        lines += moved[1 : SHOWN // 2]
    else:
        lines.append(fast.trace or stock.trace)
    if fast.stock_reasons:
        lines.append(f"Ran through stock Keras: {fast.stock_reasons}")
    pytest.fail("\n".join([f"{case.name}: {len(found)} differences", *lines]), pytrace=False)
