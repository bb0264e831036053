"""The lecture's model under the stock Hydra Optuna sweeper: the lecture's cells, W&B offline."""

import json
import random
import time
from pathlib import Path

import hydra
import torch
import torch.nn.functional as F
import wandb
from hydra.core.hydra_config import HydraConfig


def build_dataset(words, stoi):
    X, Y = [], []
    for w in words:
        context = [0] * 3
        for ch in w + ".":
            ix = stoi[ch]
            X.append(context)
            Y.append(ix)
            context = context[1:] + [ix]  # noqa: RUF005 -- as the lecture writes it
    return torch.tensor(X), torch.tensor(Y)


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg):
    began = time.time()
    torch.set_num_threads(1)
    folder = Path(HydraConfig.get().runtime.output_dir)
    run = wandb.init(
        mode="offline",
        project="stock",
        config=dict(cfg),
        dir=str(folder),
        settings=wandb.Settings(console="off", silent=True),
    )
    words = Path(cfg.data).read_text().splitlines()
    stoi = {s: i + 1 for i, s in enumerate(sorted(set("".join(words))))}
    stoi["."] = 0
    random.seed(42)
    random.shuffle(words)
    n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
    Xtr, Ytr = build_dataset(words[:n1], stoi)
    Xdev, Ydev = build_dataset(words[n1:n2], stoi)
    g = torch.Generator().manual_seed(cfg.seed)
    C = torch.randn((len(stoi), 10), generator=g)
    W1 = torch.randn((30, 200), generator=g)
    b1 = torch.randn(200, generator=g)
    W2 = torch.randn((200, len(stoi)), generator=g)
    b2 = torch.randn(len(stoi), generator=g)
    parameters = [C, W1, b1, W2, b2]
    for p in parameters:
        p.requires_grad = True
    for i in range(cfg.steps):
        ix = torch.randint(0, Xtr.shape[0], (32,))
        emb = C[Xtr[ix]]
        h = torch.tanh(emb.view(-1, 30) @ W1 + b1)
        logits = h @ W2 + b2
        loss = F.cross_entropy(logits, Ytr[ix])
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = cfg.lr if i < cfg.steps // 2 else cfg.lr / 10
        for p in parameters:
            p.data += -lr * p.grad
        if i % 40 == 0:
            run.log({"loss": loss.item()}, step=i)
    with torch.no_grad():
        h = torch.tanh(C[Xdev].view(-1, 30) @ W1 + b1)
        dev = F.cross_entropy(h @ W2 + b2, Ydev).item()
    run.log({"dev_loss": dev})
    run.finish()
    (folder / "times.json").write_text(json.dumps([began, time.time(), dev]))
    return dev


if __name__ == "__main__":
    main()
