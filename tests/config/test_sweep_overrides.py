import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamcmp.config.overrides import geomspace, parse_override
from adamcmp.errors import InputError


@given(st.floats(1e-8, 1e3), st.floats(1e-8, 1e3), st.integers(1, 30))
def test_geomspace_is_numpys(start, stop, num):
    expected = np.geomspace(start, stop, num)
    np.testing.assert_allclose(geomspace(start, stop, num).list, expected, rtol=1e-11)


def test_geomspace_gives_round_numbers_and_a_zero_in_front():
    assert geomspace(1e-4, 1e-1, 4, zero=True).list == [0.0, 1e-4, 1e-3, 1e-2, 1e-1]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optimizer.lr=1e-3,3e-3", [1e-3, 3e-3]),
        ("seed=range(0,3)", [0, 1, 2]),
        ("optimizer=choice(adam,adamw)", ["adam", "adamw"]),
        ("optimizer.lr=geomspace(1,100,3)", [1.0, 10.0, 100.0]),
        ("optimizer.lr=geomspace(1e-2,1,3,zero=true)", [0.0, 0.01, 0.1, 1.0]),
        ("optimizer.betas=[0.9,0.99],[0.9,0.999]", [[0.9, 0.99], [0.9, 0.999]]),
    ],
)
def test_sweeps_are_read_as_hydra_reads_them(text, values):
    assert list(parse_override(text).sweep_iterator()) == values


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimizer.lr=interval(0,1)", "single values"),
        ("optimizer.lr=range(1,1)", "empty grid"),
        ("optimizer.lr=geomspace(0,1,3)", "needs start > 0"),
        ("optimizer.lr=geomspace(1,2)", "num"),
        ("optimizer.lr=logspace(1,2,3)", "geomspace"),
        ("optimizer.lr", "key=value"),
        ("optimizer.lr=[1", "do not match"),
    ],
)
def test_what_is_no_grid_is_refused_in_one_line(text, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")) as caught:
        parse_override(text)
    assert "\n" not in str(caught.value)
