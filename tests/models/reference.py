"""The paper's equations written again as plain float64 loops, sharing no code with the package.

Francis & Huet 2019; the numbers in comments are its equations. Vectors are lists of floats; weights are nested lists
(out, in), as the modules store them.
"""

import math

Vector = list[float]
Matrix = list[Vector]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def times(W, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) for row in W]


def plus(*vectors):
    return [sum(values) for values in zip(*vectors, strict=True)]


def softmax(scores):
    largest = max(scores)
    powers = [math.exp(s - largest) for s in scores]
    return [p / sum(powers) for p in powers]


def lstm_gates(pre, H):
    i = [sigmoid(v) for v in pre[:H]]  # (1)
    f = [sigmoid(v) for v in pre[H : 2 * H]]  # (2)
    o = [sigmoid(v) for v in pre[2 * H : 3 * H]]  # (3)
    n = [math.tanh(v) for v in pre[3 * H : 4 * H]]
    return i, f, o, n


def lstap(video, h, c, W, b, U, w=None):
    """One video (T lists of R vectors) from h, c -> states, last c, weights. Rows of W, b, U past 4H are the attention's."""
    H = len(h)
    states, all_weights = [], []
    for frame in video:
        cells, hiddens, scores = [], [], []
        for x in frame:
            pre = plus(times(W, x), times(U, h), b)
            i, f, o, n = lstm_gates(pre, H)
            c_j = [f[k] * c[k] + i[k] * n[k] for k in range(H)]  # (4)
            cells.append(c_j)
            hiddens.append([o[k] * math.tanh(c_j[k]) for k in range(H)])  # (5)
            if w is not None:
                scores.append(sum(weight * math.tanh(v) for weight, v in zip(w, pre[4 * H :], strict=True)))  # (9)
        weights = [1 / len(frame)] * len(frame) if w is None else softmax(scores)  # (8), (10)
        c = [sum(a * cell[k] for a, cell in zip(weights, cells, strict=True)) for k in range(H)]  # (6)
        h = [sum(a * hidden[k] for a, hidden in zip(weights, hiddens, strict=True)) for k in range(H)]  # (7)
        states.append(h)
        all_weights.append(weights)
    return states, c, all_weights


def attend(query, states, W_key, b_key, W_query, w):
    scores = []
    for state in states:
        hidden = plus(times(W_key, state), b_key, times(W_query, query))
        scores.append(sum(weight * math.tanh(v) for weight, v in zip(w, hidden, strict=True)))  # (16)
    weights = softmax(scores)  # (17), its sum over T
    context = [sum(a * s[k] for a, s in zip(weights, states, strict=True)) for k in range(len(states[0]))]  # (15)
    return context, weights


def decode(words, states, h, c, p):
    """Log-probabilities (L lists of V) of teacher-forced words, with the parameters p as nested lists."""
    H = len(h)
    rows, looks = [], []
    for word in words:
        context, weights = attend(h, states, p["W_key"], p["b_key"], p["W_query"], p["w"])
        x = p["embedding"][word]  # (18); (19) is the sum of the products with the two halves
        pre = plus(times(p["W_x"], x), p["b"], times(p["W_phi"], context), times(p["U"], h))
        i, f, o, n = lstm_gates(pre, H)  # (20)-(22)
        c = [f[k] * c[k] + i[k] * n[k] for k in range(H)]  # (23)
        h = [o[k] * math.tanh(c[k]) for k in range(H)]  # (24)
        rows.append([math.log(v) for v in softmax(times(p["W_out"], h))])  # (25)
        looks.append(weights)
    return rows, looks


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def matching_loss(videos, sentences, video_of_sentence, margin):
    """Equation (27), averaged over the pairs; videos[k] may be the same video as another row only if the numbers agree."""
    total = 0.0
    for n, sentence in enumerate(sentences):
        own = video_of_sentence[n]
        right = cosine(videos[own], sentence)
        wrong_videos = [cosine(v, sentence) for k, v in videos.items() if k != own]
        wrong_sentences = [cosine(videos[own], s) for m, s in enumerate(sentences) if video_of_sentence[m] != own]
        total += max([0.0] + [margin - right + s for s in wrong_videos])
        total += max([0.0] + [margin - right + s for s in wrong_sentences])
    return total / len(sentences)
