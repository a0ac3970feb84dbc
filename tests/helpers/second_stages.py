"""Detectors whose published figures leave out their second stage."""

from __future__ import annotations

# What a detector's second stage costs depends on how many boxes its first stage finds. The figures were counted on
# noise, where weights decide that; a profile keeps every box and says that it is an estimate. All else agrees: (the
# modules that are left out, why).
SECOND_STAGE = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("roi_heads", "published with no proposal in the box head"),
    "fasterrcnn_mobilenet_v3_large_fpn": ("roi_heads", "published with no proposal in the box head"),
    "keypointrcnn_resnet50_fpn": ("roi_heads.keypoint", "published with few or no detections in the keypoint head"),
    "maskrcnn_resnet50_fpn": ("roi_heads.mask", "published with no detection in the mask head"),
}
