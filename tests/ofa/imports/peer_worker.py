"""Runs the published once-for-all package (PyPI `ofa`) on request; started by its own interpreter, never imported by it
and us in one process. Its top half, weights from names, is what both sides share.

    $OFA_PEER_PYTHON peer_worker.py JOB.json      with JOB a list of the dictionaries that `run` reads
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np

# -- the same on both sides --------------------------------------------------------------------------------------------


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers in [-1, 1) as float32, decided by the name alone (SplitMix64 of the position: Steele et al.,
    Fast splittable pseudorandom number generators, 2014), whatever versions of numpy and torch are there.
    """
    seed = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], dtype=np.uint64)[0]
    with np.errstate(over="ignore"):
        z = seed + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of a state dict by its published name: everything random, scaled so that activations stay of order 1 in
    the largest network too (where they grow to thousands, every float32 of every implementation differs from the next).
    """
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.array(len(name), dtype=np.int64)
    uniform = numbers(name, shape)
    if len(shape) == 1:
        positive = leaf == "running_var" or leaf == "weight"
        residual = leaf == "weight" and (".point_linear." in name or ".conv3." in name)
        return (np.float32(positive) + np.float32(0.5) * uniform) * np.float32(0.5 if residual else 1)
    fan_in = int(np.prod(shape[1:]))  # a kernel transformation's columns: it keeps the scale as a convolution does
    gain = 1.0 if leaf.endswith("_matrix") or len(shape) == 2 or ".se." in name else 2.0
    return uniform * np.float32((3 * gain / fan_in) ** 0.5)


def images(resolution: int, num: int) -> np.ndarray:
    """(num, 3, resolution, resolution), unit variance."""
    return numbers(f"images {resolution}", (num, 3, resolution, resolution)) * np.float32(3**0.5)


def projection(num_classes: int) -> np.ndarray:
    """The gradient of the loss by the logits, for gradients that both sides can compute: loss = logits @ projection."""
    return numbers("projection", (num_classes,))


# -- the peer ----------------------------------------------------------------------------------------------------------


def build(job):
    """job["network"], ["width_mult"], ["num_classes"]: a supernet of the peer without dropout."""
    from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets, OFAResNets

    common = {"n_classes": job.get("num_classes", 1000), "dropout_rate": 0}
    if job["network"] == "resnet":
        return OFAResNets(
            depth_list=[0, 1, 2], expand_ratio_list=[0.2, 0.25, 0.35], width_mult_list=[0.65, 0.8, 1.0], **common
        )
    kind = {"mobilenet_v3": OFAMobileNetV3, "proxyless_nas": OFAProxylessNASNets}[job["network"]]
    lists = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    return kind(width_mult=job["width_mult"], **lists, **common)


def run(job):
    """Build a supernet; fill it with `weights`, or load the checkpoint job["load"]; save it as job["save"].

    job["logits"] (npz) gets the logits of job["subnets"] in job["modes"] (eval_0, train_0, ...) and the gradients of
    the first job["gradients"] of them in train mode (grad_0/NAME, float64); job["extract"] + i the static networks.
    """
    import torch

    net = build(job)
    own = net.state_dict()
    if "load" in job:
        loaded = torch.load(job["load"], map_location="cpu", weights_only=True)["state_dict"]
        assert set(loaded) == set(own), sorted(set(loaded) ^ set(own))[:5]
        assert all(loaded[name].dtype == own[name].dtype for name in own)
        net.load_state_dict(loaded)
    else:
        net.load_state_dict({name: torch.from_numpy(weights(name, tuple(t.shape))) for name, t in own.items()})
    if "save" in job:
        torch.save({"state_dict": net.state_dict()}, job["save"])
    kept = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    arrays = {}
    for mode in job.get("modes", []):
        for number, subnet in enumerate(job["subnets"]):
            net.load_state_dict(kept)  # train mode moves the running statistics
            activate(net, subnet)
            net.train(mode == "train")
            x = torch.from_numpy(images(subnet["image_size"], job["batch"]))
            with torch.no_grad():
                arrays[f"{mode}_{number}"] = net(x).numpy()
    for number in range(job.get("gradients", 0)):  # in float64: a network of 20 norms turns rounding into per cents
        net.double().train()
        activate(net, job["subnets"][number])
        x = torch.from_numpy(images(job["subnets"][number]["image_size"], job["batch"])).double()
        logits = net(x)
        net.zero_grad(set_to_none=True)
        (logits @ torch.from_numpy(projection(logits.shape[1])).double()).mean().backward()
        for name, parameter in net.named_parameters():
            if parameter.grad is not None:
                arrays[f"grad_{number}/{name}"] = parameter.grad.numpy().copy()
    net.float()
    if arrays:
        np.savez(job["logits"], **arrays)
    if "extract" in job:
        net.load_state_dict(kept)
        for number, subnet in enumerate(job["subnets"]):
            activate(net, subnet)
            static = net.get_active_subnet().eval()
            torch.save({"state_dict": static.state_dict()}, f"{job['extract']}{number}.pth")
            with open(f"{job['extract']}{number}.config", "w") as stream:
                json.dump(static.config, stream)
            with torch.no_grad():
                np.save(f"{job['extract']}{number}.npy", static(torch.from_numpy(images(subnet["image_size"], 2))))


def activate(net, subnet):
    net.set_active_subnet(**{key: subnet[key] for key in ("ks", "e", "d", "w") if key in subnet})


def count(job):
    """Parameters and MACs (by hooks) of the static networks job["count"]: (config, image size) pairs."""
    from ofa.imagenet_classification.networks import get_net_by_name
    from ofa.utils import count_net_flops, count_parameters

    counts = []
    for path, size in job["count"]:
        with open(path) as stream:
            config = json.load(stream)
        net = get_net_by_name(config["name"]).build_from_config(config)
        counts.append({"params": count_parameters(net), "macs": exact_macs(net, size, count_net_flops)})
    with open(job["counts"], "w") as stream:
        json.dump(counts, stream)


def exact_macs(net, size, count_net_flops):
    """The peer's hooks count in float32, which is exact up to 2**24 only; their own sum per layer is checked against
    the same hooks run layer by layer in whole numbers.
    """
    import torch

    total, handles = [], []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            handles.append(
                layer.register_forward_hook(
                    lambda m, _, y: total.append(
                        m.in_channels * y.nelement() * m.weight.shape[2] * m.weight.shape[3] // m.groups
                    )
                )
            )
        elif isinstance(layer, torch.nn.Linear):
            handles.append(layer.register_forward_hook(lambda m, _, y: total.append(m.in_features * m.out_features)))
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    counted = count_net_flops(net, (1, 3, size, size))
    assert abs(counted - sum(total)) <= 1e-6 * counted, (counted, sum(total))
    return sum(total)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    with open(sys.argv[1]) as stream:
        jobs = json.load(stream)
    for job in jobs:
        count(job) if "count" in job else run(job)
