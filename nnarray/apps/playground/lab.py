"""The network of a playground and its training; its settings may change between any two epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nnarray.apps.playground.built import (
    Call,
    Rates,
    checked_optimizer,
    is_of_one_output,
    loss_for,
    network_call,
    outputs_for,
    rate_of,
    remembering,
    with_a_loss,
)
from nnarray.apps.playground.checking import Wrong
from nnarray.apps.playground.columns import Column, Curve
from nnarray.apps.playground.kept import Remembered, keep, set_number
from nnarray.apps.playground.models import Start
from nnarray.apps.playground.points import Examples, Given, examples
from nnarray.apps.playground.record import Drawn, Loaded, Made, Record, Set, Trained
from nnarray.apps.playground.settings import UNLIMITED, Settings, TrainingSettings
from nnarray.apps.playground.tables import Table
from nnarray.backends import Backend
from nnarray.model import Model
from nnarray.names import shown
from nnarray.training.context import DivergenceError
from nnarray.training.stepped import SteppedFit
from nnarray.typing import Array


class Lab:
    """Data, a network and its training, as the settings describe them.

    Parameters
    ----------
    settings : Settings
    be : Backend
    given : Given, optional
        The user's own arrays.
    start : Start, optional
        The user's own model: where its network begins.

    Attributes
    ----------
    settings : Settings
    examples : Examples
    model : Model
    loss : str
    record : Record
        What has been done since the weights were drawn.
    losses : Curve
        The training loss of each finished epoch, through all changes.
    """

    def __init__(self, settings: Settings, be: Backend, given: Given | None = None, start: Start | None = None) -> None:
        self.be, self.given, self.start = be, given, start
        self.table: Table | None = None
        self._has_new_table = False
        self.record, self.losses = Record(), Curve()
        self._steps, self._stage, self._trained = 0, None, Trained(settings.training, "", 0)
        self._stages, self._memory = 0, None
        self._draw(settings, self._examples(settings))

    # --- What it is -------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.losses)

    @property
    def step(self) -> int:
        """The number of updates, without those of an epoch that is not finished."""
        return self._steps

    @property
    def batch(self) -> tuple[int, int]:
        """The batches taken of the running epoch, and those of a whole one."""
        if self._stage is not None:
            return self._stage.batch, self._stage.batches
        count, size = self.examples.X.shape[0], self.settings.training.batch_size
        return 0, -(-count // (size or count))

    @property
    def is_prepared(self) -> bool:
        """Whether the next step can be taken at once. Else it is prepared first, and perhaps compiled."""
        return self._stage is not None

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return rate_of(self.settings.training) if self._stage is None else self._stage.rate

    @property
    def targets(self) -> Array:
        """The targets of the training examples, as the loss takes them."""
        return self.examples.y[:, None] if is_of_one_output(self.loss) else self.examples.y

    # --- Training ---------------------------------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """One epoch, or the rest of one.

        Raises
        ------
        DivergenceError
            If a number became NaN or infinite; the model has its last finite parameters.
        """
        self._train(lambda stage: stage.epoch())

    def train_batches(self, count: int) -> None:
        """The next batches, at most to the end of the epoch. Raises as `train_epoch`."""
        self._train(lambda stage: stage.batch_more(count))

    def _train(self, how: Callable[[SteppedFit], object]) -> None:
        """Train, and note the losses; a training that diverged has ended."""
        stage = self._started()
        try:
            how(stage)
        except DivergenceError:
            self._trained.diverged = True
            self._stage = self._memory = None
            raise
        finally:
            self._note(stage)

    def _note(self, stage: SteppedFit) -> None:
        losses = stage.history.columns.get("loss", [])
        fresh = losses[self._trained.epochs :]
        self.losses.extend(fresh)
        self._steps += len(fresh) * stage.batches
        self._trained.epochs = len(losses)

    def _started(self) -> SteppedFit:
        """The training that is running; a new one after a change."""
        if self._stage is None:
            training = self.settings.training
            seed = (training.seed + self._stages) % 2**32
            optimizer, earlier = checked_optimizer(training), 0
            if self._memory is not None and self._memory.fits(training, self.model, optimizer):
                optimizer, earlier = remembering(optimizer, self._memory.slots, self._memory.steps), self._memory.steps
            self._stage = SteppedFit(
                self.model,
                self.examples.X,
                self.targets,
                loss=self.loss,
                optimizer=optimizer.made,
                epochs=UNLIMITED,
                batch_size=training.batch_size,
                seed=seed,
            )
            numbers: Any = {name: Column() for name in ("epoch", "loss", "lr", "seconds")}
            if training.schedule == "plateau":  # which looks at the loss of each epoch
                numbers["loss"] = []
            self._stage.history.columns = numbers
            self._stages += 1
            self._trained = Trained(training, self.loss, seed, [(0, rate_of(training))], earlier=earlier)
            self.record.add(self._trained)
        return self._stage

    def _end_stage(self) -> None:
        """Finish a begun epoch, and end the running training."""
        if self._stage is None:
            return
        if self._stage.batch:
            self.train_epoch()
        steps = self._trained.earlier + self._stage.history.steps
        self._memory = Remembered.of(self._trained.settings, self.model, self._stage.memory, steps)
        self._stage.release()
        self._stage = None

    # --- Changes ----------------------------------------------------------------------------------------------------

    def change(self, settings: Settings) -> bool:
        """Take other settings, keep the weights that fit, and return whether the examples changed.

        Raises
        ------
        Wrong
            If they do not fit together; nothing has changed.
        DivergenceError
            If a begun epoch, which is finished first, diverges.
        """
        if self._only_rate_differs(settings):
            self._change_rate(settings)
            return False
        new_data = not self._has_same_data(settings)
        made = self._examples(settings) if new_data else self.examples
        if new_data and settings.training.loss == self.settings.training.loss:  # it was chosen for others
            settings = with_a_loss(settings, made)
        loss, network = self._checked(settings, made)
        model = self._model(settings, network, made) if self._needs_model(settings, network, made) else None
        if model is None and not new_data and self._trains_alike(settings.training, loss):
            self.settings = settings
            return False
        self._end_stage()
        self.settings, self.loss = settings, loss
        self._table_is_used(settings)
        if new_data:
            self.examples = made
            self.record.add(Made(made.code, settings.network.precision))
        if model is not None:
            self.model = keep(model, self.model)
            self._network = network
            self.record.add(self._drawn(settings, network, made, keeps=True))
        return new_data

    def reset(self, settings: Settings | None = None) -> None:
        """Draw new weights, or take those of the user's own model, and begin again at epoch 0."""
        settings = settings or self.settings
        self._draw(settings, self.examples if self._has_same_data(settings) else self._examples(settings))

    def set_weight(self, name: str, index: tuple[int, ...], value: float) -> None:
        """Set a number of a parameter.

        Raises
        ------
        Wrong
            If there is no such number.
        """
        params = self.model.params
        if name not in params:
            raise Wrong(f"must be one of {', '.join(params)}; got {shown(name)}.", "name")
        shape = params[name].shape
        if len(index) != len(shape) or not all(0 <= i < size for i, size in zip(index, shape, strict=True)):
            raise Wrong(f"must be an index into shape {tuple(shape)}; got {shown(list(index))}.", "index")
        self._end_stage()
        set_number(self.model, name, index, value)
        self.record.add(Set(name, index, value))

    def take_table(self, table: Table) -> None:
        """Keep a file that was sent, for data of the kind "table"."""
        self.table, self._has_new_table = table, True

    # --- Steps of these ---------------------------------------------------------------------------------------------

    def _table_is_used(self, settings: Settings) -> None:
        self._has_new_table = self._has_new_table and settings.data.kind != "table"

    def _has_same_data(self, settings: Settings) -> bool:
        is_of_table = self._has_new_table and settings.data.kind == "table"
        same = settings.data == self.settings.data and settings.network.precision == self.settings.network.precision
        return same and not is_of_table

    def _examples(self, settings: Settings) -> Examples:
        try:
            return examples(settings.data, self.be, settings.network.precision, self.table, self.given)
        except Wrong as wrong:
            raise wrong.below("data") from None
        except ValueError as error:  # a backend without this dtype
            raise Wrong(f"is refused: {error}", "network.precision") from None

    def _checked(self, settings: Settings, made: Examples) -> tuple[str, Call]:
        """The loss and the network of settings that fit together."""
        checked_optimizer(settings.training)
        loss = loss_for(settings.training, made)
        return loss, network_call(settings.network, outputs_for(loss, made), made.shape)

    def _draw(self, settings: Settings, made: Examples) -> None:
        loss, network = self._checked(settings, made)
        model = self._model(settings, network, made)
        if self._stage is not None:
            self._stage.release()
        self.settings, self.examples, self.model, self.loss = settings, made, model, loss
        self._network, self._stage, self._stages, self._steps = network, None, 0, 0
        self._memory = None
        self._table_is_used(settings)
        self.losses = Curve()
        self.record.begin(
            Made(made.code, settings.network.precision), self._drawn(settings, network, made, keeps=False)
        )
        if self.start is not None and self.start.is_of(settings.network, model):
            self.record.add(Loaded(self.start.load(model)))

    def _model(self, settings: Settings, network: Call, made: Examples) -> Model:
        precision, seed = settings.network.precision, settings.network.seed
        return network.made.init(made.shape, seed=seed, dtype=precision, backend=self.be)

    def _drawn(self, settings: Settings, network: Call, made: Examples, *, keeps: bool) -> Drawn:
        return Drawn(network, made.shape, settings.network.seed, settings.network.precision, keeps)

    def _needs_model(self, settings: Settings, network: Call, made: Examples) -> bool:
        """Whether the network, its inputs or its dtype change."""
        same = network == self._network and settings.network.precision == self.settings.network.precision
        return not (same and made.shape == self.examples.shape)

    def _only_rate_differs(self, settings: Settings) -> bool:
        """Whether the running training may continue with another learning rate."""
        before, after = self.settings.training, settings.training
        options = {name: value for name, value in after.options.items() if name != "lr"}
        options_before = {name: value for name, value in before.options.items() if name != "lr"}
        alike = replace(after, options={}) == replace(before, options={}) and options == options_before
        rest = self._has_same_data(settings) and settings.network == self.settings.network
        return alike and rest and after.schedule == "constant" and after.options != before.options

    def _change_rate(self, settings: Settings) -> None:
        checked_optimizer(settings.training)
        if self._stage is not None and self._stage.batch:
            self.train_epoch()
        self.settings = settings
        if self._stage is None:
            return
        rates, now = self._trained.rates, self._trained.epochs
        if rates[-1][0] == now:
            rates.pop()
        rates.append((now, rate_of(settings.training)))
        if not now:
            self._trained.settings = settings.training
        self._stage.rates = Rates(tuple(rates))

    def _trains_alike(self, training: TrainingSettings, loss: str) -> bool:
        """Whether steps are the same as before; the number of epochs may differ."""
        return loss == self.loss and replace(training, epochs=1) == replace(self.settings.training, epochs=1)
