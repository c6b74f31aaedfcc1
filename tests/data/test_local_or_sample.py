"""The data set to use without a download: the one asked for, or the bundled sample."""

import pytest

from kerasnets import data
from kerasnets.data import datasets, sources

pytestmark = pytest.mark.once

SAMPLE = datasets.SAMPLE


@pytest.fixture
def empty_machine(monkeypatch, tmp_path):
    monkeypatch.delenv(sources.VARIABLE, raising=False)
    monkeypatch.setattr(sources, "cache_folders", lambda: [tmp_path])
    monkeypatch.setattr(sources, "DEBIAN_PACKAGES", {})
    return tmp_path


def test_the_sample_replaces_a_missing_data_set_with_a_line(empty_machine):
    said = []
    assert data.find_local_or_sample("mnist", said.append) == SAMPLE
    assert said == ["The data set 'mnist' is not on this machine: using the bundled sample of Fashion-MNIST instead."]
    assert data.find_local_or_sample(SAMPLE, said.append) == SAMPLE
    assert len(said) == 1


def test_a_data_set_on_this_machine_is_used(empty_machine):
    folder = empty_machine / datasets.DATASETS["mnist"].folder
    folder.mkdir(parents=True)
    for name in datasets.IDX_FILES:
        (folder / name).write_bytes(b"")
    said = []
    assert data.find_local_or_sample("mnist", said.append) == "mnist"
    assert said == []


def test_unknown_name():
    with pytest.raises(ValueError, match="Unknown data set 'emnist'"):
        data.find_local_or_sample("emnist")
