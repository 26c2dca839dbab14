"""Training: one artifact, with an entry for every checkpoint that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rra_cli.core.artifact import Artifact, ArtifactGoneError
from rra_cli.core.fields import identity_of
from rra_cli.core.signals import deferred
from rra_cli.core.spec import Spec
from rra_cli.core.store import Store
from rra_cli.data.augment import Augment, NoAugment
from rra_cli.errors import UserError
from rra_cli.methods.method import Method
from rra_cli.models.encoder import Encoder
from rra_cli.models.headed import Headed
from rra_cli.models.model import Model
from rra_cli.stages import costs
from rra_cli.stages.fresh_network import FreshNetwork
from rra_cli.stages.images import Images
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.ranks import call, loss_explained
from rra_cli.stages.stage import Context, Cost, Stage
from rra_cli.training.optimizer import Optimizer

if TYPE_CHECKING:
    from rra_cli.training.loop import TrainingJob

VERSION = 2
HISTORY = "history"


class TrainStage(Stage):
    """Trains a network and keeps its milestones, the best and the last weights, and the history."""

    name = "train"

    def __init__(
        self, model: Model, method: Method, augment: Augment, optimizer: Optimizer, seed: int, images: Images
    ) -> None:
        self.model, self.method, self.augment, self.optimizer = model, method, augment, optimizer
        self.seed, self.images = seed, images
        self.label = f"{model.name} by {method.name} on {images.dataset.name}, seed {seed}"

    @property
    def needs(self) -> Sequence[Stage]:
        return ()

    @property
    def n_outputs(self) -> int:
        """Classes that the encoder tells apart; 0 where it ends in the representation."""
        return len(self.images.dataset.class_names) if self.method.classifies else 0

    def check(self) -> None:
        """Raises `UserError` for a method that needs labels on data without classes, or what changes pictures on data
        without any.
        """
        dataset = self.images.dataset
        if self.method.needs_labels and len(dataset.class_names) < 2:
            raise UserError(
                f"method={self.method.name} needs labels, but dataset={dataset.name} has "
                + ("one class only" if dataset.class_names else "none"),
                "choose a method without labels (simclr, simsiam, moco_v2, barlow_twins, triplet_ss), or other data",
            )
        if self.method.trains and not dataset.pictures and not isinstance(self.augment, NoAugment):
            raise UserError(
                f"augment={self.augment.name} changes pictures, but dataset={dataset.name} has none",
                "use augment=none, or choose a data set of pictures; `rra ls dataset` lists what there is",
            )

    def check_ranks(self) -> None:
        """Raises `UserError` unless as many processes were started as the method asks for."""
        from rra_cli.training.ranks import check_ranks

        if self.method.trains:
            check_ranks(self.method.ranks)

    @cached_property
    def spec(self) -> Spec:
        """The trajectory: everything that changes the weights; milestones only pick from it."""
        dataset = self.images.dataset
        identity: dict[str, Any] = {
            "model": identity_of(self.model),
            "seed": self.seed,
            "input_shape": list(dataset.input_shape),
            "n_classes": self.n_outputs,
            "dataset": self.images.training_identity(),
        }
        if self.method.trains:
            identity["method"] = identity_of(self.method)
            identity["augment"] = identity_of(self.augment)
            identity["optimizer"] = identity_of(self.optimizer)
        else:
            identity["method"] = {"name": self.method.name}
        return Spec(self.name, VERSION, identity, ())

    @property
    def specs(self) -> Sequence[Spec]:
        return (self.spec,)

    @property
    def last(self) -> Checkpoint:
        """The final weights."""
        epoch = self.method.epochs if self.method.trains else 0
        return Checkpoint("last", epoch_entry(epoch), epoch)

    @property
    def milestones(self) -> tuple[Checkpoint, ...]:
        """The kept epochs before the last, ascending."""
        epochs = self.method.milestone_epochs() if self.method.trains else ()
        return tuple(Checkpoint(epoch_entry(e), epoch_entry(e), e) for e in epochs if e != self.last.epoch)

    @property
    def best(self) -> Checkpoint:
        """The weights of highest accuracy on the test split; of k-NN where the method does not classify."""
        return Checkpoint("best", "best", None) if self.method.trains else Checkpoint("best", self.last.entry, 0)

    @property
    def entries(self) -> list[str]:
        """All that is kept."""
        kept = [point.entry for point in (*self.milestones, self.last)]
        return list(dict.fromkeys([*kept, self.best.entry, HISTORY]))

    def done(self, store: Store) -> bool:
        return all(store.find(self.spec, entry) for entry in self.entries)

    @cached_property
    def fresh(self) -> FreshNetwork:
        """The network as its training begins."""
        return FreshNetwork(self.model, self.method, self.seed, self.images, self.n_outputs)

    def job(self) -> TrainingJob:
        """What is trained, with its data."""
        from rra_cli.training.loop import TrainingJob

        dataset = self.images.dataset
        return TrainingJob(
            model=self.model,
            method=self.method,
            augment=self.augment,
            optimizer=self.optimizer,
            seed=self.seed,
            train=self.images.trained,
            test=self.images.test,
            class_names=dataset.class_names,
            mean=dataset.mean,
            std=dataset.std,
            identity=self.spec.as_json(),
        )

    def build(self, context: Context) -> None:
        from rra_cli.training.loop import run_training
        from rra_cli.training.ranks import current, own_device

        ranks = current()
        with context.store.claim(self.spec, on_wait=context.reporter.note) as work:
            missing = [entry for entry in self.entries if not context.store.find(self.spec, entry)]
            if not missing:
                return
            self.method.check_labels(self.images.trained.labels)

            def publish(entry: str, folder: Path) -> None:
                work.publish(folder.relative_to(work.path).as_posix(), entry=entry)

            call(ranks, self.spec.key, missing)
            with context.reporter.task(self.title) as progress, loss_explained(ranks), deferred() as stop:
                run_training(
                    self.job(),
                    work.path,
                    device=own_device(context.device),
                    entries=missing,
                    publish=publish,
                    progress=progress,
                    warn=context.reporter.warn,
                    save_every=context.save_every,
                    stop=stop,
                    ranks=ranks,
                )

    def cost(self) -> Cost:
        return costs.training(self)

    def artifacts(self, store: Store) -> list[Artifact]:
        found = [store.find(self.spec, entry) for entry in self.entries]
        return [artifact for artifact in found if artifact is not None]

    def history(self, store: Store) -> bytes:
        """The finished training's `training.jsonl`."""
        artifact = store.find(self.spec, HISTORY)
        assert artifact is not None, "the training was ensured before its history is read"
        return artifact.read_bytes("training.jsonl")

    def look_at(self, store: Store, checkpoint: Checkpoint) -> None:
        """Compares every byte of that checkpoint, if it is there; a damaged one counts as missing from then on."""
        store.find(self.spec, checkpoint.entry, in_full=True)

    def load(self, store: Store, checkpoint: Checkpoint) -> Encoder:
        """The encoder with the weights of that checkpoint."""
        from rra_cli.training.checkpoint import load_encoder

        path = self._kept(store, checkpoint).file("weights.pt")
        return load_encoder(self.model, self.images.dataset.input_shape, self.n_outputs, path)

    def _kept(self, store: Store, checkpoint: Checkpoint) -> Artifact:
        """That checkpoint, which was ensured; every byte of it is what was published, since results are made from it.

        Raises `ArtifactGoneError` where it is not.
        """
        artifact = store.find(self.spec, checkpoint.entry, in_full=True)
        if artifact is None:
            raise ArtifactGoneError(
                f"{checkpoint.entry} of {self.label} is not in the store (any more)",
                "run the same command again: it trains what is missing",
            )
        return artifact

    def load_headed(self, store: Store, checkpoint: Checkpoint) -> Headed:
        """The encoder and the method's heads with the weights of that checkpoint, in evaluation mode."""
        import torch

        from rra_cli.training.checkpoint import read_tensors

        heads, path = self.fresh.heads(), self._kept(store, checkpoint).file("heads.pt")
        try:
            torch.nn.ModuleDict(heads).load_state_dict(read_tensors(path))
        except Exception as error:
            raise UserError(
                f"{path} does not hold the projector and predictor of {self.label}: {type(error).__name__}",
                "the file is damaged or was put there by hand: remove its folder and run the same command again",
            ) from error
        return Headed(self.load(store, checkpoint).module, heads).eval()

    def epoch_of(self, store: Store, checkpoint: Checkpoint) -> int:
        """The checkpoint's epoch; for the best one, as its file says."""
        if checkpoint.epoch is not None:
            return checkpoint.epoch
        artifact = store.find(self.spec, checkpoint.entry)
        assert artifact is not None, f"{checkpoint.entry} was ensured before it is read"
        told = artifact.read_json("checkpoint.json")
        if not isinstance(told, dict) or type(told.get("epoch")) is not int:
            raise artifact.strange("checkpoint.json", ValueError("it names no epoch"))
        return int(told["epoch"])


def epoch_entry(epoch: int) -> str:
    """The name under which an epoch's weights are kept."""
    return f"epoch_{epoch:04d}"
