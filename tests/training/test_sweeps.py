"""Sweeps: what varies, what survives, and that each result is that of a run by itself."""

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sweeping
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from processes import run

import kerasnets
from kerasnets.training import recipes
from kerasnets.training.sweeps import plan, report, space, storage

# Trials that are asked for without optimize stand for those of workers that were killed.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")


def sweep(out, varied, **options):
    given = {"arrays": sweeping.arrays(), "progress": False, **options}
    return kerasnets.sweep(given.pop("recipe", sweeping.recipe()), varied, out=out, **given)


# What varies


@pytest.mark.once
def test_a_grid_has_every_combination_and_joined_grids_each_cell_once():
    recipe = recipes.find("NeuralNetwork").replace(optimizer_options={"learning_rate": 0.01})
    product = plan.Plan(recipe, {"learning_rate": [0.1, 0.01], "batch_size": [32, 64]}, None, 0, 0)
    assert [trial.params for trial in product.trials] == [
        {"learning_rate": rate, "batch_size": size} for rate in (0.1, 0.01) for size in (32, 64)
    ]
    joined = plan.Plan(recipe, [{"learning_rate": [0.1, 0.01]}, {"optimizer": ["SGD", "Adam"]}], None, 0, 0)
    assert [trial.params for trial in joined.trials] == [
        {"learning_rate": 0.1, "optimizer": "SGD"},
        {"learning_rate": 0.01, "optimizer": "SGD"},
        {"learning_rate": 0.01, "optimizer": "Adam"},
    ]


@pytest.mark.once
def test_a_cell_changes_attributes_options_and_schedule():
    recipe = recipes.find("FashionNetwork").replace(batch_size=64)
    settings = {"learning_rate": 0.2, "options.dropout": 0.3, "epochs": 4, "schedule": "StepLR(10, gamma=0.5)"}
    changed = space.add_schedule(space.apply(recipe, settings), settings["schedule"], images=100)
    assert (changed.options["dropout"], changed.epochs) == (0.3, 4)
    expected = kerasnets.schedules.StepLR(0.2, 10, gamma=0.5, steps_per_epoch=2)
    assert changed.optimizer_options["learning_rate"].get_config() == expected.get_config()


@pytest.mark.once
@pytest.mark.parametrize(
    ("varied", "message"),
    [
        ({"learningrate": [1.0]}, "Unknown name in a sweep 'learningrate'.*Did you mean 'learning_rate'"),
        ({"batchsize": [1]}, "Did you mean 'batch_size'"),
        ({"option.dropout": [0.1]}, "Unknown options of a recipe 'option'.*Did you mean 'options'"),
        ({"batch_size": 32}, "batch_size=32: expected a list"),
        ({"batch_size": []}, r"batch_size=\[\]: expected a list"),
        ({"seed": [-1]}, "Invalid seed: -1"),
        ({"backend": ["pytorch"]}, "Unknown backend 'pytorch'.*Did you mean 'torch'"),
        ({"schedule": ["StepLR"]}, "schedule='StepLR': expected None, or the call of a schedule"),
        ({"schedule": ["StepLr(10)"]}, "Unknown schedule 'StepLr'.*Did you mean 'StepLR'"),
        ({"learning_rate": FloatDistribution(0.1, 1.0)}, "learning_rate is a range.*give trials="),
    ],
)
def test_bad_spaces_end_before_anything_is_made(varied, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sweep(tmp_path / "out", varied)
    assert not (tmp_path / "out").exists()


@pytest.mark.once
def test_a_bad_option_ends_before_the_first_training(tmp_path):
    with pytest.raises(ValueError, match=r"This can't be trained: optimizer_options.momentun=0.9: .*'momentun'"):
        sweep(tmp_path, {"optimizer_options.momentun": [0.9]})
    assert not (tmp_path / "runs").exists()


# Where it is kept


@pytest.mark.once
@pytest.mark.parametrize("kind", ["nfs4", "cifs"])
def test_sqlite_on_a_network_file_system_is_refused(kind, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda / ext4 rw 0 0\nserver:/home {tmp_path}/net {kind} rw 0 0\nnone {tmp_path}/net/own tmpfs rw 0 0\n"
    )
    monkeypatch.setattr(storage, "MOUNTS", mounts)
    with pytest.raises(ValueError, match=rf"is on a network file system \({kind}\).*postgresql"):
        sweep(tmp_path / "net" / "out", {"seed": [0]})
    assert storage.file_system_of(tmp_path / "net" / "own" / "out") == "tmpfs"
    assert storage.file_system_of(tmp_path) == "ext4"


@pytest.mark.once
@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("here", ValueError, "storage='here': expected a database's URL"),
        ("sqlite:////nowhere/at/all.db", ValueError, "there is no folder '/nowhere/at'"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/db", RuntimeError, r"me:\*\*\*@127.0.0.1:9/db' can't be reached"),
        ("mysql://me@host/db", ModuleNotFoundError, "needs a driver that is not installed"),
    ],
)
def test_a_storage_that_cant_be_used(url, error, message, tmp_path):
    with pytest.raises(error, match=message):
        sweep(tmp_path, {"seed": [0]}, storage=url)


@pytest.mark.once
def test_another_sweep_in_the_same_place_is_refused(cells):
    cells.create({"recipe": 1, "space": 2}, [])
    with pytest.raises(ValueError, match=r"is another sweep: space 2, not 3\. Choose another folder or name"):
        cells.create({"recipe": 1, "space": 3}, [])


@pytest.mark.once
def test_without_optuna_the_error_has_the_command():
    program = "import sys; sys.modules['optuna'] = None; import kerasnets; kerasnets.sweep('r.json', {}, out='o')"
    program = program.replace("'r.json'", "kerasnets.recipes.find('Net')").replace("{}", "{'seed': [0]}")
    done = run("-c", program, check=False)
    assert "ModuleNotFoundError: Sweeps need Optuna." in done.stderr
    assert "pip install -e '.[sweep]'" in done.stderr


# What is lost and found


@pytest.fixture
def cells(tmp_path):
    with storage.quiet():
        database = storage.open_storage(f"sqlite:///{tmp_path}/sweep.db", heartbeat=1, grace=3)
        yield storage.Cells(database, "sweep", optuna.samplers.RandomSampler(), optuna.pruners.NopPruner())
        database.engine.dispose()


@pytest.fixture
def queued():
    return plan.Plan(sweeping.recipe(), {"seed": [0, 1]}, None, 0, 0).trials


def states(study):
    return [(trial.user_attrs.get("cell"), trial.state.name) for trial in study.trials]


@pytest.mark.once
def test_a_worker_killed_before_its_first_sign_of_life_loses_nothing(cells, queued):
    study = cells.create({}, queued)
    study.ask()  # without optimize: no sign of life
    cells.repair(study, queued, grace=60)
    assert states(study) == [(0, "RUNNING"), (1, "WAITING")]
    cells.repair(study, queued, grace=0)
    assert states(study) == [(0, "FAIL"), (1, "WAITING"), (0, "WAITING")]


@pytest.mark.once
def test_a_cell_that_failed_without_an_error_or_was_never_queued_is_queued(cells, queued):
    study = cells.create({}, queued[:1])
    study.tell(study.ask(), state=TrialState.FAIL)  # killed before the trial was queued again
    cells.repair(study, queued, grace=60)
    assert states(study) == [(0, "FAIL")]
    cells.repair(study, queued, grace=0)
    assert sorted(states(study)) == [(0, "FAIL"), (0, "WAITING"), (1, "WAITING")]


@pytest.mark.once
def test_an_error_is_not_tried_again(cells, queued):
    study = cells.create({}, queued[:1])
    trial = study.ask()
    trial.set_user_attr("error", "ValueError: no")
    study.tell(trial, state=TrialState.FAIL)
    cells.repair(study, queued[:1], grace=0)
    assert states(study) == [(0, "FAIL")]
    assert list(storage.failed(study.trials)) == [0]


@pytest.mark.once
def test_a_cell_counts_once(cells, queued):
    study = cells.create({}, [*queued, *queued])  # as two workers that repair at once may leave it
    for value in (1.0, 2.0, 3.0):
        study.tell(study.ask(), value)
    study.ask(), study.ask()  # the second one has no cell: nothing waited
    counted = storage.settle(study.trials)
    assert {cell: trial.value for cell, trial in counted.items()} == {0: 1.0, 1: 2.0}


@pytest.mark.once
def test_workers_and_trials_that_are_killed(tmp_path):
    killed = sweeping.kill_some(tmp_path, seeds=4, epochs=2, workers=2, kills=2)
    assert len(killed) == 2
    sweeping.check_against_serial_runs(tmp_path, seeds=4, epochs=2)


# What comes out


def test_each_result_is_that_of_a_run_by_itself(tmp_path):
    result = sweep(tmp_path, sweeping.space(1), workers=2)
    sweeping.check_against_serial_runs(tmp_path, seeds=1, epochs=2)
    best = max(result.rows, key=lambda row: row["test_accuracy"])
    assert result.best == best == json.loads((tmp_path / "best.json").read_text())
    assert recipes.load(tmp_path / "best.json") == result.recipe
    assert result.recipe.optimizer_options == {"learning_rate": best["settings"]["learning_rate"]}
    written = (tmp_path / "runs" / "0000" / "result.json").stat().st_mtime_ns
    again = sweep(tmp_path, sweeping.space(1))
    assert again.rows == result.rows
    assert (tmp_path / "runs" / "0000" / "result.json").stat().st_mtime_ns == written


@pytest.mark.once
def test_the_best_recipe_is_a_file_that_train_takes_and_an_error_stops_nothing(tmp_path):
    grids = [
        {"schedule": [None, "StepLR(1, 0.5)"], "options.hidden": [[16, 16], [8, 8]]},
        {"loss": ["MSELoss"]},  # the labels are classes
    ]
    result = sweep(tmp_path, grids, held_out=32)
    assert [row["state"] for row in result.rows] == ["complete"] * 4 + ["failed"]
    assert "Error: " in result.rows[4]["error"]
    assert result.table()[1][4][-3:] == ["failed", "–", "–"]
    trained = kerasnets.train(tmp_path / "best.json", arrays=sweeping.arrays(), verbose=0)
    assert trained.recipe.to_dict() == result.best["recipe"]
    dropping = next(row for row in result.rows if row["settings"]["schedule"])
    rate = recipes.Recipe.from_dict(dropping["recipe"]).optimizer_options["learning_rate"]
    assert rate.get_config()["steps_per_epoch"] == 1  # 32 images are left of 64
    assert result.draw() == ["comparison.png", "importance.png", "parallel_coordinates.png"]


class OddPruner(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return trial.number % 2 == 1


@pytest.mark.once
def test_a_search_samples_and_prunes(tmp_path):
    varied = {"learning_rate": FloatDistribution(1e-4, 1.0, log=True), "batch_size": IntDistribution(16, 32, step=16)}
    result = sweep(tmp_path, varied, trials=4, pruner=OddPruner())
    assert [row["state"] for row in result.rows] == ["complete", "pruned", "complete", "pruned"]
    assert [len(trial.intermediate_values) for trial in result.study.trials] == [2, 1, 2, 1]
    assert len({row["settings"]["learning_rate"] for row in result.rows}) == 4
    assert {row["settings"]["batch_size"] for row in result.rows} <= {16, 32}
    assert not list(tmp_path.rglob("*.backup"))


@pytest.mark.once
def test_nothing_trained_to_the_end_is_an_error(cells, queued):
    study = cells.create({}, queued)
    trial = study.ask()
    trial.set_user_attr("error", "MemoryError: too large")
    study.tell(trial, state=TrialState.FAIL)
    with pytest.raises(RuntimeError, match="None of the 1 trial was trained to the end; the first error: MemoryError"):
        report.Sweep.from_study(study, ["seed"], Path())


# Several hosts

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if Path("/usr/lib/postgresql").is_dir() else []


@pytest.fixture
def postgresql(tmp_path):
    """The URL of a PostgreSQL server on a free port."""
    if not BINARIES or not (BINARIES[-1] / "initdb").exists():
        pytest.skip("needs PostgreSQL's server: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg: pip install 'psycopg[binary]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder, as_user = tmp_path / "postgresql", []
    folder.mkdir()
    if Path("/proc/self").owner() == "root":  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        for parent in [tmp_path, *list(tmp_path.parents)[:3]]:
            with contextlib.suppress(PermissionError):
                parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["runuser", "-u", "postgres", "--"]
    # No socket file: its path may be too long.
    data, options = folder / "data", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    call = lambda name, *words: subprocess.run(  # noqa: E731
        [*as_user, BINARIES[-1] / name, "-D", data, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder
    )
    call("initdb", "-A", "trust", "-U", "tester")
    call("pg_ctl", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    call("pg_ctl", "-m", "immediate", "stop")


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="starts Debian's PostgreSQL")
def test_workers_share_a_postgresql_server(postgresql, tmp_path):
    """Two workers with folders of their own, as on two hosts: one finds its trials done by the other."""
    first, second = (sweeping.start(tmp_path / name, 2, 2, postgresql) for name in ("first", "second"))
    for worker in (first, second):
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    tables = [json.loads((tmp_path / name / "sweep.json").read_text()) for name in ("first", "second")]
    assert tables[0] == tables[1]
    assert [row["cell"] for row in tables[0]["rows"]] == list(range(6))
    runs = [path.name for name in ("first", "second") for path in (tmp_path / name / "runs").iterdir()]
    assert sorted(runs) == [f"{cell:04d}" for cell in range(6)]
