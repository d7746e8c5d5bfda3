import itertools

import pytest
import torch

from adamcmp.engine.random_streams import batch_indices, stream_seed

CPU = torch.device("cpu")


def epochs(seed, examples, batch_size, count):
    per_epoch = examples // batch_size
    batches = itertools.islice(batch_indices((seed,), examples, batch_size, CPU), count * per_epoch)
    return [list(itertools.islice(batches, per_epoch)) for _ in range(count)]


@pytest.mark.parametrize(("examples", "batch_size"), [(10, 5), (10, 3), (7, 1)])
def test_an_epoch_shows_no_example_twice_and_every_batch_is_full(examples, batch_size):
    for batches in epochs(0, examples, batch_size, 3):
        seen = torch.cat(batches)
        assert all(len(batch) == batch_size for batch in batches)
        assert len(seen.unique()) == len(seen)


def test_order_depends_on_seed_and_epoch_alone():
    first = [torch.cat(e).tolist() for e in epochs(0, 50, 10, 2)]
    torch.manual_seed(123)
    assert [torch.cat(e).tolist() for e in epochs(0, 50, 10, 2)] == first
    assert first[0] != first[1]
    assert torch.cat(epochs(1, 50, 10, 1)[0]).tolist() != first[0]


def test_the_batches_of_several_seeds_lie_behind_each_other():
    together = itertools.islice(batch_indices((3, 5), 50, 10, CPU, 2), 9)
    alone = zip(*(itertools.islice(batch_indices((seed,), 50, 10, CPU, 2), 9) for seed in (3, 5)), strict=True)
    for both, each in zip(together, alone, strict=True):
        assert torch.equal(both, torch.cat(each))


def test_seeds_that_share_their_low_bits_draw_other_numbers():
    """torch's generator takes 32 bits of what it is given, without a word."""
    raw = [torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist() for seed in (5, 5 + 2**32)]
    ours = [torch.rand(3, generator=torch.Generator().manual_seed(stream_seed(s, "init"))) for s in (5, 5 + 2**32)]
    assert raw[0] == raw[1]
    assert not torch.equal(*ours)


def test_streams_differ_by_seed_name_and_index():
    seeds = {stream_seed(s, n, i) for s in range(5) for n in ("init", "batches", "dropout") for i in range(5)}
    assert len(seeds) == 75
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert stream_seed(0, "init") == stream_seed(0, "init", 0)
