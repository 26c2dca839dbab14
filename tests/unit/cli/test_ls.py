"""`rra ls`: a line for everything that there is, found by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Command

from rra_cli.config import catalog


def test_without_a_group_all_options_of_all_groups_are_listed(rra: Command) -> None:
    assert rra("ls") == 0
    for group, options in catalog.options().items():
        assert f"\n{group}:\n" in f"\n{rra.out}"
        for name in options:
            assert f"\n  {name} " in rra.out


def test_every_option_says_what_it_is(rra: Command) -> None:
    for group, options in catalog.options().items():
        assert rra("ls", group) == 0
        for line in rra.out.splitlines():
            assert len(line.split(maxsplit=1)) == 2, line
        assert len(rra.out.splitlines()) >= len(options)


@pytest.mark.parametrize(("given", "name"), [("metric", "nncs"), ("models", "mlp"), ("experiment", "quickstart")])
def test_groups_are_named_in_singular_or_plural(given: str, name: str, rra: Command) -> None:
    assert rra("ls", given) == 0
    assert any(line.startswith((f"{name} ", f"{{name: {name}}} ")) for line in rra.out.splitlines())


def test_an_unknown_group_or_flag_is_named(rra: Command) -> None:
    assert rra("ls", "modle") == 2
    assert "there is no group 'modle'; did you mean 'model'?" in rra.err
    assert rra("ls", "--all") == 2
    assert "there is no --all" in rra.err
    assert rra("ls", "--config-dir") == 2
    assert "there is no such folder" in rra.err


def test_options_of_the_users_folder_are_listed_if_they_are_safe(rra: Command, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("# My net.\nname: mlp\n")
    assert rra("ls", "model", f"--config-dir={tmp_path}") == 0
    assert any(line.split(maxsplit=1) == ["mine", "My net."] for line in rra.out.splitlines())
    (tmp_path / "model" / "evil.yaml").write_text("_target_: os.mkdir\n")
    assert rra("ls", "model", "-cd", str(tmp_path)) == 2
    assert "'_target_' is refused" in rra.err


def test_studies_that_are_no_group_of_options_are_named_with_their_page(rra: Command) -> None:
    assert rra("ls") == 0
    assert "\nsections:\n" in rra.out
    assert rra("ls", "sections") == 0
    lines = rra.out.splitlines()
    docs = Path(__file__).parents[3] / "docs"
    for name in ("samples", "invariance", "pictures", "compare", "transfer", "metrics.intervals", "metrics.null_test"):
        (line,) = [line for line in lines if line.split()[0] == name]
        page = line.rpartition("(docs/")[2].rstrip(")")
        assert name in (docs / page).read_text(), page
