"""Pictures of layers in a run: their tables, how they are turned, what is reused, and what is refused."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from rra_cli import pipeline
from rra_cli.activations.pooling import Pooling
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.config.pictures import PicturesConfig
from rra_cli.core.store import Store
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.data.attributes import luminance
from rra_cli.data.augment import NoAugment
from rra_cli.data.digits import Digits
from rra_cli.embedding.procrustes import aligned, standardised
from rra_cli.errors import UserError
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.class_similarity import NNCS
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.models.mlp import MLP
from rra_cli.neighbors.exact import ExactEngine
from rra_cli.report import picture_plots
from rra_cli.report.load import load_run
from rra_cli.report.style import styled
from rra_cli.stages.images import Images
from rra_cli.stages.lay_out import lay_out
from rra_cli.stages.picture import PictureStage
from rra_cli.stages.picture_study import PictureStudy
from rra_cli.stages.results import Measured
from rra_cli.training.optimizer import SGD

K, N = 6, 80
PICTURES = PicturesConfig(layers=("input", "hidden*"), n_samples=50, n_neighbors=5, color_by="luminance")


class Quiet:
    """A reporter that shows nothing."""

    def task(self, title: str):
        from contextlib import nullcontext

        return nullcontext(lambda done, total, note: None)

    def note(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


QUIET: Any = Quiet()


def experiment(root: Path, pictures: PicturesConfig = PICTURES) -> Experiment:
    return Experiment(
        name="test",
        seed=0,
        dataset=Digits(n_samples=N, splits=("test",)),
        model=MLP(width=16, depth=2),
        method=NoTraining(),
        augment=NoAugment(),
        optimizer=SGD(),
        pooling={"none": Pooling()},
        neighbors=ExactEngine(k=K),
        metrics=MetricSet({"nncs_mutual": NNCS(graph="mutual"), "nnls_radius": NNLS(graph="radius")}),
        activations=ActivationsConfig(keep="until_measured"),
        pictures=pictures,
        store=StoreConfig(str(root / "store")),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without plots."""
    root = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "render", lambda *args, **keywords: [])
        pipeline.run(experiment(root), root / "run", QUIET, config={"pictures": {"color_by": "luminance"}})
    return root


def rows(root: Path, name: str) -> list[dict[str, str]]:
    with (root / "run" / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_chosen_layer_has_its_samples_by_every_method(root: Path) -> None:
    found = rows(root, "pictures")
    layers = list(dict.fromkeys(row["layer"] for row in found))
    assert layers[0] == "input"
    assert all(layer.startswith("hidden") for layer in layers[1:])
    assert len(layers) > 1
    assert len(found) == 50 * len(layers) * 2
    shown = {row["sample_id"] for row in found}
    assert len(shown) == 50, "the same samples in all pictures"
    images = Images(Digits(n_samples=N, splits=("test",)))
    samples = images.measured("test")
    known = {
        str(number): (images.dataset.class_names[label], light)
        for number, label, light in zip(samples.ids, samples.labels, luminance(samples.images), strict=True)
    }
    for row in found:
        name, light = known[row["sample_id"]]
        assert row["class"] == name
        assert float(row["attribute"]) == pytest.approx(light)
        assert (row["k"], row["engine"]) == (str(K), "exact")


def test_coordinates_and_quality_are_those_of_scikit_learn(root: Path) -> None:
    images = Images(Digits(n_samples=N, splits=("test",)))
    x = images.batches("test", 0, N, "cpu").numpy().reshape(N, -1)
    other = PCA(2, svd_solver="full").fit_transform(x.astype(np.float64))
    other /= np.sqrt(np.square(other).sum(axis=1).mean())
    place = {str(number): at for at, number in enumerate(images.sample_ids("test").tolist())}
    own = [row for row in rows(root, "pictures") if (row["layer"], row["method"]) == ("input", "pca")]
    found = np.array([[float(row["x"]), float(row["y"])] for row in own])
    expected = other[[place[row["sample_id"]] for row in own]]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-5)
    told = next(row for row in rows(root, "picture_quality") if (row["layer"], row["method"]) == ("input", "pca"))
    assert float(told["trustworthiness"]) == pytest.approx(trustworthiness(x, other, n_neighbors=5), abs=1e-3)
    assert float(told["chance"]) == pytest.approx(5 / (N - 1))
    assert (told["n_neighbors"], told["components"], told["left_out"]) == ("5", "", "0")
    isomap = next(row for row in rows(root, "picture_quality") if row["method"] == "isomap")
    assert int(isomap["components"]) >= 1
    assert isomap["variance"] == ""


def test_each_layer_is_turned_upon_the_one_before(root: Path) -> None:
    found = [row for row in rows(root, "pictures") if row["method"] == "pca"]
    layers = list(dict.fromkeys(row["layer"] for row in found))
    pictures = [np.array([[float(r["x"]), float(r["y"])] for r in found if r["layer"] == layer]) for layer in layers]
    stages = [stage for stage in lay_out(experiment(root)).stages if isinstance(stage, PictureStage)]
    raw = {s.point.layer: s.load(Store(root / "store"))[0].arrays["coordinates"] for s in stages if s.method == "pca"}
    for before, picture, layer in zip(pictures, pictures[1:], layers[1:], strict=False):
        product = picture.T @ before
        assert np.trace(product) > 0.9 * np.linalg.svd(product, compute_uv=False).sum(), "no turn brings it nearer"
        assert np.square(raw[layer]).sum(axis=1).mean() != pytest.approx(1.0, rel=1e-3), "stored as it was found"


@dataclass(eq=False)
class Drawn:
    """A picture that a stage has made."""

    method: str
    point: SimpleNamespace
    cloud: np.ndarray
    k: int = 5

    def load(self, store: Store) -> list[Measured]:
        return [Measured({"reason": "", "engine": "exact", "recall": 1.0}, {"coordinates": self.cloud})]


def test_a_series_is_of_one_method_split_and_pooling_and_goes_on_at_the_next_checkpoint() -> None:
    """Every picture is another cloud; each is turned upon the layer before, the first layer upon its last picture."""
    random, stages = np.random.default_rng(0), []
    for checkpoint, split, pooling, layer, method in product(
        ("epoch_0", "epoch_1", "last"), ("train", "test"), ("none", "avg"), ("a", "b", "c"), ("pca", "isomap")
    ):
        point = SimpleNamespace(checkpoint=checkpoint, split=split, pooling=pooling, layer=layer, k=5)
        stages.append(Drawn(method, point, random.normal(size=(12, 2))))
    data: Any = SimpleNamespace(sample_ids=lambda split: np.arange(12), has_labels=False)
    study = PictureStudy(replace(PICTURES, n_samples=12, color_by=None), stages, data)  # type: ignore[arg-type]
    none: Any = None
    tables = study.tables(none, lambda point: vars(point))
    before: dict[tuple[str, ...], np.ndarray] = {}  # of a series, and of its first layer
    pictures = np.array([[row["x"], row["y"]] for row in tables["pictures"]]).reshape(len(stages), 12, 2)
    for stage, own in zip(stages, pictures, strict=True):
        where = stage.method, stage.point.split, stage.point.pooling
        last = before.get((*where, "first") if stage.point.layer == "a" else where)
        expected = standardised(stage.cloud) if last is None else aligned(stage.cloud, last)
        np.testing.assert_allclose(own, expected, atol=1e-12, err_msg=str(stage.point))
        before[where] = expected
        if stage.point.layer == "a":
            before[*where, "first"] = expected


def test_variants_of_the_graph_say_how_many_samples_they_leave_alone(root: Path) -> None:
    found = rows(root, "graph_lists")
    assert {(row["metric"], row["graph"]) for row in found} == {("nncs_mutual", "mutual"), ("nnls_radius", "radius")}
    used = {row["layer"]: int(row["n_used"]) for row in rows(root, "metrics") if row["metric"] == "nncs_mutual"}
    for row in found:
        if row["graph"] == "mutual":
            assert int(row["without_neighbors"]) == N - used[row["layer"]]
            assert (row["radius"], row["censored"]) == ("", "0")
        else:
            assert float(row["radius"]) > 0
            assert 0 < int(row["censored"]) < N / 2
    assert not (root / "run" / "tables" / "nnls.csv").exists(), "that table is about the directed graph"
    assert {row["metric"] for row in rows(root, "pairs")} == {"nnls_radius"}


def test_settings_decide_only_what_they_change(root: Path) -> None:
    def keys(**changes: Any) -> dict[tuple[str, str], str]:
        stages = lay_out(experiment(root, replace(PICTURES, **changes))).stages
        return {(s.method, s.point.layer): s.spec.key for s in stages if isinstance(s, PictureStage)}

    before = keys()
    assert keys(n_samples=7, color_by=None, min_dist=0.5) == before
    fewer = keys(landmarks=10)
    assert {each for each in before if before[each] != fewer[each]} == {each for each in before if each[0] == "isomap"}
    assert not set(keys(n_neighbors=4).values()) & set(before.values())
    assert not set(keys(seed=1).values()) & set(before.values())
    stages = [stage for stage in lay_out(experiment(root)).stages if isinstance(stage, PictureStage)]
    assert all(stage.done(Store(root / "store")) for stage in stages)
    assert all(stage.cost().seconds > 0 for stage in stages)
    assert not [s for s in lay_out(experiment(root, PicturesConfig())).stages if isinstance(s, PictureStage)]


def test_plots_show_all_layers_by_class_and_by_attribute(root: Path) -> None:
    run = load_run(root / "run")
    with styled():
        made = {plot.name: plot.draw() for plot in picture_plots.picture_plots(run)}
    assert set(made) == {f"picture_{m}{a}_test" for m in ("pca", "isomap") for a in ("", "_luminance")}
    figure = made["picture_pca_test"]
    assert figure is not None
    layers = list(dict.fromkeys(row["layer"] for row in rows(root, "pictures")))
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title().splitlines()[0] for axes in shown] == layers
    quality = {row["layer"]: row for row in rows(root, "picture_quality") if row["method"] == "pca"}
    class_at = {(row["layer"], row["x"], row["y"]): row["class"] for row in rows(root, "pictures")}
    legend = figure.legends[0]
    colour_of = {
        text.get_text(): to_rgba(line.get_color())
        for text, line in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert len(set(colour_of.values())) == len(colour_of) == 10
    for axes, layer in zip(shown, layers, strict=True):
        told = (float(quality[layer][name]) for name in ("trustworthiness", "preservation"))
        assert "T {:.2f}, kept {:.2f}".format(*told).replace("0.", ".") in axes.get_title()
        (samples,) = axes.collections
        assert len(samples.get_offsets()) == 50
        for (x, y), colour in zip(samples.get_offsets().tolist(), samples.get_facecolors(), strict=True):
            assert tuple(colour) == colour_of[class_at[layer, repr(x), repr(y)]]


def test_a_panel_says_how_many_samples_it_leaves_out(root: Path) -> None:
    run = load_run(root / "run")
    assert run.tables.picture_quality is not None
    partly = run.tables.picture_quality.assign(left_out=3, components=2)
    run = replace(run, tables=replace(run.tables, picture_quality=partly))
    with styled():
        made = picture_plots.picture_figure(run, run.main_checkpoint, "test", run.plain_variants[0], "isomap")
    assert made is not None
    assert all(axes.get_title().splitlines()[2] == "77 of 80, 2 parts" for axes in made.axes if axes.get_visible())


def test_a_method_without_components_names_no_parts(root: Path) -> None:
    run = load_run(root / "run")
    assert run.tables.picture_quality is not None
    partly = run.tables.picture_quality.assign(left_out=3)
    run = replace(run, tables=replace(run.tables, picture_quality=partly))
    with styled():
        made = picture_plots.picture_figure(run, run.main_checkpoint, "test", run.plain_variants[0], "pca")
    assert made is not None
    assert all(axes.get_title().splitlines()[2] == "77 of 80" for axes in made.axes if axes.get_visible())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ("inptu",)}, "pictures.layers names 'inptu', which matches no layer"),
        ({"n_neighbors": 7}, "pictures.n_neighbors is 7, but the graphs hold 6 neighbours"),
        ({"checkpoints": ("epoch_0003",)}, "pictures.checkpoints names 'epoch_0003', which is not measured"),
    ],
)
def test_what_is_not_measured_cannot_be_drawn(root: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        lay_out(experiment(root, replace(PICTURES, **changes)))
    assert message in caught.value.message
    assert caught.value.hint


def test_a_users_layers_have_no_attributes_of_images(root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "000_x.npy", np.random.RandomState(0).normal(size=(50, 3)))
    files = replace(
        experiment(root, replace(PICTURES, layers=("x",))),
        dataset=ActivationFiles(),
        activations=ActivationsConfig(path=str(tmp_path)),
        metrics=MetricSet({"id_twonn": TwoNN()}),
    )
    with pytest.raises(UserError, match=r"pictures\.color_by is 'luminance', an attribute of images") as caught:
        lay_out(files)
    assert caught.value.hint == "leave it out"
    assert lay_out(replace(files, pictures=replace(files.pictures, color_by=None))).studies


def test_umap_is_refused_before_anything_is_built_where_it_is_missing(root: Path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs umap-learn, and that is not installed"):
        lay_out(experiment(root, replace(PICTURES, methods=("umap",))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 0}, "n_samples is 0; at least 1"),
        ({"n_neighbors": 1}, "n_neighbors is 1; at least 2"),
        ({"landmarks": 2}, "landmarks is 2; at least 3"),
        ({"seed": -1}, "seed is -1; at least 0"),
        ({"seed": 2**32}, "must be less than 2\\^32"),
        ({"min_dist": 1.5}, "min_dist is 1.5; it must lie in"),
        ({"methods": ()}, "methods names none"),
        ({"methods": ("pca", "pca")}, "methods names one twice"),
        ({"checkpoints": ("first",)}, "checkpoints holds 'first'; expected all, last, best or epoch_NNNN"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PicturesConfig(**changes)
