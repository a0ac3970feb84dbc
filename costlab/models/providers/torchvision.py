"""torchvision's networks, with the inputs that they were trained on."""

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.tracing.inputs import Inputs

VIDEO_FRAMES = 16

# The compiled operators that torchvision's import and its models look for.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor",
)
LIBRARIES: list[torch.library.Library] = []  # a declaration is valid while its library lives


@functools.cache
def import_torchvision() -> Any:
    """torchvision, even if its compiled operators cannot be loaded with this torch.

    Raises CostlabError if torchvision is not installed.
    """
    try:
        import torchvision
    except ModuleNotFoundError:
        raise CostlabError("torchvision is not installed: pip install 'costlab[torchvision]'") from None
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        torchvision = import_with_schemas()
    return torchvision


def import_with_schemas() -> Any:
    """Import torchvision after declaring its compiled operators, two of them with shapes."""
    library = torch.library.Library("torchvision", "DEF")
    LIBRARIES.append(library)
    for schema in SCHEMAS:
        library.define(schema)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    import torchvision

    library.impl("roi_align", _roi_align_shape, "Meta")
    library.impl("deform_conv2d", _deform_conv2d_shape, "Meta")
    for name, module in sys.modules.items():
        if name == "torchvision.extension" or name.startswith("torchvision.ops."):
            vars(module)["_has_ops"] = lambda: True
    return torchvision


def _roi_align_shape(
    input: torch.Tensor, rois: torch.Tensor, scale: float, height: int, width: int, ratio: int, aligned: bool
) -> torch.Tensor:
    """The output shape of `roi_align`."""
    return input.new_empty((rois.shape[0], input.shape[1], height, width))


def _deform_conv2d_shape(input: torch.Tensor, weight: torch.Tensor, offset: torch.Tensor, *rest: Any) -> torch.Tensor:
    """The output shape of `deform_conv2d`."""
    return input.new_empty((input.shape[0], weight.shape[0], *offset.shape[-2:]))


def names() -> list[str]:
    """The networks of torchvision."""
    return list(import_torchvision().models.list_models())


def build(name: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network without weights, and inputs for it."""
    models = import_torchvision().models
    builder = models.get_model_builder(name)
    accepted = inspect.signature(builder).parameters
    options = {key: None for key in ("weights", "weights_backbone") if key in accepted and key not in arguments}
    model = construct(lambda: models.get_model(name, **options, **arguments))
    return model, Inputs(default_inputs(name, builder.__module__.split(".")[2:-1], model))


def default_inputs(name: str, group: list[str], model: torch.nn.Module) -> tuple[Any, ...]:
    """Shapes for the task: an image, a clip of 16 frames, two images (optical flow), or a list of images."""
    size = image_size(name, model)
    match group[:1]:
        case ["detection"]:
            return ([torch.empty(3, 800, 800, device="meta")],)
        case ["segmentation"]:
            return (torch.empty(1, 3, 520, 520, device="meta"),)
        case ["video"]:
            return (torch.empty(1, 3, VIDEO_FRAMES, size, size, device="meta"),)
        case ["optical_flow"]:
            return (torch.empty(1, 3, 520, 960, device="meta"), torch.empty(1, 3, 520, 960, device="meta"))
    return (torch.empty(1, 3, size, size, device="meta"),)


def image_size(name: str, model: torch.nn.Module) -> int:
    """The image size that the network is built for, or the smallest crop of its published weights."""
    fixed = getattr(model, "image_size", None)
    if isinstance(fixed, int):
        return fixed
    weights = import_torchvision().models.get_model_weights(name)
    crops = [getattr(w.transforms, "keywords", {}).get("crop_size") for w in weights]
    sizes = [min(c) if isinstance(c, (tuple, list)) else c for c in crops if c]
    return min(sizes, default=224)
