"""The networks of the guidelines' pages: those with a verdict in the paper, and others for comparison."""

from __future__ import annotations

import functools

from costlab.core.profile import Profile
from costlab.models import ModelSpec, profile_of

NETWORKS: dict[str, tuple[str, dict[str, float]]] = {
    "ShuffleNet V1, 1 group": ("zoo:shufflenet_v1", {"groups": 1}),
    "ShuffleNet V1, 3 groups": ("zoo:shufflenet_v1", {"groups": 3}),
    "ShuffleNet V1, 8 groups": ("zoo:shufflenet_v1", {"groups": 8}),
    "ShuffleNet V2 0.5x": ("zoo:shufflenet_v2", {"width": 0.5}),
    "ShuffleNet V2 1x": ("zoo:shufflenet_v2", {"width": 1.0}),
    "ShuffleNet V2 1.5x": ("zoo:shufflenet_v2", {"width": 1.5}),
    "ShuffleNet V2 2x": ("zoo:shufflenet_v2", {"width": 2.0}),
    "MobileNet V1": ("zoo:mobilenet_v1", {}),
    "MobileNet V2": ("zoo:mobilenet_v2", {}),
    "MobileNet V3 Large": ("zoo:mobilenet_v3_large", {}),
    "MobileNet V3 Small": ("zoo:mobilenet_v3_small", {}),
    "NASNet-A Large": ("timm:nasnetalarge", {}),
    "PNASNet-5 Large": ("timm:pnasnet5large", {}),
    "GoogLeNet": ("torchvision:googlenet", {}),
    "Inception V3": ("torchvision:inception_v3", {}),
    "ResNet-50": ("torchvision:resnet50", {}),
    "ResNeXt-50 32x4d": ("torchvision:resnext50_32x4d", {}),
    "DenseNet-121": ("torchvision:densenet121", {}),
    "EfficientNet-B0": ("torchvision:efficientnet_b0", {}),
    "ConvNeXt-T": ("torchvision:convnext_tiny", {}),
    "ViT-B/16": ("torchvision:vit_b_16", {}),
    "Swin-T": ("torchvision:swin_t", {}),
}


@functools.cache
def network(name: str) -> Profile:
    """The profile of one of NETWORKS."""
    target, arguments = NETWORKS[name]
    return profile_of(ModelSpec(target, arguments))
