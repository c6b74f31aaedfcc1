"""A sweep of 201 short trials whose four workers are killed ten times ends with the serial runs' results, each once."""

import sweeping

WORKERS, KILLS, CELLS, EPOCHS = 4, 10, 201, 6


def test_ten_kills(tmp_path):
    killed = sweeping.kill_some(tmp_path, CELLS // 3, EPOCHS, WORKERS, KILLS)
    print(f"killed: {', '.join(killed)}")
    assert len(killed) == KILLS
    sweeping.check_against_serial_runs(tmp_path, CELLS // 3, EPOCHS)
