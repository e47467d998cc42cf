#!/usr/bin/env python3
"""The DAF network in plain eager PyTorch: what daf's speed is measured against.

Nothing is done here to be fast and nothing to be slow: NCHW, float32, modules and functions as a reader of the paper
would write them. The teacher ends after stage 3, as the student does, and SSIM is computed once per step and stage.

    peer.py --check                      agreement with reference numbers ($DAF_GOLDEN)
    peer.py training_step [--batch 8]    one JSON line with the time of a step
    peer.py score                        the same for one image: RGB bytes in, score map and score out
    peer.py onnxruntime | openvino       the same as `score` in a compiled runtime (--precision bf16: OpenVINO only)
"""

import argparse
import json
import logging
import os
import pathlib
import statistics
import sys
import tempfile
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn


# ---- Networks -------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A basic block of ResNet-18."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + identity)


class ResNet18(nn.Module):
    """The first three stages of ResNet-18, with torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return [first, second, third]


def start_head(module):
    """Draws the weights of decoder and auxiliary heads."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.constant_(module.bias, 1e-4)


class Decoder(nn.Module):
    """Student features and discrepancy maps to a probability map at the size of the image."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.ModuleDict({"conv": nn.Conv2d(256, 256, 1, bias=False), "bn": nn.BatchNorm2d(256)})
        self.seg1 = nn.ModuleDict({"conv": nn.Conv2d(512, 256, 3, 1, 1, bias=False), "bn": nn.BatchNorm2d(256)})
        self.seg2 = nn.ModuleDict({"deconv": nn.ConvTranspose2d(384, 128, 2, 2), "bn": nn.BatchNorm2d(128)})
        self.seg3 = nn.ModuleDict({"conv": nn.Conv2d(192, 64, 1, bias=False), "bn": nn.BatchNorm2d(64)})
        self.head = nn.ModuleDict({"conv": nn.Conv2d(64, 1, 1)})
        self.relu = nn.ReLU(inplace=True)
        self.apply(start_head)

    def forward(self, features, maps):
        first, second, third = features
        fused = (
            maps[0].repeat(1, 4, 1, 1)
            + F.interpolate(maps[1], scale_factor=2, mode="nearest").repeat(1, 2, 1, 1)
            + F.interpolate(maps[2], scale_factor=4, mode="nearest")
        )
        fused = self.relu(self.smooth["bn"](self.smooth["conv"](fused)))
        fused = F.interpolate(fused, size=third.shape[2:], mode="bilinear", align_corners=False)
        x = double(torch.cat([fused, third], 1))
        x = self.relu(self.seg1["bn"](self.seg1["conv"](x)))
        x = torch.cat([x, second], 1)
        x = self.relu(self.seg2["bn"](self.seg2["deconv"](x)))
        x = double(torch.cat([x, first], 1))
        x = self.relu(self.seg3["bn"](self.seg3["conv"](x)))
        return torch.sigmoid(self.head["conv"](double(x)))


def double(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Auxiliary(nn.Module):
    """A head that finds the defect in one stage of the student."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels // 4, 3, 1, 1)
        self.bn = nn.BatchNorm2d(channels // 4)
        self.head = nn.Conv2d(channels // 4, 1, 1)
        self.relu = nn.ReLU(inplace=True)
        self.apply(start_head)

    def forward(self, x):
        return torch.sigmoid(self.head(self.relu(self.bn(self.conv(x)))))


# ---- Discrepancy ----------------------------------------------------------------------------------------------------


def gaussian(sigma, radius):
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def blur(x, window):
    """A separable Gaussian over each channel, without padding."""
    channels = x.shape[1]
    x = F.conv2d(x, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(x, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def ssim(a, b, window):
    """Structural similarity of two feature maps, each channel by its own maximum; N×C×h×w."""

    def scaled(x):
        x = F.pad(x, (5, 5, 5, 5), mode="reflect")
        return x / (x.amax(dim=(2, 3), keepdim=True) + 1e-10)

    a, b = scaled(a), scaled(b)
    mean_a, mean_b = blur(a, window), blur(b, window)
    squares = mean_a**2 + mean_b**2
    product = mean_a * mean_b
    variances = blur(a * a, window) + blur(b * b, window) - squares
    covariance = blur(a * b, window) - product
    c1, c2 = 1e-4, 9e-4
    return ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))


def cross_entropy(probability, mask):
    """Binary cross-entropy over all damaged pixels and three times as many of the hardest normal ones."""
    loss = F.binary_cross_entropy(probability, mask, reduction="none")
    positive = int(mask.sum())
    mined = min(mask.numel() - positive, 3 * positive)
    hardest = (loss * (1 - mask)).flatten().topk(mined).values
    return ((loss * mask).sum() + hardest.sum()) / (positive + mined + 1e-6)


class Daf(nn.Module):
    """Teacher, student, decoder and auxiliary heads."""

    def __init__(self):
        super().__init__()
        self.teacher = ResNet18().eval()
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(False)
        self.student = ResNet18()
        self.decoder = Decoder()
        self.aux = nn.ModuleDict({str(i): Auxiliary(c) for i, c in ((1, 64), (2, 128), (3, 256))})
        self.register_buffer("window", gaussian(1.5, 5), persistent=False)
        self.register_buffer("smoothing", gaussian(4.0, 16), persistent=False)

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def similarities(self, taught, seen):
        pairs = list(zip(taught, seen))
        cosine = [F.cosine_similarity(t, s, dim=1).unsqueeze(1) for t, s in pairs]
        structure = [ssim(t, s, self.window) for t, s in pairs]
        maps = [(1 - s) + (1 - c) for s, c in zip(structure, cosine)]
        return cosine, structure, maps

    def losses(self, normal, synthetic, mask):
        """Loss terms of a step by name, and the maps that they rest on."""
        with torch.no_grad():
            taught = self.teacher(normal)
        seen = self.student(synthetic)
        cosine, structure, maps = self.similarities(taught, seen)
        losses = {}
        for i, (c, s) in enumerate(zip(cosine, structure), 1):
            clean = 1 - F.interpolate(mask, size=c.shape[2:], mode="nearest")
            count = clean.sum()
            losses[f"cosine.{i}"] = 1 - (c * clean).sum() / count
            losses[f"ssim.{i}"] = (1 - s * clean).sum() / (s.shape[1] * count)
        probability = self.decoder(seen, maps)
        losses["seg"] = cross_entropy(probability, mask)
        for i, s in enumerate(seen, 1):
            found = F.interpolate(self.aux[str(i)](s), size=mask.shape[2:], mode="bilinear", align_corners=False)
            losses[f"aux.{i}"] = cross_entropy(found, mask)
        return losses, maps, probability

    def forward(self, images):
        """Smoothed score maps N×1×H×W and image scores N of images."""
        seen = self.student(images)
        _, _, maps = self.similarities(self.teacher(images), seen)
        scores = 3 * self.decoder(seen, maps)
        for found in maps:
            scores = scores + F.interpolate(found.mean(1, keepdim=True), size=images.shape[2:], mode="nearest")
        scores = blur(repeat_edges(scores, 16), self.smoothing)
        return scores, scores.flatten(1).topk(50, dim=1).values.mean(1)


def repeat_edges(x, by):
    """Reflection that repeats the edge, which `F.pad` does not know and scipy's gaussian_filter does by default."""
    x = torch.cat([x[:, :, :by].flip(2), x, x[:, :, -by:].flip(2)], 2)
    return torch.cat([x[..., :by].flip(3), x, x[..., -by:].flip(3)], 3)


# ---- Agreement with reference numbers -------------------------------------------------------------------------------


def check(folder):
    from safetensors.torch import load_file

    golden = pathlib.Path(folder) / "model"
    teacher = pathlib.Path(folder).parent / "weights" / "resnet18-imagenet-stages1to3.safetensors"
    worst = {}

    def compare(name, found, expected, tolerance):
        found, expected = found.detach().double().reshape(expected.shape), expected.double()
        error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
        kind = name.split(".")[0]
        if error > worst.get(kind, (-1.0,))[0]:
            worst[kind] = (error, tolerance, name)

    def load(file):
        net = Daf()
        net.teacher.load_state_dict(load_file(teacher), strict=False)
        own = {k: v for k, v in net.state_dict().items() if not k.startswith("teacher.")}
        saved = load_file(golden / file)
        if missing := {k for k in own if not k.endswith("num_batches_tracked")} ^ set(saved):
            sys.exit(f"{file}: names differ: {sorted(missing)[:5]}")
        net.load_state_dict(saved, strict=False)
        return net

    step = load_file(golden / "training_step.safetensors")
    net = load("model_init.safetensors").train()
    optimizer = torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), lr=2e-4, weight_decay=1e-5)
    losses, maps, probability = net.losses(step["image"], step["synthetic"], step["mask"])
    total = sum(losses.values())
    compare("probability (train)", probability, step["probability"], 1e-4)
    for i, found in enumerate(maps, 1):
        compare(f"discrepancy (train).{i}", found.mean(1), step[f"discrepancy.{i}.mean_c"], 1e-4)
    for name, loss in losses.items():
        compare(f"loss.{name}", loss, step[f"loss.{name}"], 1e-5)
    compare("loss.total", total, step["loss.total"], 1e-5)
    total.backward()
    parameters = dict(net.named_parameters())
    for name, expected in step.items():
        if name.startswith("grad_norm."):
            compare(name, parameters[name.removeprefix("grad_norm.")].grad.norm(), expected, 1e-3)
    optimizer.step()
    after = load_file(golden / "model_after_step.safetensors")
    # These feed a batch norm: their gradient is rounding noise, of which AdamW's first step makes a whole one.
    noise = {"decoder.seg2.deconv.bias", "aux.1.conv.bias", "aux.2.conv.bias", "aux.3.conv.bias"}
    compared = [(parameters[name].detach(), v) for name, v in after.items() if name in parameters and name not in noise]
    errors = torch.cat([(found - expected).abs().flatten() for found, expected in compared])
    close, largest = float((errors < 1e-6).double().mean()), float(errors.max())

    seen = load_file(golden / "inference.safetensors")
    net = load("model_after_step.safetensors").eval()
    with torch.inference_mode():
        scores, image_scores = net(seen["image"])
    compare("score map", scores, seen["score_map"], 1e-4)
    compare("image score", image_scores, seen["image_score"], 1e-4)

    failed = close < 0.99 or largest > 4.1e-4
    for kind, (error, tolerance, name) in worst.items():
        failed |= not error <= tolerance
        print(f"{kind:<20} {error:.1e} of at most {tolerance:.0e}   worst: {name}")
    print(f"{'after a step':<20} {100 * close:.2f} % of the parameters within 1e-6, all within {largest:.1e}")
    if failed:
        sys.exit("peer.py does not agree with the reference numbers")


# ---- Measuring ------------------------------------------------------------------------------------------------------


def image_bytes(size, generator):
    """Something with structure: what is measured must not depend on it, but denormal numbers would slow things down."""
    coarse = torch.rand(1, 3, size // 16, size // 16, generator=generator)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    noise = torch.rand(1, 3, size, size, generator=generator)
    return ((0.8 * smooth + 0.2 * noise) * 255).to(torch.uint8)[0].permute(1, 2, 0).contiguous()


def to_input(image):
    """H×W×3 bytes in RGB order to 1×3×H×W in BGR order, 0..1."""
    return (image.float() / 255).permute(2, 0, 1).flip(0).unsqueeze(0).contiguous()


def training_step(arguments):
    generator = torch.Generator().manual_seed(0)
    net = Daf().train()
    optimizer = torch.optim.AdamW((p for p in net.parameters() if p.requires_grad), lr=2e-4, weight_decay=1e-5)
    batch, size = arguments.batch, arguments.size
    normal = torch.cat([to_input(image_bytes(size, generator)) for _ in range(batch)])
    mask = torch.zeros(batch, 1, size, size)
    mask[:, :, size // 4 : size // 2, size // 4 : size // 2] = 1
    synthetic = normal * (1 - mask) + (1 - normal) * mask

    def step():
        optimizer.zero_grad()
        losses, _, _ = net.losses(normal, synthetic, mask)
        total = sum(losses.values())
        total.backward()
        optimizer.step()
        return total.item()

    return step


def score(arguments):
    image = image_bytes(arguments.size, torch.Generator().manual_seed(0)).numpy()
    net = Daf().eval()

    @torch.inference_mode()
    def infer():
        scores, image_scores = net(to_input(torch.from_numpy(image)))
        return scores[0, 0].numpy(), float(image_scores)

    return infer


class Exported(nn.Module):
    """From H×W×3 bytes to the score map and the score: what is timed elsewhere, as one graph."""

    def __init__(self):
        super().__init__()
        self.net = Daf().eval()

    def forward(self, image):
        return self.net(to_input(image))


def exported(arguments):
    """The network as a file of ONNX, an image, and what the network finds in it."""
    file = arguments.onnx or os.path.join(tempfile.mkdtemp(), "daf.onnx")
    image = image_bytes(arguments.size, torch.Generator().manual_seed(0))
    net = Exported()
    with torch.inference_mode():
        expected = net(image)
    if not os.path.exists(file):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The exporter's optimiser takes the 1e-10 of a division for 0; the runtimes have optimisers of their own.
            torch.onnx.export(net, (image,), dynamo=True, verbose=False, optimize=False).save(file)
    return file, image.numpy(), [part.numpy() for part in expected]


def agree(found, expected, tolerance):
    """The runtime must compute the same function before its time counts."""
    error = max(float(abs(f.reshape(e.shape) - e).max() / abs(e).max()) for f, e in zip(found, expected))
    if not error <= tolerance:
        sys.exit(f"the runtime computes something else: relative error {error:.1e}, at most {tolerance:.0e}")
    return error


def onnxruntime(arguments):
    import onnxruntime as ort

    if arguments.precision != "float32":
        sys.exit("ONNX Runtime has no bf16 on the CPU")
    file, image, expected = exported(arguments)
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    arguments.error = agree(session.run(None, {name: image}), expected, 1e-4)
    return lambda: session.run(None, {name: image})


def openvino(arguments):
    import openvino as ov

    file, image, expected = exported(arguments)
    core = ov.Core()
    settings = {
        "INFERENCE_NUM_THREADS": arguments.threads,
        "INFERENCE_PRECISION_HINT": "f32" if arguments.precision == "float32" else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()

    def infer():
        results = request.infer([image], share_inputs=True)
        return [results[i].copy() for i in range(2)]

    # In bf16 OpenVINO computes everything so, SSIM too, and the map is only roughly the same: the error is reported.
    arguments.error = agree(infer(), expected, 1e-4 if arguments.precision == "float32" else float("inf"))
    return infer


def main():
    work = {f.__name__: f for f in (training_step, score, onnxruntime, openvino)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=work)
    parser.add_argument("--check", action="store_true", help="compare with the reference numbers in $DAF_GOLDEN")
    parser.add_argument("--batch", type=int, default=8, help="images per training step")
    parser.add_argument("--size", type=int, default=256, help="side of the images, a multiple of 16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32", help="for OpenVINO")
    parser.add_argument("--onnx", metavar="FILE", help="the exported network: written unless it is there")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    if arguments.check:
        folder = os.environ.get("DAF_GOLDEN") or sys.exit("DAF_GOLDEN must name the folder of reference numbers")
        return check(folder)
    if arguments.what is None:
        parser.error(f"nothing to do: --check or one of {', '.join(work)}")
    arguments.error = None
    once = work[arguments.what](arguments)
    for _ in range(arguments.warmup):
        once()
    times = []
    for _ in range(arguments.repeats):
        started = time.perf_counter()
        once()
        times.append(1e3 * (time.perf_counter() - started))
    print(
        json.dumps(
            {
                "what": arguments.what,
                "precision": arguments.precision,
                "batch": arguments.batch if arguments.what == "training_step" else 1,
                "size": arguments.size,
                "threads": arguments.threads,
                "torch": torch.__version__,
                "median_ms": statistics.median(times),
                "ms": times,
                "error": arguments.error,
            }
        )
    )


if __name__ == "__main__":
    main()
