"""The published families that costlab builds itself: one module a family, one function a network."""

from costlab.zoo.mobilenet_v2 import mobilenet_v2

__all__ = ["mobilenet_v2"]
