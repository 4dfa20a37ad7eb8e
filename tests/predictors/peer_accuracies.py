"""Run by the interpreter of an environment with PyPI's `ofa` (once-for-all), not with this project's:

    cd /tmp; PEER/bin/python .../peer_accuracies.py < job.json

The input is {"file": a .pth, "encoder": "tutorial", "mbv3", "mbv2" or "resnet", "image_sizes": [...], "hidden": 400,
"layers": 3, "networks": [{"ks", "e", "d", "r"}, ...]} (ResNet: {"d", "e", "w", "r"}), and the output the list of
accuracies that its predictors give them, in float32 as they compute. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import json
import sys
import types

import torch


def tutorial(job):
    from ofa.tutorial.accuracy_predictor import AccuracyPredictor

    predictor = AccuracyPredictor(pretrained=False, device="cpu")
    predictor.model.load_state_dict(torch.load(job["file"], weights_only=True, map_location="cpu"))
    return predictor.predict_accuracy([{**network, "r": [network["r"]]} for network in job["networks"]])[:, 0]


def library(job):
    from ofa.nas.accuracy_predictor import AccuracyPredictor, MobileNetArchEncoder, ResNetArchEncoder

    encoder = ResNetArchEncoder if job["encoder"] == "resnet" else MobileNetArchEncoder
    if job["encoder"] != "resnet":
        encoder = type("Encoder", (MobileNetArchEncoder,), {"SPACE_TYPE": job["encoder"]})
    predictor = AccuracyPredictor(
        encoder(image_size_list=job["image_sizes"]), job["hidden"], job["layers"], device="cpu"
    )
    predictor.load_state_dict(torch.load(job["file"], weights_only=True, map_location="cpu"))
    return predictor.predict_acc([{**network, "image_size": network["r"]} for network in job["networks"]])


if __name__ == "__main__":
    sys.modules["gdown"] = types.ModuleType("gdown")
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        given = json.load(sys.stdin)
        accuracies = (tutorial if given["encoder"] == "tutorial" else library)(given)
    json.dump(accuracies.tolist(), sys.stdout)
