"""Images: classifiers, segmentation, detection, restoration."""

import torch
from _parts import classifier, images, labels, setup
from torch import nn
from torch.nn import functional


def build_lenet():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    return classifier(model, images(64, 1, 28), 10)


class Functional(nn.Module):
    """Everything but the layers is a function of torch."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)
        self.fc1, self.fc2 = nn.Linear(32 * 6 * 6, 64), nn.Linear(64, 5)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = functional.dropout(functional.relu(self.fc1(x.view(x.size(0), -1))), 0.5, self.training)
        return self.fc2(x)


def build_functional():
    return classifier(Functional(), images())


def build_log_softmax_and_nll():
    class WithLogSoftmax(Functional):
        def forward(self, x):
            return functional.log_softmax(super().forward(x), dim=1)

    return setup(WithLogSoftmax(), images(), labels(), functional.nll_loss)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (out + self.shortcut(x)).relu_()


def resnet(classes=5):
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    stages = nn.Sequential(Block(16, 16), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(stem, stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def build_resnet():
    return classifier(resnet(), images())


def build_resnet_with_zero_init_residuals():
    model = resnet()
    for module in model.modules():
        if isinstance(module, Block):
            nn.init.zeros_(module.norm2.weight)
    return classifier(model, images())


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, features):
        x = torch.cat(features, 1)
        return self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.layers = nn.ModuleList(DenseLayer(16 + 8 * index, 8) for index in range(4))
        self.norm, self.head = nn.BatchNorm2d(48), nn.Linear(48, 5)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(features))
        out = torch.relu(self.norm(torch.cat(features, 1)))
        return self.head(functional.adaptive_avg_pool2d(out, 1).flatten(1))


def build_densenet():
    return classifier(DenseNet(), images())


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x):
        scale = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.up(functional.silu(self.down(scale))))


class InvertedResidual(nn.Module):
    def __init__(self, width):
        super().__init__()
        inner = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(),
            nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(),
            SqueezeExcite(inner), nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


def build_mobilenet():
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 5))
    return classifier(nn.Sequential(stem, InvertedResidual(16), InvertedResidual(16), head), images())


class ConvNext(nn.Module):
    """Depthwise convolution, LayerNorm over channels, LayerScale of 1e-6, stochastic depth."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.reduce = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.reduce(functional.gelu(self.expand(y)))
        if self.training:
            y = y * (torch.rand(len(x), 1, 1, 1) < 0.9) / 0.9
        return x + y.permute(0, 3, 1, 2)


def build_convnext():
    stem = nn.Conv2d(3, 24, 4, 4)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 5))
    return classifier(nn.Sequential(stem, ConvNext(24), ConvNext(24), head), images())


class VisionTransformer(nn.Module):
    def __init__(self, width=48, patch=8, size=32):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.encoder(x)[:, 0]))


def build_vision_transformer():
    return classifier(VisionTransformer(), images())


def double(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        self.down = nn.ModuleList([double(3, 8), double(8, 16)])
        self.middle = double(16, 32)
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.merge = nn.ModuleList([double(32, 16), double(16, 8)])
        self.head = nn.Conv2d(8, outputs, 1)

    def forward(self, x):
        kept = []
        for block in self.down:
            kept.append(block(x))
            x = functional.max_pool2d(kept[-1], 2)
        x = self.middle(x)
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([up(x), kept.pop()], dim=1))
        return self.head(x)


def dice_and_bce(logits, mask):
    probability = logits.sigmoid()
    overlap = (probability * mask).sum((1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
    return functional.binary_cross_entropy_with_logits(logits, mask) + dice.mean()


def build_unet_with_dice():
    return setup(UNet(), images(16), torch.randint(0, 2, (16, 1, 32, 32)).float(), dice_and_bce)


def build_unet_with_pixel_classes():
    return setup(UNet(4), images(16), torch.randint(0, 4, (16, 32, 32)), nn.CrossEntropyLoss(ignore_index=255))


class Segmenter(nn.Module):
    """Returns a dict of two predictions, as torchvision's segmentation models do."""

    def __init__(self):
        super().__init__()
        self.low, self.high = double(3, 16), double(16, 32)
        self.classifier, self.aux = nn.Conv2d(32, 4, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        low = functional.max_pool2d(self.low(x), 2)
        high = functional.max_pool2d(self.high(low), 2)
        out = {"out": self.classifier(high), "aux": self.aux(low)}
        return {name: functional.interpolate(y, x.shape[-2:], mode="bilinear") for name, y in out.items()}


def segmentation_loss(output, target):
    return functional.cross_entropy(output["out"], target) + 0.5 * functional.cross_entropy(output["aux"], target)


def build_segmentation_with_an_auxiliary_head():
    return setup(Segmenter(), images(16), torch.randint(0, 4, (16, 32, 32)), segmentation_loss)


class Detector(nn.Module):
    """One stage without anchors: given targets it returns its losses, as detectors do."""

    def __init__(self, classes=3):
        super().__init__()
        self.backbone = nn.Sequential(double(3, 16), nn.MaxPool2d(2), double(16, 32), nn.MaxPool2d(2))
        self.tower = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1), nn.GroupNorm(8, 32), nn.ReLU())
        self.cls, self.box, self.center = (nn.Conv2d(32, outputs, 3, 1, 1) for outputs in (classes, 4, 1))
        nn.init.normal_(self.cls.weight, std=0.01)
        nn.init.constant_(self.cls.bias, -4.6)  # one object in a hundred places

    def forward(self, x, targets=None):
        y = self.tower(self.backbone(x))
        cls, box, center = self.cls(y), functional.relu(self.box(y)), self.center(y)
        if targets is None:
            return {"scores": cls.sigmoid() * center.sigmoid(), "boxes": box}
        inside = targets["inside"]
        probability = cls.sigmoid()
        plain = functional.binary_cross_entropy_with_logits(cls, targets["classes"], reduction="none")
        miss = (targets["classes"] - probability).abs()
        return {
            "loss_classifier": (plain * miss.pow(2)).sum() / inside.sum(),
            "loss_box": (functional.smooth_l1_loss(box, targets["boxes"], reduction="none") * inside).sum() / inside.sum(),
            "loss_center": functional.binary_cross_entropy_with_logits(center[inside > 0], targets["center"][inside > 0]),
        }


def build_detector_with_a_dict_of_losses():
    inside = (torch.rand(8, 1, 8, 8) < 0.1).float()
    targets = {
        "inside": inside,
        "classes": functional.one_hot(torch.randint(0, 3, (8, 8, 8)), 3).permute(0, 3, 1, 2) * inside,
        "boxes": torch.rand(8, 4, 8, 8) * 4,
        "center": torch.rand(8, 1, 8, 8),
    }
    return setup(Detector(), {"x": images(8), "targets": targets})


def build_denoising_autoencoder():
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid(),
    )  # fmt: skip
    clean = torch.rand(32, 1, 28, 28)
    return setup(model, (clean + 0.1 * torch.randn_like(clean)), clean, nn.BCELoss())


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), nn.PReLU(), nn.Conv2d(32, 32, 3, 1, 1), nn.PReLU())
        self.up = nn.Sequential(nn.Conv2d(32, 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x):
        return self.up(self.body(x)) + functional.interpolate(x, scale_factor=2, mode="bicubic")


def build_super_resolution():
    return setup(SuperResolution(), torch.rand(16, 3, 16, 16), torch.rand(16, 3, 32, 32), nn.L1Loss())


class StyleBlock(nn.Module):
    """Residual block with instance norm, as in image translation."""

    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


def build_image_translation():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 7, 1, 3), nn.InstanceNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.InstanceNorm2d(32),
        nn.ReLU(), StyleBlock(32), StyleBlock(32), nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, 1, 1),
        nn.InstanceNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 7, 1, 3), nn.Tanh(),
    )  # fmt: skip
    return setup(model, images(8).clamp(-1, 1), images(8).clamp(-1, 1), nn.L1Loss())
