"""Calls with arguments that a function does not have: the error says which it has, and what other libraries call it."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from nnarray.names import Also, plain, shown, spelled

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

# --- What other libraries say ----------------------------------------------------------------------------------------

_OTHERS = {
    "lr": "learning_rate learning_rate_init max_lr base_lr eta eta0 step_size",
    "epochs": "epoch n_epochs num_epochs nb_epoch n_epoch max_epochs max_iter n_iter t_max",
    "batch_size": "batch bs minibatch minibatch_size mini_batch_size",
    "validation": "validation_data validation_split validation_fraction val_data val_split eval_set",
    "progress": "verbose verbosity progress_bar show_progress",
    "seed": "random_state random_seed rng generator",
    "optimizer": "optim solver algorithm",
    "loss": "criterion loss_fn loss_func loss_function objective",
    "metrics": "metric scoring",
    "callbacks": "callback hooks",
    "check_finite": "force_all_finite ensure_all_finite",
    "precision": "amp mixed_precision",
    "accumulate": "gradient_accumulation_steps accumulate_grad_batches accumulation_steps",
    "augment": "transform transforms augmentation data_augmentation",
    "units": "out_features output_dim output_size num_units n_units neurons n_neurons nodes size "
    "hidden_size hidden_dim",
    "num_layers": "layers n_layers depth",
    "activation": "act nonlinearity activation_function",
    "bias": "use_bias fit_intercept",
    "init": "kernel_initializer weight_init weights_init initializer embeddings_initializer",
    "bias_init": "bias_initializer",
    "filters": "out_channels num_filters n_filters channels",
    "kernel": "kernel_size pool_size filter_size window window_size size",
    "stride": "strides",
    "dilation": "dilation_rate",
    "padding": "pad",
    "rate": "p prob probability dropout drop_rate",
    "count": "num_embeddings input_dim vocab_size vocabulary_size",
    "size": "embedding_dim embed_dim output_dim image_size",
    "padding_index": "padding_idx",
    "places": "output_size",
    "shape": "target_shape",
    "epsilon": "eps",
    "beta1": "beta_1 b1",
    "beta2": "beta_2 b2",
    "momentum": "mu",
    "momentum_decay": "schedule_decay",
    "decay": "rho alpha",
    "nesterov": "nesterovs_momentum use_nesterov",
    "weight_decay": "l2 wd alpha",
    "clip_norm": "max_norm max_grad_norm gradient_clip_val global_clipnorm grad_clip",
    "factor": "gamma decay_rate",
    "every": "step_size decay_steps save_freq",
    "lowest": "min_lr eta_min start_lr",
    "highest": "end_lr max_lr",
    "steps": "num_iter num_steps n_steps",
    "restore_best": "restore_best_weights load_best",
    "label_smoothing": "smoothing",
    "class_weights": "weight class_weight",
    "class_weight": "class_weights weight",
    "sample_weight": "sample_weights weights",
    "n": "n_samples num_samples samples",
    "classes": "n_classes num_classes centers n_arms",
    "noise": "cluster_std sigma",
    "outputs": "n_outputs num_outputs n_classes num_classes classes out_features output_size output_dim",
    "hidden": "hidden_layer_sizes hidden_units hidden_sizes hidden_dims layer_sizes",
    "output_activation": "final_activation last_activation",
    "test_size": "test_fraction",
    "backend": "device",
    "max_tokens": "max_new_tokens max_length num_tokens n_tokens",
    "stop": "stop_tokens stop_sequences eos_token_id stop_strings",
    "stream": "streamer on_token",
    "cache": "use_cache",
    "X": "inputs input data features",
    "y": "target targets label labels",
}
"""For each argument here, its names in other libraries."""

_INPUTS = "Sizes of inputs are no settings: they follow from network.init(X.shape[1:])."
_RATE = "The optimizer has the learning rate: pass optimizer=nn.Adam(lr=0.01)."
_DEVICE = "Arrays and models are made on their device: pass backend=, one of nn.list_backends(), where they are made."
_PENALTY = "The optimizer has it: nn.AdamW(weight_decay=0.01)."

_SCHEDULE = "The optimizer has it: pass optimizer=nn.Adam(nn.schedules.Cosine(0.001, epochs=50))."
_CLIPPING = "The optimizer has it: nn.Adam(0.001, clip_norm=1.0)."

_ELSEWHERE = {
    _SCHEDULE: "scheduler lr_scheduler schedule lr_schedule learning_rate_schedule",
    _CLIPPING: "clip_norm gradient_clip_val gradient_clip grad_clip max_grad_norm clipnorm clip_grad_norm",
    _RATE: "lr learning_rate learning_rate_init eta eta0",
    _INPUTS: "input_dim input_shape batch_input_shape in_features in_channels input_size num_features n_features "
    "normalized_shape input_length",
    _DEVICE: "device use_cuda gpu",
    _PENALTY: "kernel_regularizer bias_regularizer regularizer l2 alpha weight_decay",
    "Pass beta1= and beta2=.": "betas",
    "Leave it out: fit gives the optimizer the parameters of the model.": "params",
    "The model has the dtype: network.init(X.shape[1:], dtype='float32').": "dtype",
    "Add a layer: nn.Dropout(0.5).": "dropout",
    "Pass callbacks=[nn.EarlyStopping()] and validation=0.2.": "early_stopping patience",
    "To continue a training, pass checkpoint='model.safetensors' and resume=True.": "initial_epoch",
    "An epoch is all examples: pass batch_size=. A stream has it: nn.datasets.stream(batches, steps_per_epoch=100).": (
        "steps_per_epoch"
    ),
    "Batches are arrays in memory: leave it out.": "num_workers",
    "All entries must fit. To load only some layers, pass ignore=, layers of the source, and keep=, layers of the "
    "model that keep their numbers.": "strict skip_mismatch",
}
ELSEWHERE = {plain(name): remedy for remedy, names in _ELSEWHERE.items() for name in names.split()}
"""What to do instead, for an argument that the function does not have, by the plain spelling of its name."""


def _by_other_name() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for own, others in _OTHERS.items():
        for other in others.split():
            found[plain(other)] = (*found.get(plain(other), ()), own)
    return found


ALSO = _by_other_name()


_VALUES = {"progress": " progress=False shows no bar."}
"""What to pass, for arguments whose values have other forms in other libraries."""


def _remedy(name: str, known: Iterable[str]) -> str:
    """What to write in place of an argument `name`, for a function that has those that are `known`."""
    by_plain = {plain(each): each for each in known}
    meant = [by_plain[plain(own)] for own in (name, *ALSO.get(plain(name), ())) if plain(own) in by_plain]
    near = [] if meant or plain(name) in ELSEWHERE else difflib.get_close_matches(plain(name), by_plain, 1, 0.75)
    for own in (*meant, *(by_plain[each] for each in near)):
        return f"Did you mean {own}=?{_VALUES.get(own, '')}"
    if plain(name) in ELSEWHERE:
        return ELSEWHERE[plain(name)]
    return f"It has {', '.join(by_plain.values())}." if by_plain else "It takes none by name."


# --- The error -------------------------------------------------------------------------------------------------------


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with errors that say how to call it; signature, types and documentation stay the same.

    A call that fits costs nothing more: the arguments are looked at only after a TypeError.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            wrong = _misfit(function, args, kwargs)
            if wrong is None:
                raise
            raise TypeError(wrong) from None

    return call


def explain_settings(cls: C) -> C:
    """The class, whose own `__init__` is `explained` from now on."""
    own = cls.__dict__.get("__init__")
    if own is not None and not hasattr(own, "__wrapped__"):
        setattr(cls, "__init__", explained(own))  # noqa: B010  (a type checker would not allow the assignment)
    return cls


def explain_classes(module: str) -> None:
    """Apply `explain_settings` to each class of a module, or of the package of this name, that it has."""
    for value in [*vars(sys.modules[module]).values()]:
        if isinstance(value, type) and f"{value.__module__}.".startswith(f"{module}."):
            explain_settings(value)


def _misfit(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Why the arguments do not fit the signature; None if they do, and the error is another one."""
    signature, name = inspect.signature(function), function.__qualname__.removesuffix(".__init__")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        parameters = [each for each in signature.parameters.values() if each.name != "self"]
        given = args[len(signature.parameters) - len(parameters) :]
        said = _said(parameters, given, kwargs)
        meant = BY_POSITION.get(name) if " by position; got " in said or " twice: by position" in said else None
        return f"{name} {said or error}{meant(given) if meant else ''}"
    return None


def _said(parameters: list[inspect.Parameter], given: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What does not fit, after the name of the function."""
    by_name = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    ordered = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    for other in (each for each in kwargs if each not in by_name):
        return f"has no argument {other!r}. {_remedy(other, by_name)}"
    if len(given) > len(ordered):
        further = sorted((each for each in by_name if each not in ordered), key=lambda each: each == "name")
        others = (
            f" Pass the others by name, such as {', '.join(f'{each}=' for each in further[:4])}." if further else ""
        )
        taken = f"only {', '.join(ordered)}" if ordered else "nothing"
        return f"takes {taken} by position; got {len(given)} arguments.{others}"
    for name, value in zip(ordered, given, strict=False):
        if name in kwargs:
            return f"got {name} twice: by position, {shown(value)}, and by name, {shown(kwargs[name])}. Leave out one."
    missing = [
        each.name
        for each in parameters
        if each.default is each.empty and each.name in by_name and each.name not in (*ordered[: len(given)], *kwargs)
    ]
    return f"needs {' and '.join(missing)}. {NEEDED.get(missing[0], '')}".strip() if missing else ""


def _filters_first(name: str, given: tuple[Any, ...]) -> str:
    """What to write for a convolution whose first number is that of the channels of its inputs."""
    return f" The channels of the inputs are no setting: nn.{name}({', '.join(map(repr, given[1:3]))})."


def _units_second(given: tuple[Any, ...]) -> str:
    """What to write for a dense layer whose first number is that of its inputs."""
    size = next(iter(given[1:2]), None)
    return f" The size of the inputs is no setting: nn.Dense({size}, ...)." if isinstance(size, int) else ""


def _outputs_first(name: str, given: tuple[Any, ...]) -> str:
    """What to write for a metric that got a model."""
    return f" For a model, write nn.metrics.{name}(model(X), y)." if hasattr(given[0], "theta") else ""


def _is_of_functions(given: tuple[Any, ...]) -> str:
    """What to write for the gradient of a model's loss."""
    write = "loss, gradient = nn.value_and_grad(model, X, y)"
    return f" For the loss of a model, write {write}." if hasattr(given[0], "theta") else ""


METRICS = "accuracy", "confusion_matrix", "precision", "recall", "f1", "roc_auc", "r2", "mse", "rmse", "mae"

BY_POSITION: dict[str, Callable[[tuple[Any, ...]], str]] = {
    **{name: partial(_outputs_first, name) for name in METRICS},
    "grad": _is_of_functions,
    "Dense": _units_second,
    "Conv2D": partial(_filters_first, "Conv2D"),
    "Conv1D": partial(_filters_first, "Conv1D"),
    "BatchNorm": lambda _: " The channels of the inputs are no setting: nn.BatchNorm().",
    "LayerNorm": lambda _: " The channels of the inputs are no setting: nn.LayerNorm().",
}
"""What is meant by further arguments by position, in the order of other libraries."""


NEEDED = {
    "shape": "The shape of one example: init(X.shape[1:]).",
    "units": "The number of its outputs: nn.Dense(10).",
    "mean": "They follow from the examples: Standardizer.fit(X).",
    "path": "The name of a file, such as 'model.safetensors'.",
    "X": "The examples, in rows.",
    "target": "The labels or target values: nn.metrics.accuracy(model(X), y).",
    "y": "The labels or target values of X. With a loader, pass one batch: X, y = next(iter(loader)).",
}
"""What a required argument is."""


# --- Attributes ------------------------------------------------------------------------------------------------------

METHODS = {
    "compile": "Pass optimizer and loss to fit: model.fit(X, y, optimizer=nn.Adam(0.01), loss='cross_entropy').",
    "add": "Pass all layers at once: nn.Network(nn.Dense(5, 'tanh'), nn.Dense(2)).",
    "score": "Use model.evaluate(X, y).",
    "test": "Use model.evaluate(X, y).",
    "eval": "Leave it out: model(X) never draws dropout; only fit trains.",
    "train": "Leave it out, or call model.fit(X, y): model(X) never draws dropout; only fit trains.",
    "forward": "Call the model: model(X).",
    "parameters": "Use model.params, a dict by name, or model.theta, all in one vector.",
    "named_parameters": "Use model.params.items().",
    "weights": "Use model.params, a dict by name, or model.theta, all in one vector.",
    "get_weights": "Use model.params, a dict by name, or model.theta, all in one vector.",
    "coef_": "Use model.params, a dict by name.",
    "coefs_": "Use model.params, a dict by name.",
    "get_params": "Use model.params, a dict by name.",
    "set_weights": "Use model.set_params({'0.weight': ...}).",
    "count_params": "Use model.theta.shape, or model.summary().",
    "layers": "Use model.network.layers.",
    "predict_classes": "Use model.predict_class(X).",
    "predict_log_proba": "Use model.predict_proba(X), and take its logarithm.",
    "fit_generator": "Pass the loader or the generator function to fit: model.fit(nn.datasets.stream(batches)).",
    "partial_fit": "Call fit again: it continues from the present parameters.",
    "load_weights": "Use nn.load('model.safetensors').",
    "save_weights": "Use model.save('model.safetensors').",
    "load": "Use nn.load('model.safetensors').",
    "load_model": "Use nn.load('model.safetensors').",
    "load_from_checkpoint": "Use nn.load('model.safetensors').",
    "from_pretrained": "Use nn.load('model.safetensors'), or model.load_torch('weights.safetensors').",
    "cuda": "Use model = model.to(...), with one of nn.list_backends().",
    "cpu": "Use model = model.to(...), with one of nn.list_backends().",
    "requires_grad_": "Use model.freeze('0'), by the names of layers or parameters.",
    "zero_grad": "Leave it out: nn.value_and_grad returns a new gradient each time.",
    "backward": "Use loss, gradient = nn.value_and_grad(model, X, y).",
    "init": "It has its parameters: network.init(X.shape[1:]) makes a new model.",
    "reset": "Make a new model: model.network.init(model.input_shape, seed=0).",
    "reset_parameters": "Make a new model: model.network.init(model.input_shape, seed=0).",
    "clone": "Use model.copy().",
    **{
        name: f"Use model.evaluate(X, y, metrics=[{name!r}])[{name!r}]."
        for name in METRICS
        if name != "confusion_matrix"
    },
    "confusion_matrix": "Use nn.metrics.confusion_matrix(model(X), y).",
    "losses": "Use model.history['loss'].",
    "explain": "Use nn.explain(model, X, y).",
    "build": "Use model = network.init(X.shape[1:]).",
}
"""What other libraries' models have, and what to write instead."""

_SCALER = " Here it is nn.datasets.Standardizer: scaler = nn.datasets.Standardizer.fit(X); X = scaler.transform(X)."

MODULE = {
    "optim": " The optimizers are here: nn.Adam(0.01), nn.SGD(0.1, momentum=0.9), ...",
    **dict.fromkeys(("Standardizer", "StandardScaler", "Normalization"), _SCALER),
    **dict.fromkeys(("Input", "InputLayer"), f" {_INPUTS}"),
    **dict.fromkeys(
        ("Dropout1d", "Dropout2d", "SpatialDropout1D", "SpatialDropout2D"),
        " Here it is nn.Dropout(0.2, spatial=True), which drops whole channels.",
    ),
    **dict.fromkeys(
        ("CosineAnnealingLR", "CosineDecay"),
        " Pass a schedule for the rate: nn.Adam(nn.schedules.Cosine(0.001, epochs=50)).",
    ),
    **dict.fromkeys(
        ("StepLR", "StepDecay"), " Pass a schedule for the rate: nn.SGD(nn.schedules.Step(0.1, every=30, factor=0.1))."
    ),
    "MultiStepLR": " Pass a schedule for the rate: nn.SGD(nn.schedules.MultiStep(0.1, (30, 60), factor=0.1)).",
    **dict.fromkeys(
        ("ExponentialLR", "ExponentialDecay"),
        " Pass a schedule for the rate: nn.SGD(nn.schedules.Exponential(0.1, factor=0.95)).",
    ),
    "OneCycleLR": " Pass a schedule for the rate: nn.SGD(nn.schedules.OneCycle(0.1, epochs=50)).",
    "ReduceLROnPlateau": " Pass a schedule for the rate: nn.SGD(nn.schedules.Plateau(0.1, factor=0.1, patience=5)).",
    "LinearLR": " Pass a schedule for the rate: nn.SGD(nn.schedules.WarmUp(5, then=0.1)).",
    "Identity": " Leave it out; a layer that changes nothing is nn.Activation('identity').",
    **dict.fromkeys(
        ("ConvTranspose1d", "ConvTranspose2d", "Conv2DTranspose", "Upsample", "UpSampling2D"),
        " There is none here. Write a layer of your own, which needs only a forward pass.",
    ),
    **dict.fromkeys(("clip_grad_norm_", "clip_grad_norm"), " The optimizer does it: nn.Adam(0.001, clip_norm=1.0)."),
    **dict.fromkeys(("clip_grad_value_", "clip_grad_value"), " The optimizer does it: nn.Adam(0.001, clip_value=1.0)."),
    **dict.fromkeys(("autocast", "GradScaler", "amp"), " Pass precision='bfloat16' or 'float16' to fit."),
    "compile": " Leave it out: fit prepares its own fast steps; engine= chooses them.",
    "Module": " Derive a layer of your own from nn.Layer.",
    "Parameter": " A layer of your own names its parameters in params(shape), with nn.Param.",
    "CrossEntropyLoss": " Pass loss='cross_entropy', or nn.losses.CrossEntropy().",
    "BCEWithLogitsLoss": " Pass loss='binary_cross_entropy', or nn.losses.BinaryCrossEntropy().",
    "MSELoss": " Pass loss='mse', or nn.losses.MeanSquaredError().",
    "DataLoader": " Pass arrays and batch_size= to fit, or a loader as nn.datasets.stream(loader).",
    "no_grad": " Leave it out: model(X) records no gradient of plain arrays.",
    "manual_seed": " Pass seed= to init and to fit.",
    "train_test_split": " It is nn.datasets.train_test_split.",
    **dict.fromkeys(
        ("load_model", "load_weights", "load_checkpoint", "load_state_dict", "from_file"),
        " Use nn.load('model.safetensors').",
    ),
    **dict.fromkeys(("save", "save_model"), " Use model.save('model.safetensors')."),
}
"""What other libraries have beside their layers, and where it is here."""


def refuse_attribute(of: Any, name: str) -> NoReturn:
    """Raise the AttributeError for an attribute that `of` does not have, with what to write instead."""
    kind = of if isinstance(of, type) else type(of)
    near = difflib.get_close_matches(name, [each for each in dir(kind) if not each.startswith("_")], 1, 0.8)
    guess = f"Did you mean {near[0]}?" if near else ""
    raise AttributeError(f"{kind.__name__} has no {name!r}. {METHODS.get(name, guess)}".strip(), name=name, obj=of)


class Explained(type):
    """The type of classes whose missing attributes are explained too, such as nn.Model.load."""

    if not TYPE_CHECKING:  # a type checker would accept every attribute

        def __getattr__(cls, name: str) -> NoReturn:
            refuse_attribute(cls, name)


def guessed(name: str, names: Iterable[str]) -> str:
    """The question for the name that is meant; nothing if none is near."""
    near = difflib.get_close_matches(name, [*names], 1, 0.75)
    return f" Did you mean {near[0]}?" if near else ""


def attribute_errors(module: str, names: Iterable[str], others: Also, otherwise: str = "") -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module with these names, which have `others` in other libraries.

    `otherwise` says what there is, for names that are not like any of these.
    """
    known = dict.fromkeys(names)

    def missing(name: str) -> NoReturn:
        if name.startswith("__"):  # each import asks for __path__: a search for what is meant would take a while
            raise AttributeError(f"module {module!r} has no attribute {name!r}.", name=name, obj=sys.modules[module])
        here = spelled(name, known, others)
        hint = f" Here it is {here}." if here else MODULE.get(name) or guessed(name, known)
        hint = hint or otherwise or f" It has {', '.join(known)}."
        raise AttributeError(f"module {module!r} has no attribute {name!r}.{hint}", name=name, obj=sys.modules[module])

    return missing
