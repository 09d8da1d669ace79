"""The texts of the playground in English, by key: what is seen, why, and the label of the button that helps."""

WORDS: dict[str, tuple[str, str, str]] = {
    "untrained": (
        "The weights are random: the network has not learned anything yet.",
        "Training changes the weights step by step, so that the loss falls. Run it, or take a single step.",
        "",
    ),
    "diverged": (
        "The loss became NaN or infinite in epoch {epoch}. The network keeps its last finite weights.",
        "Each step was larger than the one before, until the numbers overflowed. A lower learning rate, or a limit for "
        "the length of the gradient, prevents that.",
        "Learning rate {lr:g}",
    ),
    "rate_too_high": (
        "The loss jumps up and down: the learning rate, {rate:g}, is probably too high.",
        "A step follows the slope of the loss at one place. If it is too long, it jumps over the valley and lands "
        "higher on the other side.",
        "Learning rate {lr:g}",
    ),
    "rate_too_low": (
        "The loss hardly changes: the learning rate, {rate:g}, is probably too low.",
        "Each step is so short that the weights barely move.",
        "Learning rate {lr:g}",
    ),
    "dying_relu": (
        "{count} of {units} units of {layer} are 0 for every training example.",
        "Where a relu is 0, its derivative is 0 too, so that no gradient reaches its weights: such a unit cannot "
        "recover. It happens after steps that were too large. leaky_relu keeps a small slope there.",
        "leaky_relu in {layer}",
    ),
    "saturation": (
        "{count} of {units} units of {layer} are saturated: almost always at the ends of {activation}.",
        "There the function is flat, its derivative is almost 0, and hardly any gradient passes. The weights are too "
        "large; batch normalisation brings the inputs of the function back to its middle.",
        "Batch normalisation in {layer}",
    ),
    "vanishing": (
        "Hardly any gradient reaches {layer}: it is {ratio:.0f} times smaller than in the output layer.",
        "Backward, the gradient is multiplied by the derivative of each layer. If these are small, little is left at "
        "the beginning, and the first layers do not learn.",
        "relu in all layers",
    ),
    "overfitting": (
        "The test loss rises, {best:.3g} to {test:.3g}, while the training loss falls: the network overfits.",
        "It learns the noise of the training examples, which other examples do not have. A penalty for large weights, "
        "dropout, fewer units or more examples help.",
        "L2 penalty {l2:g}",
    ),
    "linear": (
        "Without hidden units, the network can only draw a straight line.",
        "The outputs are weighted sums of the inputs. Only an activation function between two layers can bend them.",
        "A hidden layer",
    ),
    "underfitting": (
        "The network hardly improves, and still makes many errors: it may be too small.",
        "With few units it can only form simple shapes. More units, another layer, or a longer training help.",
        "{units} units in the first layer",
    ),
    "learned": (
        "The network has learned the examples, and is right on those of the test too.",
        "What it found holds for examples that it has never seen. That is the goal of training.",
        "",
    ),
    "learning": (
        "The loss is falling: the network is learning.",
        "Each step moves the weights a little against the gradient of the loss.",
        "",
    ),
}

LABELS: dict[str, str] = {
    "run": "Run",
    "pause": "Pause",
    "step": "One epoch",
    "batch": "One batch",
    "reset": "Reset",
    "data": "Data",
    "network": "Network",
    "training": "Training",
    "epochs": "The training has reached its last epoch, {epochs}.",
}
