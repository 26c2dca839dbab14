"""Overrides: paths are quoted, groups and keys are checked, and all faults are told together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.config import catalog
from rra_cli.config.overrides import Checked, check, quote, quote_path


def checked(*raw: str, sweep: bool = False) -> Checked:
    return check(raw, catalog.options(), sweep=sweep)


def parsed(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_quoted_text_is_read_as_itself(text: str) -> None:
    assert parsed(f"store.root={quote(text)}") == text


@pytest.mark.parametrize(
    "path",
    [
        "/tmp/ä ö/x",
        "a=b",
        "runs (old)",
        "a,b",
        "it's",
        'say "x"',
        "back\\slash",
        "end\\",
        "[x]",
        "{x: y}",
        "100%",
        "a:b",
        "#x",
    ],
)
@pytest.mark.parametrize("key", ["activations.path", "dataset.root", "store.root", "hydra.run.dir", "hydra.sweep.dir"])
def test_paths_reach_hydra_as_they_were_typed(key: str, path: str) -> None:
    found = checked(f"{key}={path}")
    assert found.faults == ()
    assert parsed(found.overrides[0]) == path


def test_without_quoting_such_a_path_dies_in_the_grammar() -> None:
    """The control: Hydra alone does not read what the test above writes."""
    from hydra.errors import HydraException

    with pytest.raises(HydraException):
        parsed("store.root=/tmp/ä ö(x")


def test_quoted_paths_and_null_stay_as_they_are() -> None:
    assert parsed(checked("store.root='a b'").overrides[0]) == "a b"
    assert parsed(checked('store.root="a b"').overrides[0]) == "a b"
    assert parsed(checked("store.root=null").overrides[0]) is None


def test_in_a_sweep_a_comma_separates_paths_unless_the_whole_is_one(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert quote_path("x y,z", sweep=True) == "'x y','z'"
    assert quote_path("x y,z") == "'x y,z'"
    assert quote_path(str(tmp_path / "a,b"), sweep=True) == f"'{tmp_path}/a,b'"
    found = checked("activations.path=/a b,/c", sweep=True)
    assert len(found.swept["activations.path"]) == 2


def test_experiment_is_added_with_or_without_a_plus() -> None:
    for text in ("experiment=quickstart", "+experiment=quickstart", "++experiment=quickstart"):
        found = checked(text)
        assert found.overrides == ("+experiment=quickstart",)
        assert found.experiment == "quickstart"


def test_groups_lose_their_plus_and_keys_may_be_missing_in_the_yaml() -> None:
    assert checked("+model=mlp", "neighbors.k=5", "+method.epochs=2", "~metrics.nnls").overrides == (
        "model=mlp",
        "++neighbors.k=5",
        "++method.epochs=2",
        "~metrics.nnls",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quickstart", ["expected key=value", "+experiment=quickstart"]),
        ("mlp", ["expected key=value", "model=mlp"]),
        ("foo", ["expected key=value"]),
        ("=3", ["expected key=value"]),
        ("experiment=quickstat", ["experiment: there is no 'quickstat'", "did you mean 'quickstart'?"]),
        ("model=resnt20", ["model: there is no 'resnt20'", "'resnet20'"]),
        ("pooling=[none,men]", ["pooling: there is no 'men'", "'mean'"]),
        ("modle=mlp", ["modle: unknown key", "'model'"]),
        ("experimnt=quickstart", ["experimnt: unknown key", "'experiment'"]),
        ("nosuch.key=1", ["nosuch.key: unknown key", "known: activations"]),
        ("seed.x=1", ["seed.x: unknown key"]),
        ("seed=1,2", ["seed: several values", "rra run -m", "[1,2]"]),
        ("seed=range(3)", ["seed: several values"]),
        ("x=[1", ["x=[1", "quote"]),
        ("model=null", ["model: expected the name of an option, got null"]),
        ("dataset={n_samples: 3}", ["dataset: expected the name of an option", "dataset.KEY=VALUE"]),
        ("experiment=[quickstart,rra_mnist]", ["experiment: one name is expected"]),
        ("~model", ["~model: a group cannot be removed"]),
        ("model@x=mlp", ["model@x: a group has one place"]),
        ("seed=interval(0,1)", ["sweep over an interval"]),
    ],
)
def test_each_fault_says_what_was_expected(text: str, words: list[str]) -> None:
    found = checked(text)
    assert found.overrides == ()
    assert found.faults
    for word in words:
        assert word in " ".join(found.faults), found.faults


def test_a_group_given_twice_is_a_fault() -> None:
    assert checked("model=mlp", "model=lenet5").faults == ("model: given twice",)


def test_all_faults_are_told_and_good_overrides_are_kept() -> None:
    found = checked("seed=1", "modle=x", "model=resnt20", "hydra.callbacks.x=1", "x={")
    assert found.overrides == ("++seed=1",)
    assert len(found.faults) == 4


def test_a_sweep_knows_its_jobs() -> None:
    found = checked("experiment=quickstart,rra_mnist", "seed=range(3)", "model=mlp", sweep=True)
    assert found.faults == ()
    assert found.n_jobs == 6
    assert found.experiment is None
    assert found.swept["seed"] == ("++seed=0", "++seed=1", "++seed=2")
    # Every option of a swept group is looked at once, every value of a plain key is not.
    assert list(found.single()) == [
        ["model=mlp", "+experiment=quickstart", "++seed=0"],
        ["model=mlp", "+experiment=rra_mnist", "++seed=0"],
    ]


def test_without_values_a_sweep_has_one_job() -> None:
    assert checked("seed=1", sweep=True).n_jobs == 1


def test_an_unknown_option_among_swept_ones_is_a_fault() -> None:
    assert checked("model=mlp,resnt20", sweep=True).faults[0].startswith("model: there is no 'resnt20'")


def test_hydra_is_not_swept() -> None:
    assert "one value is needed" in checked("hydra.verbose=true,false", sweep=True).faults[0]


@pytest.mark.parametrize(
    ("launcher", "key", "words"),
    [
        ("slurm", "partion", "slurm has no such field, did you mean 'partition'? its fields: partition, account, "),
        ("slurm", "n_jobs", "slurm has no such field, hydra/launcher=joblib has; its fields: partition, "),
        ("joblib", "partition", "joblib has no such field, hydra/launcher=slurm has; its fields: n_jobs"),
        ("joblib", "njobs", "joblib has no such field, did you mean 'n_jobs'? its fields: n_jobs"),
        ("basic", "n_jobs", "basic has no such field, hydra/launcher=joblib has; its fields: none"),
        ("slurm", "setup", "slurm has no such field; its fields: partition, "),
    ],
)
def test_a_field_that_the_launcher_does_not_have(launcher: str, key: str, words: str) -> None:
    texts = [f"hydra/launcher={launcher}", f"hydra.launcher.{key}=1"]
    for typed in (texts, texts[::-1]):
        (fault,) = checked(*typed, sweep=True).faults
        assert fault.startswith(f"hydra.launcher.{key}: may not be set: {words}")


def test_fields_of_our_launchers_and_of_anothers_pass() -> None:
    for launcher, fields in catalog.launchers().items():
        for field in fields:
            assert checked(f"hydra/launcher={launcher}", f"hydra.launcher.{field}=1").faults == ()
    assert checked("hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=60").faults == ()
