"""The arithmetic of the CuPy versions, in C++: what one thread computes for its entry."""

from __future__ import annotations

from typing import NamedTuple

SHORT = 64  # classes of a row that one thread can go through while others wait for memory


class Code(NamedTuple):
    """Parameters as CuPy's ElementwiseKernel declares them, and the body."""

    inputs: str
    outputs: str
    body: str


ELEMENTWISE = {
    "relu_pullback": Code("T dy, T y", "T dx", "dx = y > T(0) ? dy : T(0);"),
    "tanh_pullback": Code("T dy, T y", "T dx", "dx = dy * (T(1) - y * y);"),
    "logistic_pullback": Code("T dy, T y", "T dx", "dx = dy * (y * (T(1) - y));"),
    "sgd": Code("T g, float64 rate", "T theta", "theta = theta - T(rate) * g;"),
    "momentum": Code(
        "T g, float64 rate, float64 momentum, bool nesterov",
        "T theta, T velocity",
        """
        const T v = T(momentum) * velocity + g;
        velocity = v;
        theta = theta - T(rate) * (nesterov ? g + T(momentum) * v : v);
        """,
    ),
    "adam": Code(
        "T g, float64 rate, float64 beta1, float64 beta2, float64 epsilon, float64 most",
        "T theta, T mean, T square",
        """
        const T kept = T(beta2) * square, share = T(sqrt(1.0 - beta2)), room = sqrt(T(most) - kept) / share;
        const T d = !isfinite(g) ? g : g > room ? room : g < -room ? -room : g;
        const T m = T(beta1) * mean + T(1.0 - beta1) * d;
        const T v = kept + (share * d) * (share * d);
        mean = m;
        square = v;
        theta = theta - T(rate) * m / (sqrt(v) + T(epsilon));
        """,
    ),
    "cross_entropy": Code(
        "raw T z, raw T t, int32 classes, float64 limit",
        "raw T gradient, T loss",
        """
        const T far = T(limit);
        const ptrdiff_t first = (ptrdiff_t)i * classes;
        T largest = -far;
        bool wrong = false;
        for (int k = 0; k < classes; ++k) {
            const T x = z[first + k];
            wrong = wrong || x != x;
            largest = x > largest ? x : largest;
        }
        largest = largest > far ? far : largest;
        T total = T(0), mass = T(0), linear = T(0);
        for (int k = 0; k < classes; ++k) {
            T x = z[first + k];
            x = (x > far ? far : x < -far ? -far : x) - largest;
            const T share = t[first + k], e = exp(x);
            gradient[first + k] = e;
            total += e;
            mass += share;
            linear += share * x;
        }
        const T nothing = T(0) / T(0);
        loss = wrong ? nothing : mass * log(total) - linear;
        for (int k = 0; k < classes; ++k) {
            const T p = gradient[first + k] / total;
            gradient[first + k] = wrong ? nothing : p * mass - t[first + k];
        }
        """,
    ),
}
"""By name. `i` is the entry's number; outputs hold their old values when the body begins."""
