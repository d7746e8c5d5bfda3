"""Moved and mirrored pictures: each a window of the padded picture, or its mirror image, the same for the same seed."""

from __future__ import annotations

import torch
from torch.nn import functional

from adamcmp.data.augment import flip_crop


def test_each_picture_is_a_window_of_itself_or_of_its_mirror_image():
    x = torch.arange(1, 1 + 200 * 2 * 5 * 6, dtype=torch.float64).view(200, 2, 5, 6)
    moved = flip_crop(x, seed=3)
    assert moved.shape == x.shape
    drawn = set()
    for picture, found in zip(x, moved, strict=True):
        padded = functional.pad(picture, (4, 4, 4, 4))
        windows = {
            (top, left, mirrored): padded[:, top : top + 5, left : left + 6].flip(2 if mirrored else ())
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
        }
        fits = [key for key, window in windows.items() if torch.equal(window, found)]
        assert fits
        drawn.add(fits[0])
    assert len(drawn) > 100
    assert {mirrored for _, _, mirrored in drawn} == {False, True}
    assert {top for top, _, _ in drawn} == {left for _, left, _ in drawn} == set(range(9))


def test_the_seed_decides():
    x = torch.randn(8, 3, 4, 4)
    assert torch.equal(flip_crop(x, seed=1), flip_crop(x, seed=1))
    assert not torch.equal(flip_crop(x, seed=1), flip_crop(x, seed=2))
