"""Gradients, Jacobians and Hessians of functions that are written in the array API standard."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

from nnarray.arguments import explained
from nnarray.backends import device_of, namespace
from nnarray.names import shown
from nnarray.recording.recorded import Recorded, same_shape
from nnarray.recording.trees import leaves, mapped

Function: TypeAlias = Callable[..., Any]
Numbers: TypeAlias = int | tuple[int, ...]


def value_and_gradient(function: Function, argnums: Numbers = 0, *, has_aux: bool = False) -> Function:
    """A function of the same arguments that returns the value of `function` and its gradient; see `grad`."""
    _callable(function)

    @functools.wraps(function)
    def value_and_gradient_of(*arguments: Any, **settings: Any) -> Any:
        numbers = _numbers(argnums, len(arguments))
        called = functools.partial(function, **settings) if settings else function
        recorded = Recorded(called, arguments, numbers, has_aux=has_aux)
        value = recorded.value(_scalar(recorded.y))
        gradients = recorded.sweep([(recorded.y, namespace(value).ones_like(value))], keep=False)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        value = recorded.result(value)
        return ((value, recorded.aux) if has_aux else value), gradient

    return value_and_gradient_of


@explained
def grad(function: Function, argnums: Numbers = 0, *, has_aux: bool = False) -> Function:
    """The gradient of a function to one number, df/dx, as a function of the same arguments.

    The function is written in the array API standard. It is called with arrays that record what is computed from them,
    and the chain rule is applied from the end to the beginning: reverse-mode differentiation [1]_. The gradient costs
    a small multiple of the function, whatever the size of x.

    Parameters
    ----------
    function : callable
        f(x, ...) -> array of shape (). It takes its functions from the arrays, xp = nn.namespace(x).
    argnums : int or tuple of int
        The positions of the arguments to differentiate with respect to. Each is an array of real floating numbers, or a
        dict, list or tuple of such arrays, nested to any depth. Others may be anything; arrays there are constants.
    has_aux : bool
        Whether the function returns a pair, (f, results). Results are returned without gradients.

    Returns
    -------
    callable
        (x, ...) -> gradient, with the form, shapes, dtypes, library and device of x; a tuple of gradients if `argnums`
        is a tuple. With `has_aux`: (gradient, results).

    Raises
    ------
    TypeError
        If an argument is not of real floating numbers, a value leaves the recording (as with float(x)), or a function
        is used that is not in the standard.
    ValueError
        If the function returns more than one number, or there is no such argument.

    Notes
    -----
    It may be nested: `nn.grad(nn.grad(f))` is the second derivative. A branch, `if x > 0:`, is taken by value. At a
    corner, such as that of abs at 0, one of the derivatives is taken, or their mean.

    A function with the arrays x and y takes its functions from one that is differentiated, or passed as an argument:
    the namespace of an array from elsewhere does not record.

    References
    ----------
    .. [1] Griewank & Walther (2008), Evaluating derivatives, chapter 3. SIAM.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> nn.grad(lambda x: nn.namespace(x).sum(x**3))(x)
    array([ 3., 12.])
    """
    both = value_and_gradient(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def gradient_of(*arguments: Any, **settings: Any) -> Any:
        value, gradient = both(*arguments, **settings)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


def vjp(function: Function, *arguments: Any) -> tuple[Any, Function]:
    """The value of a function, y = f(x, ...), and its pullback, g -> g' J: the chain rule backwards.

    Parameters
    ----------
    function : callable
        f(x, ...) -> array, or a dict, list or tuple of arrays. See `grad`.
    *arguments : array, or dict, list or tuple of arrays
        Real floating numbers.

    Returns
    -------
    y : array or tree of arrays
    pullback : callable
        From the gradient with respect to y, with the form and shapes of y, to a tuple of the gradients with respect to
        the arguments. It may be called several times.

    Raises
    ------
    TypeError
        As `grad`.
    ValueError
        If what the pullback is given has not the form and shapes of y.

    References
    ----------
    .. [1] Griewank & Walther (2008), Evaluating derivatives, chapter 3. SIAM.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> y, pullback = nn.vjp(lambda x: x * x, x)
    >>> pullback(x)
    (array([2., 8.]),)
    """
    recorded = Recorded(_callable(function), arguments, tuple(range(len(arguments))), has_aux=False)
    return mapped(recorded.result, recorded.y), lambda g: recorded.gradients(g, keep=True)


def jvp(function: Function, arguments: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """The value of a function, y = f(x, ...), and its derivative along tangents, J v.

    The pullback g -> g' J is linear in g, so that its own pullback is v -> J v. Two sweeps backwards give it.

    Parameters
    ----------
    function : callable
        As for `vjp`.
    arguments : tuple of arrays, or of trees of arrays
    tangents : tuple
        v, with the form and shapes of `arguments`.

    Returns
    -------
    y : array or tree of arrays
    dy : array or tree of arrays
        With the form and shapes of y.

    Raises
    ------
    TypeError
        As `grad`, or if arguments and tangents are not tuples.
    ValueError
        If the tangents have not the form and shapes of the arguments.

    References
    ----------
    .. [1] Griewank & Walther (2008), Evaluating derivatives, chapter 3. SIAM.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> nn.jvp(lambda x: x * x, (x,), (x,))[1]
    array([2., 8.])
    """
    for name, each in (("arguments", arguments), ("tangents", tangents)):
        if not isinstance(each, (tuple, list)):
            raise TypeError(f"{name} must be a tuple, one entry for each argument; got {shown(each)}. Write (x,).")
    _alike(tuple(tangents), tuple(arguments), "a tangent")
    y, pullback = vjp(function, *arguments)
    _, again = vjp(pullback, mapped(lambda x: namespace(x).zeros_like(x), y))
    return y, again(tuple(tangents))[0]


def jacobian(function: Function, argnums: Numbers = 0) -> Function:
    """All first derivatives of a function, J = dy/dx, as a function of the same arguments.

    One sweep backwards gives each row. So it is for functions with few results.

    Parameters
    ----------
    function : callable
        f(x, ...) -> array, or a dict, list or tuple of arrays.
    argnums : int or tuple of int
        As for `grad`.

    Returns
    -------
    callable
        (x, ...) -> J, of shape (*y.shape, *x.shape). If y or x are trees, J is a tree of the form of y, and each entry
        has the form of x.

    Raises
    ------
    TypeError, ValueError
        As `grad`.

    References
    ----------
    .. [1] Griewank & Walther (2008), Evaluating derivatives, chapter 3. SIAM.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> nn.jacobian(lambda x: x * x)(x)
    array([[2., 0.],
           [0., 4.]])
    """
    _callable(function)

    @functools.wraps(function)
    def jacobian_of(*arguments: Any, **settings: Any) -> Any:
        numbers = _numbers(argnums, len(arguments))
        recorded = Recorded(functools.partial(function, **settings), arguments, numbers, has_aux=False)
        return mapped(lambda y: _rows(recorded, y, single=isinstance(argnums, int)), recorded.y)

    return jacobian_of


def _rows(recorded: Recorded, y: Any, *, single: bool) -> Any:
    """dy/dx for one of the results: a sweep for each of its entries."""
    value = recorded.value(y)
    xp, shape = namespace(value), tuple(value.shape)
    size = math.prod(shape)
    units = xp.reshape(xp.eye(size, dtype=value.dtype, device=device_of(value)), (size, *shape))
    rows = [recorded.sweep([(y, units[i, ...])], keep=True) for i in range(size)]
    if not rows:
        rows = [recorded.sweep([], keep=True)]
        gradients = mapped(
            lambda x: namespace(x).zeros((*shape, *x.shape), dtype=x.dtype, device=device_of(x)), rows[0]
        )
    else:
        gradients = mapped(lambda *parts: _stacked(parts, shape), rows[0], *rows[1:])
    return gradients[0] if single else gradients


def _stacked(parts: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    xp = namespace(parts[0])
    return xp.reshape(xp.stack(list(parts)), (*shape, *parts[0].shape))


def hessian(function: Function, argnums: Numbers = 0) -> Function:
    """All second derivatives of a function to one number, H = d2f/dx2, as a function of the same arguments.

    It is the Jacobian of the gradient: one sweep for each entry of x. For products H v, `hvp` needs only one.

    Parameters
    ----------
    function : callable
        f(x, ...) -> array of shape ().
    argnums : int or tuple of int
        As for `grad`.

    Returns
    -------
    callable
        (x, ...) -> H, of shape (*x.shape, *x.shape). If x is a tree, or `argnums` a tuple, H is a tree of that form,
        whose entries are trees of that form.

    Raises
    ------
    TypeError, ValueError
        As `grad`.

    References
    ----------
    .. [1] Griewank & Walther (2008), Evaluating derivatives, chapter 5. SIAM.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> nn.hessian(lambda x: x[0] * x[0] * x[1])(x)
    array([[4., 2.],
           [2., 0.]])
    """
    return jacobian(grad(function, argnums), argnums)


def hvp(function: Function, x: Any, v: Any) -> Any:
    """The Hessian of a function to one number at x, times v, without the Hessian: H v = d/dx (v' df/dx) [1]_.

    Parameters
    ----------
    function : callable
        f(x) -> array of shape ().
    x : array, or dict, list or tuple of arrays
    v : array, or dict, list or tuple of arrays
        With the form and shapes of x.

    Returns
    -------
    array or tree of arrays
        With the form and shapes of x.

    Raises
    ------
    TypeError, ValueError
        As `grad`, or if v has not the form and shapes of x.

    References
    ----------
    .. [1] Pearlmutter (1994), Fast exact multiplication by the Hessian. Neural Computation 6(1), 147-160.

    Examples
    --------
    >>> import nnarray as nn
    >>> x = nn.backend("numpy").asarray([1.0, 2.0])
    >>> nn.hvp(lambda x: nn.namespace(x).sum(x**3), x, x)
    array([ 6., 24.])
    """
    _alike(v, x, "v")

    def along(x: Any) -> Any:
        parts = mapped(lambda g, t: namespace(g).sum(g * t), grad(function)(x), v)
        return functools.reduce(lambda a, b: a + b, leaves(parts))

    return grad(along)(x)


# --- Checks of arguments ---------------------------------------------------------------------------------------------


def _callable(function: Any) -> Function:
    if not callable(function):
        raise TypeError(
            f"what is differentiated must be a function; got {shown(function)}. Pass the function itself, nn.grad(f), "
            f"and call the result: nn.grad(f)(x)."
        )
    return function


def _numbers(argnums: Numbers, count: int) -> tuple[int, ...]:
    if isinstance(argnums, int) and 0 <= argnums < count:
        return (argnums,)
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(numbers, (tuple, list)) or not all(isinstance(i, int) for i in numbers):
        raise TypeError(f"argnums must be an integer or a tuple of integers; got {shown(argnums)}.")
    if not numbers or any(not -count <= i < count for i in numbers) or len({i % count for i in numbers}) < len(numbers):
        raise ValueError(
            f"argnums must be different positions of the {count} arguments, from 0; got {shown(argnums)}. Pass these "
            f"arguments by position."
        )
    return tuple(i % count for i in numbers)


def _scalar(y: Any) -> Any:
    if not hasattr(y, "shape"):
        raise TypeError(
            f"the function must return an array of one number, its loss; got {shown(y)}. With further results, "
            f"return (loss, results) and pass has_aux=True."
        )
    if tuple(y.shape) not in ((), (1,)):
        raise ValueError(
            f"the function must return one number; got an array of shape {tuple(y.shape)}. Return its sum or mean, "
            f"or use nn.jacobian."
        )
    return y


def _alike(tree: Any, like: Any, what: str) -> None:
    """Raise ValueError unless both have the same form and shapes."""
    mapped(lambda x, t: same_shape(t, x, what), like, tree)
