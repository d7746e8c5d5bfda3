"""Words of the command line: values that need quotes, home folders, misspelt names, Hydra's own settings in files."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcmp.config.compose import compose
from adamcmp.config.lookup import find_config
from adamcmp.config.overrides import parse_override, quote_home_path, quote_override, require_single_run
from adamcmp.errors import InputError, suggest_names

PARSER = ("token recognition", "mismatched input", "viable alternative", "extraneous input", "missing ")


@settings(max_examples=300, deadline=None)
@given(
    value=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)
)
def test_any_text_is_read_or_answered_without_the_parsers_words(value):
    text = f"data.path={value}"
    try:
        parse_override(text)
    except InputError as error:
        said = str(error).replace(value, "")
        if any(word in said for word in PARSER) and value[:1] not in "[{'\"" and "(" not in value:
            raise AssertionError(said) from error
    (word,) = shlex.split(quote_override("data.path", value))
    assert parse_override(word).value() == value


@pytest.mark.parametrize("value", ["~nobody/x", "a (1).csv", "größe.csv", "a=b", "a b=c", "50%$!", "a&b", "x;y", "a#b"])
def test_the_answer_quotes_the_users_value(value):
    with pytest.raises(InputError, match="needs quotes") as caught:
        parse_override(f"data.path={value}")
    word = str(caught.value).partition("needs quotes: ")[2]
    assert parse_override(shlex.split(word)[0]).value() == value


def test_brackets_that_do_not_match_are_named():
    with pytest.raises(InputError, match=r"'\(' and '\)' do not match"):
        parse_override("optimizer.lr=geomspace(1,2")


def test_home_folders_are_expanded():
    assert parse_override(quote_home_path("data.path=~/a (1).csv")).value() == str(Path("~/a (1).csv").expanduser())
    assert quote_home_path("data.path=a~b") == "data.path=a~b"
    assert quote_home_path("~data.path") == "~data.path"


def test_one_text_with_a_comma_is_no_sweep():
    for ask in (parse_override, lambda text: require_single_run("table", [text])):
        with pytest.raises(InputError, match=r"""'data\.label="price, \$"'"""):
            ask("data.label=price, $")
    with pytest.raises(InputError, match=r"several values are a sweep.*one value with a comma needs quotes"):
        require_single_run("table", ["data.label=price,size"])


@pytest.mark.parametrize(
    ("word", "names", "first"),
    [
        ("adamW", ["adam", "adamw", "nadam", "radam"], "adamw"),
        ("ADAM", ["adam", "adamw"], "adam"),
        ("lr", ["optimizer.lr", "schedule.name", "train.steps"], "optimizer.lr"),
        ("optimiser", ["optimizer", "optimizer.lr", "data"], "optimizer"),
        ("Seeds", ["study.seeds", "seed"], "study.seeds"),
    ],
)
def test_the_closest_name_comes_first(word, names, first):
    assert suggest_names(word, names).startswith(f"did you mean {first}")


@pytest.mark.parametrize(
    ("hydra", "says"),
    [
        ("sweeper: {params: {optimizer.lr: '1e-3,1e-2'}}", r"study: grid: \{optimizer.lr: \"1e-3,1e-2\"\}"),
        ("run: {dir: elsewhere}", "hydra.run has no effect"),
    ],
)
def test_hydras_own_settings_in_a_file_are_refused(tmp_path, hydra, says):
    (tmp_path / "mine.yaml").write_text(f"defaults: [config, _self_]\nhydra: {{{hydra}}}\n")
    with pytest.raises(InputError, match=says):
        compose(find_config(str(tmp_path / "mine.yaml"), None), [])
