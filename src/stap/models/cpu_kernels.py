"""The elementwise work of a recurrent step, compiled for the processor at its first use by numba.

A step of an LSTM is a few small matrix products, which PyTorch computes, and a dozen elementwise operations. Each operation of PyTorch's costs
a call and a pass over memory, more than its arithmetic for the batches of a small model; here they are one pass. Each function works in one thread and
without Python's lock, on contiguous arrays of float32 or float64.

It is one file, because numba compiles a function again when its file has changed, but not when another file has, whose functions it calls.

Gates are in the order input, forget, output, candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "AttentionSteps",
    "Frames",
    "Steps",
    "arrays",
    "attend",
    "attend_backward",
    "lstm",
    "lstm_backward",
    "pooled_lstm",
    "pooled_lstm_backward",
    "scores",
    "scores_backward",
]

Array = NDArray[Any]
P = ParamSpec("P")
R = TypeVar("R")

# Numbers of one type throughout: an integer beside a float32 would make float64 of it, as in NumPy.
HALF: Any = np.float32(0.5)
ONE: Any = np.float32(1)


class Frames(NamedTuple):
    """L-STAP's frames, or their gradients.

    gates: (B, T, R, 4H [+ A]), W x, which become the gates, and then their gradients.   from_h: (T, B, 4H [+ A]), U h.
    bias: (T or 1, R or 1, 4H [+ A]).   is_padding: (B, T).   score: (A,), A = 0 for mean pooling.
    h, c: (T + 1, B, H), from the start.   weights: (B, T, R), the local weights.
    """

    gates: Array
    from_h: Array
    bias: Array
    is_padding: Array
    score: Array
    h: Array
    c: Array
    weights: Array


class Steps(NamedTuple):
    """S steps of LSTMs, or their gradients, in the order in which they are computed.

    gates: (S, 4H), the share of the words and the context, which becomes the gates.   from_h: (S, 4H [+ A]), U h.
    h, c: (N + S, H): of N starts, and after each step.   before: (S,) int64, the row of h and c before each step.
    """

    gates: Array
    from_h: Array
    h: Array
    c: Array
    before: Array


class AttentionSteps(NamedTuple):
    """The decoder's attention at S words, or its gradients.

    from_h: (S, 4H + A), whose last A are the query.   keys: (B, T, A).   is_padding: (B, T).   score: (A,).   states: (B, T, H).
    weights: (S, T).   contexts: (S, H).
    """

    from_h: Array
    keys: Array
    is_padding: Array
    score: Array
    states: Array
    weights: Array
    contexts: Array


def arrays(*tensors: Tensor) -> list[Array]:
    """NumPy's views of tensors on the processor."""
    return [tensor.detach().numpy() for tensor in tensors]


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    # Sums may be reordered, or their loops could not use the processor's vectors; infinities and NaN keep their meaning.
    compiler = partial(njit, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
    try:
        compiled = compiler(cache=True)(function)
    except RuntimeError:  # no folder that machine code can be kept in: it is compiled in each process
        compiled = compiler()(function)
    return cast("Callable[P, R]", compiled)


def _tanh(x: Any) -> Any:
    """The hyperbolic tangent: of float64 the library's; of float32 a rational function, within 3e-7, which vectors of the processor compute."""
    return math.tanh(x)


# x p(x^2) / q(x^2), the rational approximation that Eigen, XLA and TensorFlow use; beyond the limit tanh is 1 in float32.
LIMIT = np.float32(7.90531110763549805)
P0, P1, P2, P3, P4, P5, P6 = (
    np.float32(c)
    for c in (
        *(4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08),
        *(-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16),
    )
)
Q0, Q1, Q2, Q3 = (
    np.float32(c) for c in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@overload(_tanh)
def _tanh_of_type(x: Any) -> Any:
    def of_library(x: Any) -> Any:
        return math.tanh(x)

    def rational(x: Any) -> Any:
        # Comparisons with NaN are false, so NaN stays; min and max would keep or lose it by the order of their arguments.
        x = LIMIT if x > LIMIT else x
        x = -LIMIT if x < -LIMIT else x
        y = x * x
        above = ((((((P6 * y + P5) * y + P4) * y + P3) * y + P2) * y + P1) * y + P0) * x
        return above / (((Q3 * y + Q2) * y + Q1) * y + Q0)

    return rational if x == types.float32 else of_library


# The loops below are short and many: with more arrays or a bound that is computed, the compiler does not use the processor's vectors.


@_compiled
def _make_gates(gates: Array, others: Array, bias: Array, units: int) -> None:
    """sigmoid of the first three quarters and tanh of the rest, in place.   gates, others, bias: (4H [+ A],), added up before."""
    for k in range(len(gates)):
        gates[k] += others[k] + bias[k]
    sigmoids, tanhs = gates[: 3 * units], gates[3 * units :]
    for k in range(len(sigmoids)):
        sigmoids[k] = HALF + HALF * _tanh(HALF * sigmoids[k])
    for k in range(len(tanhs)):
        tanhs[k] = _tanh(tanhs[k])


@_compiled
def _softmax(scores: Array, is_left_out: Array) -> None:
    """In place, over what is not left out, whose weights are 0."""
    highest = -np.inf
    for k in range(len(scores)):
        if not is_left_out[k]:
            highest = max(highest, scores[k])
    total = 0.0
    for k in range(len(scores)):
        scores[k] = 0.0 if is_left_out[k] else math.exp(scores[k] - highest)
        total += scores[k]
    if total > 0.0:
        for k in range(len(scores)):
            scores[k] /= total


@_compiled
def _add_scaled(total: Array, weight: float, values: Array) -> None:
    for k in range(len(total)):
        total[k] += weight * values[k]


@_compiled
def _dot(one: Array, other: Array) -> Any:
    total = one.dtype.type(0)
    for k in range(len(one)):
        total += one[k] * other[k]
    return total


@_compiled
def _score_backward(bends: Array, score: Array, of_fit: float, of_score: Array) -> None:
    """Write the gradients of the pre-activations over the tanh values, and add those of the score."""
    for k in range(len(bends)):
        bend = bends[k]
        of_score[k] += of_fit * bend
        bends[k] = of_fit * score[k] * (ONE - bend * bend)


@_compiled
def _add(one: Array, other: Array, values: Array) -> None:
    for k in range(len(values)):
        one[k] += values[k]
        other[k] += values[k]


@_compiled
def _fit(key: Array, query: Array, score: Array) -> Any:
    """w . tanh(key + query), equation (15)."""
    total = key.dtype.type(0)
    for k in range(len(key)):
        total += score[k] * _tanh(key[k] + query[k])
    return total


@_compiled
def _fit_backward(
    key: Array, query: Array, score: Array, of_fit: float, of_key: Array, of_query: Array, of_score: Array
) -> None:
    for k in range(len(key)):
        bend = _tanh(key[k] + query[k])
        of_score[k] += of_fit * bend
        slope = of_fit * score[k] * (ONE - bend * bend)
        of_key[k] += slope
        of_query[k] += slope


@_compiled
def _cell(gates: Array, c: Array, weight: float, of_c: Array, of_h: Array) -> None:
    """Add the weighed c = f c + i candidate and h = o tanh(c) to of_c and of_h; all (H,)."""
    H = len(c)
    i, f, o, candidate = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H : 4 * H]
    for k in range(H):
        cell = f[k] * c[k] + i[k] * candidate[k]
        of_c[k] += weight * cell
        of_h[k] += weight * o[k] * _tanh(cell)


@_compiled
def _cell_backward(gates: Array, c: Array, weight: float, dh: Array, dc: Array, carried: Array) -> Any:
    """Write the gradients of the pre-activations over the gates, and add that of c to `carried`, (H,).

    dh, dc: (H,), of the weighed sums' h and c.   Returns the gradient of the weight.
    """
    H = len(c)
    i, f, o, candidate = gates[:H], gates[H : 2 * H], gates[2 * H : 3 * H], gates[3 * H : 4 * H]
    bent, of_cell = np.empty_like(c), np.empty_like(c)
    of_weight = c.dtype.type(0)
    for k in range(H):
        cell = f[k] * c[k] + i[k] * candidate[k]
        bent[k] = _tanh(cell)
        of_weight += dc[k] * cell
    for k in range(H):
        of_weight += dh[k] * o[k] * bent[k]
        of_cell[k] = weight * (dc[k] + dh[k] * o[k] * (ONE - bent[k] * bent[k]))
    for k in range(H):
        o[k] = weight * dh[k] * bent[k] * o[k] * (ONE - o[k])
        carried[k] += of_cell[k] * f[k]
    for k in range(H):
        f[k] = of_cell[k] * c[k] * f[k] * (ONE - f[k])
    for k in range(H):
        of_candidate = of_cell[k] * i[k] * (ONE - candidate[k] * candidate[k])
        i[k] = of_cell[k] * candidate[k] * i[k] * (ONE - i[k])
        candidate[k] = of_candidate
    return of_weight


@_compiled
def pooled_lstm(t: int, frames: Frames) -> None:
    """Frame t of L-STAP, its equations (1)-(10): write the gates, h[t + 1], c[t + 1] and the local weights."""
    gates, from_h, bias, is_padding, score, h, c, weights = frames
    B, _, R, _ = gates.shape
    H = h.shape[2]
    none_left_out = np.zeros(R, np.bool_)
    for b in range(B):
        local = weights[b, t]
        for r in range(R):
            row = gates[b, t, r]
            _make_gates(row, from_h[t, b], bias[min(t, len(bias) - 1), min(r, bias.shape[1] - 1)], H)
            local[r] = _dot(row[4 * H :], score)  # (9)
        _softmax(local, none_left_out)  # (10); with scores of 0, (8)
        if is_padding[b, t]:
            h[t + 1, b], c[t + 1, b] = h[t, b], c[t, b]
            continue
        h[t + 1, b], c[t + 1, b] = 0, 0
        for r in range(R):
            _cell(gates[b, t, r], c[t, b], local[r], c[t + 1, b], h[t + 1, b])


@_compiled
def pooled_lstm_backward(t: int, frames: Frames, gradients: Frames) -> None:
    """Gradients of frame t: written over the gates and to from_h[t], added to those of bias, score, h[t] (past from_h) and c[t]."""
    gates, _, _, is_padding, score, _, c, weights = frames
    of_from_h, of_bias, of_score, dh, dc = gradients.from_h, gradients.bias, gradients.score, gradients.h, gradients.c
    B, _, R, _ = gates.shape
    H = c.shape[2]
    of_weights = np.empty(R, gates.dtype)
    for b in range(B):
        of_from_h[t, b] = 0
        if is_padding[b, t]:
            gates[b, t] = 0
            dh[t, b] += dh[t + 1, b]
            dc[t, b] += dc[t + 1, b]
            continue
        for r in range(R):
            of_weights[r] = _cell_backward(gates[b, t, r], c[t, b], weights[b, t, r], dh[t + 1, b], dc[t + 1, b], dc[t, b])
        mean = _dot(weights[b, t], of_weights)
        for r in range(R):
            row = gates[b, t, r]
            _score_backward(row[4 * H :], score, weights[b, t, r] * (of_weights[r] - mean), of_score)
            _add(of_from_h[t, b], of_bias[min(t, len(of_bias) - 1), min(r, of_bias.shape[1] - 1)], row)


@_compiled
def lstm(first: int, last: int, steps: Steps) -> None:
    """The steps first ... last - 1, none of which is before another: write their gates, h and c."""
    gates, from_h, h, c, before = steps
    H, starts = c.shape[1], len(c) - len(gates)
    nothing = np.zeros(4 * H, gates.dtype)
    for n in range(first, last):
        _make_gates(gates[n], from_h[n, : 4 * H], nothing, H)
        c[starts + n], h[starts + n] = 0, 0
        _cell(gates[n], c[before[n]], ONE, c[starts + n], h[starts + n])


@_compiled
def lstm_backward(first: int, last: int, steps: Steps, gradients: Steps) -> None:
    """Gradients of these steps: of the gates' pre-activations, written to the first 4H of from_h; of c before, added to it."""
    gates, _, _, c, before = steps
    H, starts = c.shape[1], len(c) - len(gates)
    for n in range(first, last):
        of_gates = gradients.from_h[n, : 4 * H]
        of_gates[:] = gates[n]
        dh, dc = gradients.h[starts + n], gradients.c[starts + n]
        _cell_backward(of_gates, c[before[n]], ONE, dh, dc, gradients.c[before[n]])


@_compiled
def attend(first: int, last: int, captions: int, attended: AttentionSteps) -> None:
    """The decoder's attention, equations (15)-(17), at the words first ... last - 1: write their weights and contexts.

    captions: of each video; the words are of the first videos.
    """
    from_h, keys, is_padding, score, states, weights, contexts = attended
    T, A = keys.shape[1:]
    for n in range(first, last):
        b, query = (n - first) // captions, from_h[n, from_h.shape[1] - A :]
        for t in range(T):
            weights[n, t] = _fit(keys[b, t], query, score)
        _softmax(weights[n], is_padding[b])
        contexts[n] = 0
        for t in range(T):
            _add_scaled(contexts[n], weights[n, t], states[b, t])


@_compiled
def attend_backward(first: int, last: int, captions: int, attended: AttentionSteps, gradients: AttentionSteps) -> None:
    """Gradients of these words: of the query, written to the last A of from_h; added to those of keys, score and states.

    The gradient of the weights is given without that through the contexts.
    """
    from_h, keys, _, score, states, weights, _ = attended
    T, A = keys.shape[1:]
    whole = np.empty(T, weights.dtype)
    for n in range(first, last):
        b, query = (n - first) // captions, from_h[n, from_h.shape[1] - A :]
        of_query, of_context = gradients.from_h[n, from_h.shape[1] - A :], gradients.contexts[n]
        for t in range(T):
            whole[t] = gradients.weights[n, t] + _dot(of_context, states[b, t])
            _add_scaled(gradients.states[b, t], weights[n, t], of_context)
        mean = _dot(weights[n], whole)
        of_query[:] = 0
        for t in range(T):
            of_fit = weights[n, t] * (whole[t] - mean)
            _fit_backward(keys[b, t], query, score, of_fit, gradients.keys[b, t], of_query, gradients.score)


@_compiled
def scores(keys: Array, queries: Array, score: Array, fits: Array) -> None:
    """Write w . tanh(key + query) of every position, (B, K, P).   keys: (B, K or 1, P, A).   queries: (B, K, A).   score: (A,), w."""
    B, K, P = fits.shape
    for b in range(B):
        for k in range(K):
            own = keys[b, min(k, keys.shape[1] - 1)]
            for p in range(P):
                fits[b, k, p] = _fit(own[p], queries[b, k], score)


@_compiled
def scores_backward(
    given: tuple[Array, Array, Array], of_fits: Array, of_keys: Array, of_queries: Array, of_score: Array
) -> None:
    """Add the gradients of keys, queries and score.   given: these three, as in `scores`.   of_fits: (B, K, P)."""
    keys, queries, score = given
    B, K, P = of_fits.shape
    for b in range(B):
        for k in range(K):
            shared = min(k, keys.shape[1] - 1)
            for p in range(P):
                of_key = of_keys[b, shared, p]
                _fit_backward(keys[b, shared, p], queries[b, k], score, of_fits[b, k, p], of_key, of_queries[b, k], of_score)
