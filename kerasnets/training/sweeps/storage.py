"""Where a sweep is kept: a database that Optuna reads and writes, and the cells in it."""

import contextlib
import json
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

#: File systems of other machines, where SQLite's locks don't hold, as /proc/mounts calls them.
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs",
                        "fuse.glusterfs", "fuse.sshfs", "9p")  # fmt: skip
MOUNTS = Path("/proc/mounts")
#: How often the tables are looked for before giving up.
_ATTEMPTS = 5
#: Trials in these states have a cell; a further trial of the same cell is void.
_LIVE = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)


def file_system_of(path: Path) -> str:
    """The type of the file system that holds a path, such as ``"ext4"``; empty if the system doesn't say."""
    found, longest = "", -1
    with contextlib.suppress(OSError):
        for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            _, place, kind, *_ = line.split(" ")
            mounted = Path(place.replace("\\040", " "))
            if path.resolve().is_relative_to(mounted) and len(mounted.parts) >= longest:
                found, longest = kind, len(mounted.parts)
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's lines for each trial, and without its warnings that heartbeats are experimental."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)


def open_storage(url: str, heartbeat: int, grace: int) -> optuna.storages.RDBStorage:
    """Open a database by its URL, and make its tables if it is empty.

    Args:
        url: as SQLAlchemy takes it, such as ``"sqlite:///sweep.db"`` or ``"postgresql+psycopg://user@host/name"``.
        heartbeat: seconds between signs of life of a trial.
        grace: seconds without one after which another worker takes the trial over.

    Raises:
        ValueError: it is no URL, or names SQLite on a network file system.
        ModuleNotFoundError: the database's driver is not installed.
        RuntimeError: the database can't be reached.
    """
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(
            f"storage={url!r}: expected a database's URL, such as 'sqlite:///sweep.db' or "
            "'postgresql+psycopg://user@host/name'."
        ) from None
    shown = parsed.render_as_string(hide_password=True)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database:
        _check_sqlite(Path(parsed.database), shown)
    connect = {"connect_args": {"timeout": 100}} if is_sqlite else {"pool_pre_ping": True}
    for attempt in range(_ATTEMPTS):
        try:
            return optuna.storages.RDBStorage(
                url, connect, heartbeat_interval=heartbeat, grace_period=grace,
                heartbeat_stale_trial_callback=_make_retry(),
            )  # fmt: skip
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            raise ModuleNotFoundError(
                f"storage={shown!r} needs a driver that is not installed. For PostgreSQL: pip install "
                "'psycopg[binary]', and a URL that begins with postgresql+psycopg://."
            ) from error
        except sqlalchemy.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            # Two workers that make the tables of an empty database at once get in each other's way.
            if attempt + 1 == _ATTEMPTS or not re.search("already exists|duplicate|UNIQUE", reason):
                raise RuntimeError(f"The storage {shown!r} can't be reached: {reason}") from error
            time.sleep(0.5 + attempt)
    raise AssertionError


def _check_sqlite(file: Path, shown: str) -> None:
    kind = file_system_of(file.absolute())
    if kind in NETWORK_FILE_SYSTEMS:
        raise ValueError(
            f"storage={shown!r} is on a network file system ({kind}), where SQLite loses data when several hosts "
            "write. Choose a local folder, or a database server: storage='postgresql+psycopg://user@host/name'."
        )
    if not file.absolute().parent.is_dir():
        raise ValueError(f"storage={shown!r}: there is no folder {str(file.absolute().parent)!r}.")


class Cells:
    """The cells of a sweep in a study of Optuna's: one waiting trial for each, which a worker takes.

    A trial that is taken over, or that was lost with its worker, is a new trial of the same cell. Each cell counts
    once: its first trial that didn't fail.

    Args:
        storage: the open database.
        name: the study's name.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner.
    """

    def __init__(self, storage: optuna.storages.RDBStorage, name: str, sampler: Any, pruner: Any):
        self.storage, self.name = storage, name
        self._options = {"storage": storage, "sampler": sampler, "pruner": pruner}
        self._lost_since: dict[Any, float] = {}

    def create(self, settings: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> optuna.Study:
        """Make the study with its waiting trials, or load it if it is there.

        Args:
            settings: what the sweep is, in a form that JSON can hold.
            trials: a waiting trial for each cell.

        Raises:
            ValueError: the study is there with other settings.
        """
        plain = json.loads(json.dumps(settings))
        try:
            study = optuna.create_study(study_name=self.name, direction="maximize", **self._options)
        except optuna.exceptions.DuplicatedStudyError:
            study = self.load()
            found = _wait_for_settings(study)
            if found is None:  # the worker that made the study was killed at once
                study.set_user_attr("sweep", plain)
            elif found != plain:
                names = [name for name in plain if found.get(name) != plain[name]]
                raise ValueError(
                    f"The study {self.name!r} in this storage is another sweep: "
                    f"{'; '.join(f'{name} {found.get(name)!r}, not {plain[name]!r}' for name in names)}. Choose "
                    "another folder or name."
                ) from None
            return study
        study.set_user_attr("sweep", plain)
        study.add_trials(trials)
        return study

    def exist(self) -> bool:
        """Whether the study is there."""
        return self.name in optuna.study.get_all_study_names(self.storage)

    def load(self) -> optuna.Study:
        """The study; each thread needs its own."""
        return optuna.load_study(study_name=self.name, **self._options)

    def repair(self, study: optuna.Study, trials: Sequence[FrozenTrial], grace: float) -> None:
        """Queue what was lost with a worker that was killed between two steps.

        These are a trial that was taken and has no sign of life yet, a trial that failed and isn't queued again, and a
        cell that isn't queued at all. Each must have been seen for `grace` seconds, by this worker's own clock.

        Args:
            study: the study.
            trials: a waiting trial for each cell.
            grace: seconds.
        """
        optuna.storages.fail_stale_trials(study)
        found = study.get_trials(deepcopy=False)
        live, errors = settle(found), failed(found)
        silent = self._without_heartbeat()
        missing = {trial.user_attrs["cell"] for trial in trials} - live.keys() - errors.keys()
        now = time.monotonic()
        seen = {("silent", number) for number in silent} | {("missing", cell) for cell in missing}
        self._lost_since = {what: self._lost_since.get(what, now) for what in seen}
        for what, since in list(self._lost_since.items()):
            if now - since < grace:
                continue
            del self._lost_since[what]
            if what[0] == "silent":
                with contextlib.suppress(ValueError):  # it has finished
                    study.tell(what[1], state=TrialState.FAIL)
                    requeue(study, what[1])
            else:
                study.add_trial(next(trial for trial in trials if trial.user_attrs["cell"] == what[1]))

    def _without_heartbeat(self) -> set[int]:
        """The running trials that never gave a sign of life, by number: to Optuna these aren't dead."""
        query = sqlalchemy.text(
            "SELECT t.number FROM trials t JOIN studies s ON s.study_id = t.study_id LEFT JOIN trial_heartbeats h "
            "ON h.trial_id = t.trial_id WHERE s.study_name = :name AND t.state = 'RUNNING' AND h.trial_id IS NULL"
        )
        with self.storage.engine.connect() as connection:
            return set(connection.execute(query, {"name": self.name}).scalars())


def requeue(study: optuna.Study, number: int) -> None:
    """Queue the cell of the trial with this number again."""
    _make_retry()(study, study.get_trials(deepcopy=False)[number])


def _make_retry() -> Callable[[optuna.Study, FrozenTrial], None]:
    return optuna.storages.RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)


def settle(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The trial that counts for each cell: the first one that waits, runs, or is finished."""
    found: dict[int, FrozenTrial] = {}
    for trial in trials:  # in the order of their numbers
        if trial.state in _LIVE and "cell" in trial.user_attrs:
            found.setdefault(trial.user_attrs["cell"], trial)
    return found


def failed(trials: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """The cells whose training raised an error, with their last such trial."""
    return {
        trial.user_attrs["cell"]: trial
        for trial in trials
        if trial.state == TrialState.FAIL and "error" in trial.user_attrs and "cell" in trial.user_attrs
    }


def _wait_for_settings(study: optuna.Study, seconds: float = 10.0) -> dict | None:
    end = time.monotonic() + seconds
    while (found := study.user_attrs.get("sweep")) is None and time.monotonic() < end:
        time.sleep(0.1)
    return found
