"""The side of torch in `benchmarks.training`: the same models in plain torch.

    PYTHON benchmarks/training_torch.py FOLDER transformer|gpt2|lstm float32|bfloat16

FOLDER has `weights.npz` and `settings.json`, as `benchmarks.training` writes them. The
Transformer uses torch's own fused attention and fused AdamW, bfloat16 its autocast.
"""

import json
import pathlib
import resource
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Transformer(nn.Module):
    """GPT-2's layout, by the names of a Hugging Face directory, products [out, in]."""

    def __init__(self, weights, heads):
        super().__init__()
        self.weights, self.heads = nn.ParameterDict(), heads
        for name, value in weights.items():
            if value.ndim == 2 and name.startswith("h."):
                value = np.ascontiguousarray(value.T)  # Conv1D stores [in, out]
            self.weights[name.replace(".", "_")] = nn.Parameter(torch.tensor(value))
        self.layers = len({name.split(".")[1] for name in weights if name[:2] == "h."})

    def forward(self, tokens_BT):
        B, T = tokens_BT.shape
        w = self.weights
        x = w["wte_weight"][tokens_BT] + w["wpe_weight"][:T]

        def linear(x, name):
            return F.linear(x, w[f"{name}_weight"], w[f"{name}_bias"])

        def norm(x, name):
            scale, bias = w[f"{name}_weight"], w[f"{name}_bias"]
            return F.layer_norm(x, x.shape[-1:], scale, bias)

        for i in range(self.layers):
            here = f"h_{i}"
            qkv = linear(norm(x, f"{here}_ln_1"), f"{here}_attn_c_attn").chunk(3, -1)
            q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in qkv)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            out = out.transpose(1, 2).reshape(B, T, -1)
            x = x + linear(out, f"{here}_attn_c_proj")
            y = F.gelu(
                linear(norm(x, f"{here}_ln_2"), f"{here}_mlp_c_fc"), approximate="tanh"
            )
            x = x + linear(y, f"{here}_mlp_c_proj")
        return F.linear(norm(x, "ln_f"), w["wte_weight"])


class Lstm(nn.Module):
    """Two layers; Keras has the gates in torch's order, and one bias."""

    def __init__(self, weights):
        super().__init__()
        values = list(weights.values())  # table, (kernel, recurrent, bias) x 2, head
        self.embedding = nn.Embedding.from_pretrained(torch.tensor(values[0]), False)
        width = values[0].shape[1]
        self.lstm = nn.LSTM(width, values[2].shape[0], 2, batch_first=True)
        with torch.no_grad():
            for layer in range(2):
                kernel, recurrent, bias = values[1 + 3 * layer : 4 + 3 * layer]
                for name, value in (
                    ("weight_ih", kernel.T),
                    ("weight_hh", recurrent.T),
                ):
                    getattr(self.lstm, f"{name}_l{layer}").copy_(torch.tensor(value))
                getattr(self.lstm, f"bias_ih_l{layer}").copy_(torch.tensor(bias))
                getattr(self.lstm, f"bias_hh_l{layer}").zero_()
        for layer in range(2):  # one bias learns, as on the other sides
            getattr(self.lstm, f"bias_hh_l{layer}").requires_grad_(False)
        self.head = nn.Linear(*values[-2].shape[::-1])
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(values[-2]))
            self.head.bias.copy_(torch.tensor(values[-1]))

    def forward(self, tokens_BT):
        return self.head(self.lstm(self.embedding(tokens_BT))[0])


def main(folder, kind, precision):
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    with np.load(folder / "weights.npz") as archive:
        weights = {name: archive[name] for name in archive if name != "ids"}
        ids = torch.tensor(archive["ids"].astype(np.int64))
    model = Lstm(weights) if kind == "lstm" else Transformer(weights, settings["heads"])
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        1e-3,
        betas=(0.9, settings["beta_2"]),
        eps=settings["epsilon"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    batch, steps = settings["batch"], settings["steps"]
    losses, ends = [], []
    for number in range(steps + settings["timed"]):
        rows = ids[number % steps * batch :][:batch]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        ends.append(time.perf_counter())
    seconds = [b - a for a, b in zip(ends[steps - 1 :], ends[steps:], strict=False)]
    print(
        json.dumps(
            {
                "seconds": statistics.median(seconds),
                "first": losses[0],
                "mean": statistics.mean(losses[:steps]),
                "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
