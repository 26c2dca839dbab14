"""Faults of a request are told together."""

from __future__ import annotations

import pytest

from rra_cli.errors import UserError, did_you_mean, together


def fault(message: str, hint: str | None = None) -> None:
    raise UserError(message, hint)


def test_all_checks_are_made_and_all_faults_told() -> None:
    with pytest.raises(UserError) as caught:
        together(lambda: fault("no CUDA", "use cpu"), lambda: 1, lambda: fault("k is 9"), lambda: fault("bad", "mend"))
    assert caught.value.message == "no CUDA\nk is 9\nbad"
    assert caught.value.hint == "use cpu; mend"


def test_without_a_fault_their_results_are_given_in_order() -> None:
    assert together(lambda: 1, lambda: "two") == [1, "two"]


def test_a_single_fault_stays_itself_and_a_bug_stays_a_bug() -> None:
    single = UserError("one", "do it")

    def raises() -> None:
        raise single

    with pytest.raises(UserError) as caught:
        together(lambda: 1, raises)
    assert caught.value is single
    with pytest.raises(ZeroDivisionError):
        together(lambda: fault("k is 9"), lambda: 1 // 0)


def test_a_misspelt_part_of_a_name_is_near() -> None:
    known = ("activation", "depth_multiplier", "width_multiplier")
    assert did_you_mean("witdh", known) == "did you mean 'width_multiplier'?"
    assert did_you_mean("multiplyer", known).startswith("did you mean 'width_multiplier' or ")
    assert did_you_mean("dropout", known).startswith("known: "), "the control"
    many = [f"{letter * 12}_size" for letter in "abcd"]
    assert did_you_mean("size", many) == f"known: {', '.join(many)}", "of many nobody knows which was meant"
