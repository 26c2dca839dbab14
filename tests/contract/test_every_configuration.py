"""Every YAML file, found by itself: it composes, binds, shows all fields of its component, and leaks into no other."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rra_cli.activations.pooling import Pooling
from rra_cli.cli.launchers import LAUNCHERS
from rra_cli.config import catalog
from rra_cli.config.bind import COMPONENTS, FLAGS, SECTIONS, bind
from rra_cli.config.compose import load
from rra_cli.config.experiment import Experiment, Runtime
from rra_cli.core.component import components
from rra_cli.errors import ConfigError

# Of ours only: what a plug-in brings is tested by whoever wrote it.
OPTIONS = {
    group: {name: option for name, option in found.items() if option.path.is_relative_to(catalog.own_folder())}
    for group, found in catalog.options().items()
}
EXPERIMENTS = OPTIONS["experiment"]
GROUPS = {group: found for group, found in OPTIONS.items() if group != "experiment"}
# What experiments change in an option for the method chosen: (group, name) -> file.
RECIPES = {
    (path.parents[1].name, path.stem): path for path in sorted(catalog.own_folder().glob(f"*/{catalog.RECIPES}*.yaml"))
}
COMPONENT_FILES = [(group, name) for group in COMPONENTS for name in OPTIONS[group]]
# A number of samples that the chosen data set does not have: the user is told, and no setting of another leaked in.
TOO_FEW = re.compile(r"dataset\.(n_samples|train_size) is [\d,]+")
UNTRAINED = re.compile(r"(model|method|augment|optimizer): dataset=activations brings its own layers")


def values(group: str, name: str) -> dict[str, Any]:
    """The YAML file of an option."""
    read: dict[str, Any] = yaml.safe_load(OPTIONS[group][name].path.read_text())
    return read


def component_of(group: str, name: str) -> type[Any]:
    return components(group)[values(group, name)["name"]]


# Every file is found


def test_every_file_belongs_to_a_group_of_the_configuration() -> None:
    """And every group has files: a folder that nothing composes would be dead."""
    root = catalog.own_folder()
    found = {path.relative_to(root) for path in root.rglob("*.yaml")}
    listed = {option.path.relative_to(root) for options in OPTIONS.values() for option in options.values()}
    recipes = {path.relative_to(root) for path in RECIPES.values()}
    launchers = {Path("hydra/launcher") / f"{name}.yaml" for name in LAUNCHERS if name != "basic"}  # that is Hydra's
    assert found == {*listed, Path("config.yaml"), *recipes, *launchers}
    assert not listed & recipes, "a recipe is no option"
    assert set(OPTIONS) == {*COMPONENTS, "pooling", "metrics", "runtime", "experiment"}
    assert all(OPTIONS.values())


def test_every_component_has_a_file() -> None:
    """Nobody can choose a component without one; metrics are named by settings, several of which may share a file."""
    for group in COMPONENTS:
        own = {name for name, cls in components(group).items() if cls.__module__.startswith("rra_cli.")}
        assert {values(group, name)["name"] for name in OPTIONS[group]} == own, group
    used = {setting["name"] for name in OPTIONS["metrics"] for setting in metric_settings(name).values()}
    assert used == {name for name, cls in components("metrics").items() if cls.__module__.startswith("rra_cli.")}


def test_every_file_says_in_its_first_line_what_it_is() -> None:
    silent = [option.path.name for found in OPTIONS.values() for option in found.values() if len(option.about) < 15]
    assert not silent


# What a file says


@pytest.mark.parametrize(("group", "name"), COMPONENT_FILES)
def test_a_components_file_shows_all_of_its_fields(group: str, name: str) -> None:
    """So that `--cfg job` shows everything there is to set; a field that the class does not have would be refused."""
    fields = [field.name for field in dataclasses.fields(component_of(group, name))]
    assert sorted(values(group, name)) == sorted(["name", *fields])


@pytest.mark.parametrize(("group", "name"), [pair for pair in COMPONENT_FILES if values(*pair)["name"] == pair[1]])
def test_a_file_named_like_its_component_holds_the_defaults(group: str, name: str) -> None:
    """`ResNet20()` in a notebook is `model=resnet20` on the command line."""
    bound = getattr(load([f"{group}={name}"]), group)
    assert bound == component_of(group, name)()


def test_settings_of_a_run_are_the_defaults_of_their_classes() -> None:
    experiment = load()
    for section, cls in SECTIONS.items():
        assert getattr(experiment, section) == cls(), section
    assert experiment.runtime == Runtime()


def metric_settings(name: str) -> dict[str, Any]:
    return {key: value for key, value in values("metrics", name).items() if key not in FLAGS}


@pytest.mark.parametrize("name", OPTIONS["metrics"])
def test_a_set_of_metrics_shows_all_of_their_fields(name: str) -> None:
    assert {key for key in values("metrics", name) if key in FLAGS} == set(FLAGS)
    assert metric_settings(name)
    for setting in metric_settings(name).values():
        fields = [field.name for field in dataclasses.fields(components("metrics")[setting["name"]])]
        assert sorted(setting) == sorted(["name", *fields])


def test_option_files_that_are_listed_together_share_no_key() -> None:
    """With a common key the last one would win silently; equal columns of metrics must be the same metric."""
    for group in ("pooling", "metrics"):
        seen: dict[str, Any] = {}
        for name in OPTIONS[group]:
            for key, setting in values(group, name).items():
                if key not in FLAGS:
                    assert seen.setdefault(key, setting) == setting, f"{group}: {key}"


@pytest.mark.parametrize("name", OPTIONS["pooling"])
def test_a_poolings_file_is_its_name(name: str) -> None:
    assert load([f"pooling={name}"]).pooling == {name: Pooling.named(name)}


# Every combination


def covering(groups: dict[str, dict[str, Any]]) -> Iterator[dict[str, list[str]]]:
    """Choices that hold every option of every group at least once; of metrics, which may be listed, some at a time."""
    listed = {group: [[name] for name in options] for group, options in groups.items()}
    names = list(groups["metrics"])
    listed["metrics"] = [names[at : at + 4] for at in range(0, len(names), 4)]
    for position in range(max(len(options) for options in listed.values())):
        yield {group: options[position % len(options)] for group, options in listed.items()}


def faults_of(overrides: list[str]) -> tuple[str, ...]:
    """The faults of a composition; the binder goes on after each, so one composition tells all of them."""
    try:
        load(overrides)
    except ConfigError as error:
        return error.faults
    return ()


def test_the_choices_hold_every_option() -> None:
    chosen = {(group, name) for choice in covering(GROUPS) for group, names in choice.items() for name in names}
    assert chosen == {(group, name) for group, options in GROUPS.items() for name in options}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_as_it_is(name: str) -> None:
    experiment = load([f"experiment={name}"])
    assert isinstance(experiment, Experiment)
    assert experiment.name == name


def how_long(name: str) -> Any:
    """Each takes seconds; a small experiment sets what its large twin does, and other numbers."""
    if name == "quickstart":
        return ()
    return pytest.mark.stress if name.endswith("_small") else pytest.mark.long


@pytest.mark.parametrize("name", [pytest.param(name, marks=how_long(name)) for name in EXPERIMENTS])
def test_every_experiment_composes_with_every_option_of_every_group(name: str) -> None:
    """Changing a group by override leaks no setting of the other option; values may still ask for too many samples, and
    nothing of a training may be chosen for data that bring their own layers.
    """
    for choice in covering(GROUPS):
        chosen = [
            f"{group}={names[0] if len(names) == 1 else '[' + ','.join(names) + ']'}" for group, names in choice.items()
        ]
        found = faults_of([f"experiment={name}", *chosen])
        assert not [fault for fault in found if not TOO_FEW.match(fault) and not UNTRAINED.match(fault)], choice
        assert any(UNTRAINED.match(fault) for fault in found) == (choice["dataset"] == ["activations"])


def test_a_leak_would_be_seen(tmp_path: Path) -> None:
    """An experiment that sets a field of one model only: as itself it is fine, with another model it is not."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "leaks.yaml").write_text(
        "# @package _global_\n# Leaks.\ndefaults:\n  - override /model: mlp\nmodel:\n  depth: 2\n"
    )
    assert load(["experiment=leaks"], [tmp_path]).model.depth == 2  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"model\.depth: unknown key"):
        load(["experiment=leaks", "model=resnet20"], [tmp_path])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_sets_only_what_all_options_of_a_group_have(name: str) -> None:
    """Read from the file itself, so that it holds for options whose values happen to agree, too."""
    settings = {key: value for key, value in values("experiment", name).items() if key != "defaults"}
    for group, given in settings.items():
        if group in COMPONENTS:
            shared = set.intersection(*(set(values(group, option)) for option in OPTIONS[group])) - {"name"}
            assert set(given) <= shared, f"{group}: {sorted(set(given) - shared)}"


# Recipes


def recipe_method(name: str) -> str:
    """The method that a recipe is for: `lightly_moco_v2` is for `moco_v2`."""
    return max((method for method in OPTIONS["method"] if name.endswith(f"_{method}")), key=len)


def recipe_users(group: str, name: str) -> list[str]:
    """The experiments that take the recipe for its method."""
    method = recipe_method(name)
    users = []
    for experiment, option in EXPERIMENTS.items():
        overrides = {
            key.removeprefix("override /"): value
            for entry in yaml.safe_load(option.path.read_text())["defaults"]
            for key, value in entry.items()
        }
        pattern = overrides.get(f"{group}/recipe@{group}", "")
        chosen = {**{key: str(value) for key, value in overrides.items()}, "method": method}
        for key in re.findall(r"\$\{(\w+)\}", pattern):
            pattern = pattern.replace(f"${{{key}}}", chosen[key])
        if pattern == name:
            users.append(experiment)
    return users


@pytest.mark.parametrize(("group", "name"), RECIPES)
def test_a_recipe_changes_fields_of_its_option_for_its_method(group: str, name: str) -> None:
    """In an augmentation or optimiser: of the option that its name begins with. Every one is taken by an experiment."""
    method = recipe_method(name)
    option = method if group == "method" else name.removesuffix(f"_{method}")
    given = yaml.safe_load(RECIPES[group, name].read_text())
    fields = {field.name for field in dataclasses.fields(component_of(group, option))}
    assert set(given) <= fields
    assert any(given[key] != values(group, option)[key] for key in given), "it changes nothing"
    assert RECIPES[group, name].read_text().startswith("# ")
    assert recipe_users(group, name)


@pytest.mark.parametrize(("group", "name"), RECIPES)
def test_an_experiment_takes_a_recipe_for_its_method_and_for_no_other_option(group: str, name: str) -> None:
    """With the method its values are there; with another option of the group nothing of them leaks in."""
    given = yaml.safe_load(RECIPES[group, name].read_text())
    method = recipe_method(name)
    for experiment in recipe_users(group, name):
        bound = getattr(load([f"experiment={experiment}", f"method={method}"]), group)
        found = {key: getattr(bound, key) for key in given}
        assert found == {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        other = "none" if group in ("method", "augment") else "adam"
        overrides = [f"experiment={experiment}", f"method={'none' if group == 'method' else method}"]
        plain = getattr(load([f"{group}={other}"]), group)
        bound = getattr(load([*overrides, *([] if group == "method" else [f"{group}={other}"])]), group)
        assert type(bound) is type(plain)
        assert not [key for key in given if getattr(bound, key, None) != getattr(plain, key, None)]


def test_a_method_has_its_own_number_of_epochs_where_the_source_says_so() -> None:
    """The label-free thesis: SimCLR 1000, SimSiam and MoCo v2 800; what the user types wins."""
    methods = ("simclr", "simsiam", "moco_v2")
    epochs = {method: load(["experiment=ssl_cifar10", f"method={method}"]).method.epochs for method in methods}
    assert epochs == {"simclr": 1000, "simsiam": 800, "moco_v2": 800}
    assert load(["experiment=ssl_cifar10", "method.epochs=3", "method.milestones=1"]).method.epochs == 3


def test_a_recipe_of_the_users_own_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "method" / "recipe").mkdir(parents=True)
    (tmp_path / "method" / "recipe" / "lightly_triplet_ss.yaml").write_text("# Mine.\nmargin: 0.2\n")
    bound = load(["experiment=ssl_cifar10_200", "method=triplet_ss"], [tmp_path]).method
    assert bound.margin == 0.2  # type: ignore[attr-defined]


def test_an_unknown_key_in_a_plain_configuration_is_a_fault() -> None:
    """Negative control of binding: nothing that is not declared gets through."""
    with pytest.raises(ConfigError, match="unknown key"):
        bind({"seed": 0, "modle": {}})


# What an experiment promises


HEADER = ("# Command:", "# Measured:", "# Expected:")


def header_faults(text: str) -> list[str]:
    """What the opening comment lacks: the command, the hardware and time, expected numbers with their source."""
    opening = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        opening.append(line)
    said = {start: [line.removeprefix(start).strip() for line in opening if line.startswith(start)] for start in HEADER}
    return [start for start, lines in said.items() if not any(lines)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_header_of_an_experiment_says_what_to_type_and_what_to_expect(name: str) -> None:
    text = EXPERIMENTS[name].path.read_text()
    assert header_faults(text) == []
    command = next(line for line in text.splitlines() if line.startswith("# Command:"))
    assert re.search(rf"experiment={name}\b", command), command


def test_a_header_that_says_too_little_is_seen() -> None:
    assert header_faults("# About.\n# Command: rra run\n# Measured:\nseed: 0\n# Expected: too late\n") == [
        "# Measured:",
        "# Expected:",
    ]
