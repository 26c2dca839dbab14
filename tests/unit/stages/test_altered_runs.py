"""Altered samples as stages: what is keyed, told and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from altered import FLIP, NOISE, captured, experiment, rows, run, with_copies

from rra_cli.config.experiment import ActivationsConfig, Experiment
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.alterations import draws
from rra_cli.data.alterations.alteration import NoAlteration, Seen
from rra_cli.data.alterations.augmented import Augmented
from rra_cli.data.alterations.labels import ShuffleLabels
from rra_cli.data.alterations.noise import Noise
from rra_cli.data.digits import Digits
from rra_cli.errors import UserError
from rra_cli.stages.images import Images
from rra_cli.stages.lay_out import lay_out


@pytest.fixture
def base(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)


def test_altered_images_have_keys_of_their_own_layer_0_included_and_the_training_has_not(base: Experiment) -> None:
    plain, noisy = lay_out(base), lay_out(replace(base, alter=NOISE))
    assert not set(captured(plain).values()) & set(captured(noisy).values())
    assert plain.training is not None
    assert noisy.training is not None
    assert plain.training.spec == noisy.training.spec
    louder, other = (lay_out(replace(base, alter=replace(NOISE, **some))) for some in ({"level": 0.03}, {"seed": 1}))
    assert len({tuple(captured(layout).values()) for layout in (plain, noisy, louder, other)}) == 4


def test_what_alters_nothing_has_the_keys_of_the_plain_run(base: Experiment) -> None:
    for nothing in (NoAlteration(), Noise(level=0.0), Augmented(), ShuffleLabels(level=0.0)):
        layout = lay_out(replace(base, alter=nothing))
        assert captured(layout) == captured(lay_out(base))
        assert [stage.spec for stage in layout.layers] == [stage.spec for stage in lay_out(base).layers]
        assert not [note for note in layout.notes if "altered" in note]


def test_shuffled_labels_change_what_reads_labels_alone(base: Experiment) -> None:
    plain, shuffled = lay_out(base), lay_out(replace(base, alter=ShuffleLabels()))
    assert captured(plain) == captured(shuffled)
    same = {one.key: one.spec == other.spec for one, other in zip(plain.layers, shuffled.layers, strict=True)}
    assert same == {"id_twonn": True, "nncs": False}
    assert shuffled.notes == ["the measured labels are altered (shuffle_labels 1); training sees none of it"]


def test_the_tables_of_an_altered_run_say_so(base: Experiment) -> None:
    plain, _ = run(base, "plain")
    noisy, watcher = run(replace(base, alter=NOISE), "noisy")
    assert {row["alter"] for name in ("layers", "metrics", "mu") for row in rows(noisy / f"{name}.csv")} == {
        "noise 0.02"
    }
    assert not [row for row in rows(plain / "layers.csv") if "alter" in row]
    assert "the measured images are altered (noise 0.02); training sees none of it" in watcher.told
    assert rows(plain / "layers.csv")[0]["id_twonn"] != rows(noisy / "layers.csv")[0]["id_twonn"]


def test_samples_are_the_same_whatever_alters_them(base: Experiment) -> None:
    """So that `rra compare` can hold the graphs of both runs against each other."""
    plain, noisy = (lay_out(replace(base, alter=some)).data for some in (NoAlteration(), NOISE))
    assert plain.samples_identity("test") == noisy.samples_identity("test")  # type: ignore[union-attr]
    assert plain.measured_identity("test") != noisy.measured_identity("test")  # type: ignore[union-attr]


def test_a_batch_has_the_noise_of_its_own_samples_before_it_is_normalised() -> None:
    """clip(x / 255 + level ε), then (· - mean) / sd; batches that begin anywhere have the ε of their samples."""
    data = Digits(n_samples=30, splits=("test",))
    images = Images(data, alteration=NOISE)
    samples, own = images.measured("test"), slice(10, 15)
    noise = draws.normal(Seen("test", samples.ids[own]), NOISE.seed, (1, 8, 8))
    expected = (np.clip(samples.images[own] / 255 + 0.02 * noise, 0, 1) - data.mean[0]) / data.std[0]
    np.testing.assert_allclose(images.batches("test", 10, 15, "cpu").numpy(), expected, atol=1e-4)


def test_samples_are_not_altered_twice(base: Experiment) -> None:
    with pytest.raises(
        UserError, match=r"invariance compares samples with their altered copies \(flip\), but alter=noise"
    ):
        lay_out(with_copies(replace(base, alter=NOISE), flip=FLIP))


@pytest.mark.parametrize("key", ["alter", "invariance"])
def test_a_users_layers_cannot_be_altered(base: Experiment, tmp_path: Path, key: str) -> None:
    folder = tmp_path / "layers"
    folder.mkdir()
    np.save(folder / "000_x.npy", np.random.RandomState(0).normal(size=(50, 3)))
    files = replace(base, dataset=ActivationFiles(), activations=ActivationsConfig(path=str(folder)))
    altered = replace(files, alter=NOISE) if key == "alter" else with_copies(files, noise=NOISE)
    with pytest.raises(UserError, match=f"{key} alters images on their way into a network, but dataset=activations"):
        lay_out(altered)
