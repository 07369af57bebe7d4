"""The functions of PyTorch that the catalogue's definitions stand for, by their names there."""

import pytest


def torch_functions():
    """The catalogue's names, as a user of PyTorch would call them."""
    torch = pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")
    functional = torch.nn.functional

    def rotated(x):
        half = x.shape[1] // 2
        frequencies = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        angles = (torch.arange(len(x), dtype=x.dtype)[:, None] * frequencies).repeat(1, 2)
        return x * angles.cos() + torch.cat([-x[:, half:], x[:, :half]], -1) * angles.sin()

    def recurrent(x, h, W, U, bias):
        every = []
        for step in x:
            h = torch.rnn_tanh_cell(step, h, W, U, bias, torch.zeros_like(bias))
            every.append(h)
        return torch.stack(every)

    def lstm(x, h, c, W, U, bias):
        return torch.stack(torch.lstm_cell(x, (h, c), W, U, bias, torch.zeros_like(bias)))

    return {
        "layer_norm": lambda x, weight, bias: functional.layer_norm(x, x.shape[-1:], weight, bias),
        "rms_norm": lambda x, weight: functional.rms_norm(x, x.shape[-1:], weight, 1e-6),
        "batch_norm": lambda x, weight, bias: functional.batch_norm(x, None, None, weight, bias, training=True),
        "group_norm": lambda x, weight, bias: functional.group_norm(x, 2, weight, bias),
        "l2_normalize": lambda x: functional.normalize(x, dim=-1),
        "cosine_similarity": lambda x, y: functional.cosine_similarity(x, y, dim=-1),
        "scaled_dot_product_attention": functional.scaled_dot_product_attention,
        "causal_attention": lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        "rotary_embedding": rotated,
        "cross_entropy": functional.cross_entropy,
        "label_smoothing_cross_entropy": lambda x, y: functional.cross_entropy(x, y, label_smoothing=0.1),
        "cross_entropy_with_ignore_index": functional.cross_entropy,
        "nll_loss": functional.nll_loss,
        "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
        "mse_loss": functional.mse_loss,
        "l1_loss": functional.l1_loss,
        "huber_loss": functional.huber_loss,
        "hinge_loss": lambda x, y: functional.multi_margin_loss(x, y) * x.shape[-1],  # theirs is a mean over classes
        "kl_div": lambda x, y: functional.kl_div(x, y, reduction="batchmean"),
        "linear": functional.linear,
        "embedding": functional.embedding,
        "dropout": lambda x, mask: x * mask / 0.9,  # theirs draws the mask
        "glu": functional.glu,
        "swiglu": lambda x, W, V: functional.silu(x @ W) * (x @ V),
        "log_softmax": lambda x: functional.log_softmax(x, -1),
        "logsumexp": lambda x: torch.logsumexp(x, -1),
        "conv1d": functional.conv1d,
        "conv2d": functional.conv2d,
        "max_pool2d": lambda x: functional.max_pool2d(x, 2),
        "avg_pool2d": lambda x: functional.avg_pool2d(x, 2),
        "lstm_cell": lstm,
        "gru_cell": torch.gru_cell,
        "rnn": recurrent,
    }
