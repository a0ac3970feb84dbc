"""Networks of eight libraries that costlab does not know, in sizes that a CPU runs, with inputs.

Each is a line of Python: `build` imports the library, so that what is not installed fails alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

Inputs = tuple[Any, ...] | dict[str, Any]


class LibraryNetwork(NamedTuple):
    """A network of a library."""

    library: str
    name: str
    build: Callable[[Any], tuple[nn.Module, Inputs]]  # of the imported library


def image(size: int = 64, channels: int = 3, batch: int = 1) -> torch.Tensor:
    """Random pixels."""
    return torch.rand(batch, channels, size, size)


def volume(size: int = 32, channels: int = 1) -> torch.Tensor:
    """Random voxels."""
    return torch.rand(1, channels, size, size, size)


def tokens(length: int, largest: int = 100, batch: int = 1) -> torch.Tensor:
    """Random integers."""
    return torch.randint(0, largest, (batch, length))


def edges(nodes: int, count: int) -> torch.Tensor:
    """Edges between random nodes."""
    return torch.randint(0, nodes, (2, count))


UNET = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8, "cross_attention_dim": 32}
BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
VAE = {"block_out_channels": (32, 64), "norm_num_groups": 8, "latent_channels": 4}
VAE_BLOCKS = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}


def diffusers_unet(d: Any) -> tuple[nn.Module, Inputs]:
    """A latent diffusion denoiser: latents, a time step, a text."""
    model = d.UNet2DConditionModel(sample_size=16, attention_head_dim=8, **UNET, **BLOCKS)
    return model, (torch.rand(1, 4, 16, 16), torch.tensor(10), torch.rand(1, 8, 32))


def diffusers_unconditional(d: Any) -> tuple[nn.Module, Inputs]:
    """A denoiser of pixels."""
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    model = d.UNet2DModel(sample_size=32, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8, **blocks)
    return model, (image(32), torch.tensor(3))


def diffusers_motion(d: Any) -> tuple[nn.Module, Inputs]:
    """A denoiser of videos: frames are a batch of their own."""
    model = d.UNet3DConditionModel(
        sample_size=16,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        **UNET,
    )
    return model, (torch.rand(1, 4, 4, 16, 16), torch.tensor(3), torch.rand(1, 8, 32))


def diffusers_controlnet(d: Any) -> tuple[nn.Module, Inputs]:
    """A copy of the denoiser's encoder that sees a drawing."""
    model = d.ControlNetModel(
        attention_head_dim=8,
        down_block_types=BLOCKS["down_block_types"],
        conditioning_embedding_out_channels=(8, 16),
        **UNET,
    )
    return model, (torch.rand(1, 4, 16, 16), torch.tensor(3), torch.rand(1, 8, 32), image(32))


def diffusers_dit(d: Any) -> tuple[nn.Module, Inputs]:
    """A diffusion transformer: latents, a time step and a class."""
    model = d.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=2, sample_size=16
    )
    return model, {"hidden_states": torch.rand(1, 4, 16, 16), "timestep": tokens(1)[0], "class_labels": tokens(1)[0]}


def diffusers_sd3(d: Any) -> tuple[nn.Module, Inputs]:
    """Image and text tokens attend to each other."""
    model = d.SD3Transformer2DModel(
        sample_size=16,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    return model, {
        "hidden_states": torch.rand(1, 4, 16, 16),
        "encoder_hidden_states": torch.rand(1, 8, 32),
        "pooled_projections": torch.rand(1, 64),
        "timestep": torch.rand(1),
    }


def diffusers_flux(d: Any) -> tuple[nn.Module, Inputs]:
    """The same in two kinds of blocks, with rotary positions."""
    model = d.FluxTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    )
    return model, {
        "hidden_states": torch.rand(1, 16, 4),
        "encoder_hidden_states": torch.rand(1, 8, 32),
        "pooled_projections": torch.rand(1, 32),
        "timestep": torch.rand(1),
        "img_ids": torch.rand(16, 3),
        "txt_ids": torch.rand(8, 3),
    }


def diffusers_pixart(d: Any) -> tuple[nn.Module, Inputs]:
    """A diffusion transformer that sees a text."""
    model = d.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        num_layers=2,
        cross_attention_dim=32,
        sample_size=16,
        caption_channels=32,
        use_additional_conditions=False,
    )
    extra = {"resolution": None, "aspect_ratio": None}
    return model, {
        "hidden_states": torch.rand(1, 4, 16, 16),
        "encoder_hidden_states": torch.rand(1, 8, 32),
        "timestep": tokens(1)[0],
        "added_cond_kwargs": extra,
    }


def clip(o: Any, name: str) -> tuple[nn.Module, Inputs]:
    """An image and its caption."""
    model = o.create_model(name)
    size = model.visual.image_size
    return model, (image(size[0] if isinstance(size, tuple) else size), tokens(model.context_length, 1000))


def segmentation(s: Any, name: str, encoder: str = "resnet18", **options: Any) -> tuple[nn.Module, Inputs]:
    """A decoder on an image classifier, without weights from the network."""
    return getattr(s, name)(encoder, encoder_weights=None, classes=4, **options), (image(128),)


def graph(t: Any, name: str, sizes: tuple[int, ...], **options: Any) -> tuple[nn.Module, Inputs]:
    """A network over nodes and edges."""
    importlib.import_module("torch_geometric.nn")
    return getattr(t.nn, name)(*sizes, **options), (torch.rand(50, 16), edges(50, 200))


def yolo(u: Any, name: str) -> tuple[nn.Module, Inputs]:
    """A network by its configuration file."""
    tasks = importlib.import_module("ultralytics.nn.tasks")
    kind = "SegmentationModel" if "seg" in name else "PoseModel" if "pose" in name else "ClassificationModel"
    kind = kind if any(part in name for part in ("seg", "pose", "cls")) else "DetectionModel"
    kind = "RTDETRDetectionModel" if "rtdetr" in name else kind
    return getattr(tasks, kind)(f"{name}.yaml", verbose=False), (image(128),)


def vit(v: Any, module: str, name: str, **options: Any) -> tuple[nn.Module, Inputs]:
    """A vision transformer on 64 x 64 pixels."""
    kind = getattr(importlib.import_module(f"vit_pytorch.{module}"), name)
    return kind(**options), (image(64),)


def monai(m: Any, name: str, size: int, **options: Any) -> tuple[nn.Module, Inputs]:
    """A network for medical volumes."""
    made = getattr(importlib.import_module("monai.networks.nets"), name)(**VOLUMES, **options)
    return made, (volume(size),)


def audio(a: Any, name: str, inputs: Callable[[], Inputs], **options: Any) -> tuple[nn.Module, Inputs]:
    """A network for waveforms or spectrograms."""
    return getattr(a.models, name)(**options), inputs()


SMALL_VIT = {"image_size": 64, "patch_size": 16, "num_classes": 10, "dim": 64, "depth": 2, "heads": 4, "mlp_dim": 128}
CONVOLUTIONAL_VIT = {"img_size": 64, "embedding_dim": 64, "num_layers": 2, "num_heads": 4, "num_classes": 10}
NESTED_VIT = {"image_size": 64, "patch_size": 4, "dim": 32, "heads": 2, "num_hierarchies": 3, "num_classes": 10}
VOLUMES = {"in_channels": 1, "out_channels": 2}
STRIDES = {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2)}
MASKS = {"enc_num_feats": 64, "msk_num_feats": 32, "msk_num_hidden_feats": 64, "msk_num_layers": 2}
ENCODER = {"num_heads": 4, "ffn_dim": 64, "num_layers": 2}

DIFFUSERS: dict[str, Callable[[Any], tuple[nn.Module, Inputs]]] = {
    "UNet2DConditionModel": diffusers_unet,
    "UNet2DModel": diffusers_unconditional,
    "UNet3DConditionModel": diffusers_motion,
    "ControlNetModel": diffusers_controlnet,
    "AutoencoderKL": lambda d: (d.AutoencoderKL(**VAE, **VAE_BLOCKS), (image(32),)),
    "VQModel": lambda d: (d.VQModel(**VAE, **VAE_BLOCKS), (image(32),)),
    "DiTTransformer2DModel": diffusers_dit,
    "SD3Transformer2DModel": diffusers_sd3,
    "FluxTransformer2DModel": diffusers_flux,
    "PixArtTransformer2DModel": diffusers_pixart,
}
CLIP = "ViT-S-16 ViT-B-32 ViT-B-16 RN50 coca_ViT-B-32 ViT-B-16-SigLIP MobileCLIP-S1"
SEGMENTATION = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus"
MONAI: dict[str, tuple[int, dict[str, Any]]] = {  # the size of the volume, and options
    "UNet": (32, {"spatial_dims": 3, "channels": (8, 16, 32), "strides": (2, 2)}),
    "BasicUNet": (32, {"spatial_dims": 3, "features": (8, 8, 16, 32, 64, 8)}),
    "UNETR": (32, {"img_size": (32, 32, 32), "hidden_size": 48, "mlp_dim": 96, "num_heads": 4, "feature_size": 8}),
    "SwinUNETR": (64, {"feature_size": 12}),
    "SegResNet": (32, {"init_filters": 8}),
    "DynUNet": (32, {"spatial_dims": 3, "filters": (8, 16, 32), **STRIDES}),
    "VNet": (32, {}),
    "DenseNet121": (32, {"spatial_dims": 3}),
}
GRAPHS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    **dict.fromkeys(("GCN", "GraphSAGE", "GAT", "GIN", "EdgeCNN"), ((16, 32, 2, 8), {})),
    "GraphUNet": ((16, 32, 8), {"depth": 2}),
    "ChebConv": ((16, 32), {"K": 3}),
    "TransformerConv": ((16, 32), {"heads": 2}),
}
YOLO = "yolov5n yolov8n yolov8n-seg yolov8n-pose yolov8n-cls yolov9t yolov10n yolo11n rtdetr-l"
VITS: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit", SMALL_VIT),
    "SimpleViT": ("simple_vit", SMALL_VIT),
    "CaiT": ("cait", {**SMALL_VIT, "cls_depth": 1}),
    "DeepViT": ("deepvit", SMALL_VIT),
    "CCT": ("cct", CONVOLUTIONAL_VIT),
    "MaxViT": ("max_vit", {"num_classes": 10, "dim": 32, "dim_head": 16, "depth": (1, 1), "window_size": 4}),
    "NesT": ("nest", {**NESTED_VIT, "block_repeats": (1, 1, 2)}),
    "RegionViT": ("regionvit", {"dim": (16, 32, 64, 128), "depth": (1, 1, 1, 1), "window_size": 2, "num_classes": 10}),
}
AUDIO: dict[str, tuple[Callable[[], Inputs], dict[str, Any]]] = {
    "ConvTasNet": (lambda: (torch.rand(1, 1, 4000),), {**MASKS, "msk_num_stacks": 1}),
    "DeepSpeech": (lambda: (torch.rand(1, 1, 50, 40),), {"n_feature": 40, "n_hidden": 64}),
    "Wav2Letter": (lambda: (torch.rand(1, 1, 8000),), {}),
    "Conformer": (
        lambda: (torch.rand(2, 50, 80), torch.tensor([50, 40])),
        {"input_dim": 80, "depthwise_conv_kernel_size": 31, **ENCODER},
    ),
    "Emformer": (
        lambda: (torch.rand(2, 68, 64), torch.tensor([68, 60])),
        {"input_dim": 64, "segment_length": 16, "right_context_length": 4, **ENCODER},
    ),
    "HDemucs": (lambda: (torch.rand(1, 2, 44100),), {"sources": ["voice"], "channels": 16}),
    "WaveRNN": (
        lambda: (torch.rand(1, 1, 200 * (10 - 5 + 1)), torch.rand(1, 1, 128, 10)),
        {"upsample_scales": [5, 5, 8], "n_classes": 32, "hop_length": 200, "n_rnn": 64, "n_fc": 64},
    ),
    "wav2vec2_base": (lambda: (torch.rand(1, 8000),), {}),
}


def networks() -> Iterator[LibraryNetwork]:
    """All of them."""
    for name, maker in DIFFUSERS.items():
        yield LibraryNetwork("diffusers", name, maker)
    for name in CLIP.split():
        yield LibraryNetwork("open_clip", name, partial(clip, name=name))
    for name in SEGMENTATION.split():
        yield LibraryNetwork("segmentation_models_pytorch", name, partial(segmentation, name=name))
    mixed = partial(segmentation, name="Segformer", encoder="mit_b0")
    yield LibraryNetwork("segmentation_models_pytorch", "Segformer", mixed)
    for name, (size, options) in MONAI.items():
        yield LibraryNetwork("monai", name, partial(monai, name=name, size=size, **options))
    for name, (sizes, options) in GRAPHS.items():
        yield LibraryNetwork("torch_geometric", name, partial(graph, name=name, sizes=sizes, **options))
    for name in YOLO.split():
        yield LibraryNetwork("ultralytics", name, partial(yolo, name=name))
    for name, (module, options) in VITS.items():
        yield LibraryNetwork("vit_pytorch", name, partial(vit, module=module, name=name, **options))
    for name, (inputs, options) in AUDIO.items():
        yield LibraryNetwork("torchaudio", name, partial(audio, name=name, inputs=inputs, **options))


def build(network: LibraryNetwork) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """A network in eval mode, and its positional and keyword inputs."""
    from costlab.models.providers.torchvision import import_torchvision

    import_torchvision()
    torch.manual_seed(0)
    model, inputs = network.build(importlib.import_module(network.library))
    return model.eval(), *(((), inputs) if isinstance(inputs, dict) else (inputs, {}))
