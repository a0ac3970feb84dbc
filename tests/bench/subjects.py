"""The networks and single layers for comparing tools, each with its cost from a second source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from costlab.models.providers.torchvision import import_torchvision

models = import_torchvision().models  # before transformers, which imports it as well

from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, YolosConfig, YolosForObjectDetection  # noqa: E402

Built = tuple[nn.Module, tuple[Any, ...]]  # a network in eval mode, and the positional arguments of its forward


@dataclass(frozen=True)
class Subject:
    """A network with real weights, or one layer of it."""

    name: str
    build: Callable[[], Built]  # on torch's default device
    published: float | None = None  # mult-adds in billions as torchvision publishes them, three decimals
    by_hand: int | None = None  # mult-adds as the products of their sizes
    single: bool = False  # one layer or one way to write it


class Call(nn.Module):
    """A function of an image or a sequence, with weights, as a network.

    Tools replace functions while they count: the function has to look up the others when it is called.
    """

    def __init__(self, function: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, *self.weights)


class WordModel(nn.Module):
    """Embedding, a two-layer LSTM and a linear layer: a language model of 2016."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10_000, 256)
        self.lstm = nn.LSTM(256, 512, num_layers=2, batch_first=True)
        self.linear = nn.Linear(512, 10_000)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.linear(self.lstm(self.embedding(tokens))[0])


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` of a sequence with itself, without the scores, as transformers call it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(256, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class OfSeveral(nn.Module):
    """A linear layer on every tensor of a list, as detectors take their images."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 128)

    def forward(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([self.linear(tensor) for tensor in tensors])


def torchvision_network(name: str) -> Built:
    return models.get_model(name, weights=None).eval(), (torch.randn(1, 3, 224, 224),)


def published(name: str) -> Subject:
    """A classifier of torchvision, as small as its own default, with the figure that its weights carry."""
    weights = models.get_model_weights(name).IMAGENET1K_V1
    return Subject(name, partial(torchvision_network, name), published=weights.meta["_ops"])


def tokens() -> torch.Tensor:
    return torch.zeros(1, TOKENS, dtype=torch.long)


def bert() -> Built:
    return BertModel(BertConfig()).eval(), (tokens(),)


def llama() -> Built:
    config = LlamaConfig(
        vocab_size=8000,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval(), (tokens(),)


def yolos() -> Built:
    config = YolosConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, image_size=[224, 224]
    )
    return YolosForObjectDetection(config).eval(), (torch.randn(1, 3, 224, 224),)


def on_sequence(make: Callable[[], nn.Module]) -> Callable[[], Built]:
    """The network that `make` makes, on a sequence of 64 vectors of 256."""
    return lambda: (make().eval(), (torch.randn(1, 64, 256),))


def on_image(make: Callable[[], nn.Module]) -> Callable[[], Built]:
    return lambda: (make().eval(), (torch.randn(1, 16, 32, 32),))


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)


TOKENS = 128
BERT = 12 * (4 * TOKENS * 768 * 768 + 2 * TOKENS * TOKENS * 768 + 2 * TOKENS * 768 * 3072) + 768 * 768  # and the pooler
LLAMA = (
    4 * (2 * TOKENS * 512 * 512 + 2 * TOKENS * 512 * 128 + 2 * TOKENS * TOKENS * 512 + 3 * TOKENS * 512 * 1376)
    + TOKENS * 512 * 8000
)
PATCHES, FOUND = 14 * 14, 100
SEEN = 1 + PATCHES + FOUND
YOLOS = (
    PATCHES * 192 * 3 * 16 * 16
    + 12 * (4 * SEEN * 192 * 192 + 2 * SEEN * SEEN * 192 + 2 * SEEN * 192 * 768)
    + FOUND * (2 * 2 * 192 * 192 + 192 * (2 + 1) + 192 * 4)  # classes, and boxes
)
ATTENTION = 4 * 64 * 256 * 256 + 2 * 64 * 64 * 256
ENCODER_LAYER = ATTENTION + 2 * 64 * 256 * 1024

SUBJECTS = (
    *map(published, "mobilenet_v2 resnet50 efficientnet_b0 densenet121 convnext_tiny vit_b_16 swin_t".split()),
    Subject("YOLOS tiny, a detector", yolos, by_hand=YOLOS),
    Subject("BERT base, 128 tokens", bert, by_hand=BERT),
    Subject("Llama of 4 layers, 128 tokens", llama, by_hand=LLAMA),
    Subject(
        "LSTM language model, 128 tokens",
        lambda: (WordModel().eval(), (tokens(),)),
        by_hand=TOKENS * 4 * 512 * (256 + 512) + TOKENS * 4 * 512 * (512 + 512) + TOKENS * 512 * 10_000,
    ),
    Subject(
        "nn.TransformerEncoder of 2 layers",
        on_sequence(lambda: nn.TransformerEncoder(encoder_layer(), 2)),
        by_hand=2 * ENCODER_LAYER,
    ),
    Subject("nn.MultiheadAttention", on_sequence(SelfAttention), by_hand=ATTENTION, single=True),
    Subject(
        "scaled_dot_product_attention",
        on_sequence(lambda: Call(lambda x, w: functional.scaled_dot_product_attention(x, x, x) * w, (256,))),
        by_hand=2 * 64 * 64 * 256,
        single=True,
    ),
    Subject("nn.LSTM", on_sequence(lambda: nn.LSTM(256, 128)), by_hand=64 * 4 * 128 * (256 + 128), single=True),
    Subject("nn.GRU", on_sequence(lambda: nn.GRU(256, 128)), by_hand=64 * 3 * 128 * (256 + 128), single=True),
    Subject(
        "F.linear",
        on_sequence(lambda: Call(lambda x, w: functional.linear(x, w), (128, 256))),
        by_hand=64 * 256 * 128,
        single=True,
    ),
    Subject("x @ w", on_sequence(lambda: Call(lambda x, w: x @ w, (256, 128))), by_hand=64 * 256 * 128, single=True),
    Subject(
        "torch.einsum",
        on_sequence(lambda: Call(lambda x, w: torch.einsum("bsi,io->bso", x, w), (256, 128))),
        by_hand=64 * 256 * 128,
        single=True,
    ),
    Subject(
        "inputs in a list",
        lambda: (OfSeveral().eval(), ([torch.randn(64, 256), torch.randn(64, 256)],)),
        by_hand=2 * 64 * 256 * 128,
        single=True,
    ),
    Subject(
        "F.conv2d",
        on_image(lambda: Call(lambda x, w: functional.conv2d(x, w), (8, 16, 3, 3))),
        by_hand=8 * 30 * 30 * 16 * 3 * 3,
        single=True,
    ),
    Subject(
        "nn.ConvTranspose2d, stride 2",
        on_image(lambda: nn.ConvTranspose2d(16, 8, 2, stride=2)),
        by_hand=32 * 32 * 16 * 8 * 2 * 2,
        single=True,
    ),
)
