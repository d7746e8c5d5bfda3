"""Equal examples in several parts: told of, kept together, or left out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adamcmp.data import make_dataset
from adamcmp.errors import InputError


def raw(values, **parts):
    """One feature an example; labels alternate."""

    def pair(of):
        x = torch.tensor(of, dtype=torch.float32).unsqueeze(1)
        return x, torch.arange(len(of)) % 2

    return {"train": pair(values), **{name: pair(of) for name, of in parts.items()}, "num_classes": 2}


def values(dataset):
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: part.x.flatten().tolist() for name, part in parts.items()}


PARTS = {"validation": [4.0, 5.0], "test": [1.0, 1.0, 6.0]}


def test_what_stands_in_two_parts_is_told():
    dataset = make_dataset(raw([1.0, 2.0, 3.0, 4.0], **PARTS), name="mine", normalize=False)
    (note,) = dataset.notes
    assert note.startswith("mine: 1 of 2 distinct test and 1 of 2 distinct validation examples also occur in training")
    assert "data.duplicates=group" in note
    clean = make_dataset(raw([2.0, 3.0, 7.0], **PARTS), name="mine", normalize=False)
    assert clean.notes == ()


def test_group_leaves_copies_out_of_the_later_of_official_parts():
    dataset = make_dataset(raw([1.0, 2.0, 2.0, 4.0], **PARTS), name="mine", normalize=False, duplicates="group")
    assert values(dataset) == {"train": [2.0, 2.0], "validation": [4.0, 5.0], "test": [1.0, 1.0, 6.0]}
    assert dataset.notes == ()


def test_drop_keeps_one_of_each():
    dataset = make_dataset(raw([1.0, 2.0, 2.0, 4.0], **PARTS), name="mine", normalize=False, duplicates="drop")
    assert values(dataset) == {"train": [2.0], "validation": [4.0, 5.0], "test": [1.0, 6.0]}


def test_a_training_part_of_copies_alone_is_refused():
    with pytest.raises(InputError, match=r"all training examples are copies.*data.duplicates=warn"):
        make_dataset(raw([1.0, 6.0], **PARTS), name="mine", duplicates="group")


@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=40).filter(lambda found: len(set(found)) > 5),
    st.integers(0, 5),
)
def test_a_cut_by_groups_parts_no_equal_ones(found, seed):
    dataset = make_dataset(
        raw([float(each) for each in found]),
        name="mine",
        normalize=False,
        duplicates="group",
        split_seed=seed,
        validation_fraction=0.2,
        test_fraction=0.2,
    )
    parts = values(dataset)
    assert sorted(each for part in parts.values() for each in part) == sorted(map(float, found))
    train, validation, test = (set(part) for part in parts.values())
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_without_copies_all_modes_cut_alike():
    distinct = [float(i) for i in range(50)]
    cut = {
        mode: values(make_dataset(raw(distinct), name="mine", duplicates=mode)) for mode in ("warn", "group", "drop")
    }
    assert cut["warn"] == cut["group"] == cut["drop"]
    fingerprints = {make_dataset(raw(distinct), name="mine", duplicates=mode).fingerprint for mode in cut}
    assert len(fingerprints) == 1
