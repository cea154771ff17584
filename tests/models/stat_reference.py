"""STAT written again as plain float64 loops from the description of its released code, sharing no code with the package.

Weights are in the released checkpoint's layout and under its keys: nested lists (in, out), vectors are rows. `kind` 'stat' projects
motion and places and adds the contexts; 'mm17' projects nothing and puts them side by side.
"""

import math


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def product(x, W):
    return [sum(x[i] * W[i][j] for i in range(len(x))) for j in range(len(W[0]))]


def add(*vectors):
    assert len({len(v) for v in vectors}) == 1
    return [sum(values) for values in zip(*vectors, strict=True)]


def tanh(x):
    return [math.tanh(v) for v in x]


def times(x, mask):
    return [a * b for a, b in zip(x, mask, strict=True)]


def softmax(scores):
    powers = [math.exp(s - max(scores)) for s in scores]
    return [v / sum(powers) for v in powers]


def weigh(weights, vectors):
    return [sum(a * v[k] for a, v in zip(weights, vectors, strict=True)) for k in range(len(vectors[0]))]


def look(vectors, h, p, which):
    """Additive attention number `which` ('l' spatial, 'g', 'm', 'lt' temporal) over a list of vectors; without weights the mean."""
    if f"decoder_Wc{which}_att" not in p:
        even = [1 / len(vectors)] * len(vectors)
        return even, weigh(even, vectors)
    scores = []
    for vector in vectors:
        hidden = add(
            product(vector, p[f"decoder_Wc{which}_att"]), p[f"decoder_b{which}_att"], product(h, p[f"decoder_Wd{which}_att"])
        )
        scores.append(product(tanh(hidden), p[f"decoder_U{which}_att"])[0] + p[f"decoder_c{which}_att"][0])
    weights = softmax(scores)
    return weights, weigh(weights, vectors)


def start(valid, p):
    """From the vectors whose sum is not zero; there is at least one."""
    mean = [sum(vector[k] for vector in valid) / len(valid) for k in range(len(valid[0]))]
    h = tanh(add(product(mean, p["ff_state_W"]), p["ff_state_b"]))
    c = tanh(add(product(mean, p["ff_memory_W"]), p["ff_memory_b"]))
    return h, c


def project(motion, places, p):
    m = [tanh(add(product(vector, p["ff_motion_W"]), p["ff_motion_b"])) for vector in motion]
    l = [[tanh(add(product(vector, p["ff_local_W"]), p["ff_local_b"])) for vector in frame] for frame in places]  # noqa: E741
    return m, l


def read(frames, motion, places, previous, mask, p, masks, kind="stat"):
    """One caption of one video. previous: the row of the word before each step, None at the first; mask: 1 up to EOS, then 0.

    masks: for each step, what the gates' (3H), the state's (H) and the output's (E) values are multiplied by.
    frames and motion may be None: local features only.

    Returns for each step: log-probabilities, h, c, and the weights of the four attentions.
    """
    m, l = project(motion or [], places, p) if kind == "stat" else (motion, places)  # noqa: E741
    if frames is not None:
        h, c = start([frame for frame in frames if sum(frame) != 0], p)
    else:
        h, c = start([l[t][r] for t, frame in enumerate(places) for r, place in enumerate(frame) if sum(place) != 0], p)
    H, E = len(h), len(p["Wemb"][0])
    steps = []
    for row, on, (gates_mask, hidden_mask, output_mask) in zip(previous, mask, masks, strict=True):
        y = [0.0] * E if row is None else p["Wemb"][row]
        spatial, v = zip(*[look(frame, h, p, "l") for frame in l], strict=True)
        seen = {} if frames is None else {"global": look(frames, h, p, "g"), "motion": look(m, h, p, "m")}
        seen["local"] = look(list(v), h, p, "lt")
        contexts = [context for _, context in seen.values()]
        z = add(*contexts) if kind == "stat" else [value for context in contexts for value in context]
        beta = sigmoid(product(h, p["decoder_W_sel"])[0] + p["decoder_b_sel"][0])
        z = [beta * value for value in z]
        pre = add(product(y, p["decoder_W"]), p["decoder_b"], product(h, p["decoder_U"]), product(z, p["decoder_Wc"]))
        dropped = times(pre[: 3 * H], gates_mask)
        i, f, o = ([sigmoid(x) for x in dropped[k * H : (k + 1) * H]] for k in range(3))
        n = tanh(pre[3 * H :])
        new_c = [f[k] * c[k] + i[k] * n[k] for k in range(H)]
        new_c = [on * a + (1 - on) * b for a, b in zip(new_c, c, strict=True)]
        new_h = [o[k] * math.tanh(new_c[k]) for k in range(H)]
        h, c = [on * a + (1 - on) * b for a, b in zip(new_h, h, strict=True)], new_c
        q = add(
            product(times(h, hidden_mask), p["ff_logit_lstm_W"]),
            p["ff_logit_lstm_b"],
            y,
            product(z, p["ff_logit_ctxglm_W"]),
            p["ff_logit_ctxglm_b"],
        )
        logits = add(product(times(tanh(q), output_mask), p["ff_logit_W"]), p["ff_logit_b"])
        log_probabilities = [math.log(value) for value in softmax(logits)]
        looks = {"spatial": list(spatial)} | {name: weights for name, (weights, _) in seen.items()}
        steps.append({"log_probabilities": log_probabilities, "h": h, "c": c, "looks": looks})
    return steps


def penalty(captions):
    """Sum over captions, mean over positions, of (1 - sum over steps)^2, for each attention. captions: lists of steps' looks."""
    totals = {}
    for name in captions[0][0]:
        total, positions = 0.0, 0
        for steps in captions:
            flat = [_flat(looks[name]) for looks in steps]
            positions = len(flat[0])
            total += sum((1 - sum(step[k] for step in flat)) ** 2 for k in range(positions))
        totals[name] = total / positions
    return totals


def _flat(weights):
    return [v for row in weights for v in row] if isinstance(weights[0], list) else weights
