"""A key depends on everything that is said and on nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_cli.core.spec import Spec, canonical_json, check_entry, differences

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
IDENTITIES = st.dictionaries(st.text(), VALUES, max_size=5)


def shuffled(value: Any) -> Any:
    """The same value with every mapping written in the opposite order, and tuples for lists."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    if isinstance(value, list):
        return tuple(shuffled(item) for item in value)
    return value


@given(IDENTITIES)
def test_order_and_tuples_do_not_change_the_key(identity: dict[str, Any]) -> None:
    assert Spec("graph", 1, identity).key == Spec("graph", 1, shuffled(identity)).key
    assert Spec("graph", 1, identity) == Spec("graph", 1, shuffled(identity))


@given(IDENTITIES)
def test_a_spec_survives_json(identity: dict[str, Any]) -> None:
    spec = Spec("graph", 3, identity, ("a" * 64,))
    stored = json.loads(json.dumps(spec.as_json(), indent=2, ensure_ascii=False))
    again = Spec(stored["stage"], stored["version"], stored["identity"], tuple(stored["upstream"]))
    assert again == spec
    assert again.key == spec.key
    assert hash(again) == hash(spec)
    assert list(differences(spec.as_json(), stored)) == []


@given(VALUES, VALUES)
def test_different_values_have_different_keys(one: Any, other: Any) -> None:
    same = Spec("graph", 1, {"x": one}).key == Spec("graph", 1, {"x": other}).key
    # repr tells 1, 1.0, True and -0.0 apart as JSON does.
    assert same == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_whole_numbers_fractions_and_booleans_are_told_apart() -> None:
    keys = {Spec("graph", 1, {"x": value}).key for value in (1, 1.0, True, "1", "1.0", [1], None)}
    assert len(keys) == 7


def test_stage_version_and_upstream_are_part_of_the_key() -> None:
    a, b = "a" * 64, "b" * 64
    specs = [Spec("graph", 1, {}), Spec("train", 1, {}), Spec("graph", 2, {}), Spec("graph", 1, {}, (a,))]
    specs += [Spec("graph", 1, {}, (a, b)), Spec("graph", 1, {}, (b, a)), Spec("graph", 1, {}, (f"{a}/epoch_0010",))]
    assert len({spec.key for spec in specs}) == len(specs)


def test_the_key_is_sha256_of_the_canonical_json() -> None:
    """Written by hand, so that no key changes by accident: every stored result would be lost."""
    spec = Spec("graph", 1, {"b": [1, 0.5, True, None], "a": "ä"}, ("0" * 64,))
    text = (
        '{"identity":{"a":"\\u00e4","b":[1,0.5,true,null]},"stage":"graph","upstream":["' + "0" * 64 + '"],"version":1}'
    )
    assert spec.canonical == text
    assert spec.key == hashlib.sha256(text.encode()).hexdigest()


def test_the_key_is_the_same_in_another_process() -> None:
    """No hash randomisation, no locale, no set order."""
    code = "from rra_cli.core.spec import Spec; print(Spec('graph', 1, {'b': 0.1, 'a': {'z': 1, 'ä': 2}}).key)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert done.stdout.strip() == Spec("graph", 1, {"a": {"ä": 2, "z": 1}, "b": 0.1}).key


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Spec("graph", 1, {"x": [value]})


@pytest.mark.parametrize("value", [np.float32(1), np.int64(1), {1, 2}, b"x", object()])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        Spec("graph", 1, {"x": value})


def test_changing_the_dictionary_later_changes_nothing() -> None:
    identity: dict[str, Any] = {"x": [1]}
    spec = Spec("graph", 1, identity)
    key = Spec("graph", 1, {"x": [1]}).key
    identity["x"].append(2)
    assert spec.key == key
    assert spec.as_json()["identity"] == {"x": [1]}


@pytest.mark.parametrize("stage", ["", "Graph", "../x", "a/b", ".hidden", "graph.work", "1st"])
def test_a_stage_name_cannot_leave_the_store(stage: str) -> None:
    with pytest.raises(ValueError, match="a stage is named"):
        Spec(stage, 1, {})


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1"])
def test_versions_are_whole_numbers(version: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Spec("graph", version, {})


@pytest.mark.parametrize("key", ["", "abc", "A" * 64, "../" + "a" * 61, "a" * 64 + "/", "a" * 64 + "/../x"])
def test_upstream_keys_are_keys(key: str) -> None:
    with pytest.raises(ValueError, match="upstream"):
        Spec("graph", 1, {}, (key,))


@pytest.mark.parametrize("entry", ["k=150", "epoch_0010", "best", "history", "a.b-c+d"])
def test_entries(entry: str) -> None:
    assert check_entry(entry) == entry


@pytest.mark.parametrize("entry", ["", ".", "..", "a/b", "/a", ".tmp-x", "meta.json", "x.work", "a\n", "ä", "a" * 101])
def test_an_entry_name_cannot_leave_the_artifact(entry: str) -> None:
    with pytest.raises(ValueError, match="an entry is named"):
        check_entry(entry)


def test_differences_are_shown_by_path() -> None:
    stored = {"identity": {"lr": 0.1, "same": 1, "old": 1, "list": [1, 2]}}
    asked = {"identity": {"lr": 0.2, "same": 1, "new": 2, "list": [1, 3]}}
    assert list(differences(stored, asked)) == [
        "identity.list: stored [1, 2], asked for [1, 3]",
        "identity.lr: stored 0.1, asked for 0.2",
        "identity.new: not stored, asked for 2",
        "identity.old: stored 1, not asked for",
    ]
    assert list(differences({"a": 1}, {"a": True})) == ["a: stored 1, asked for True"]


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": (1, 2), "a": {}}) == '{"a":{},"b":[1,2]}'
