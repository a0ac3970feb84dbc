"""Fixtures and settings for all tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

settings.register_profile("costlab", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("costlab")

# Tests do not see the user's devices, in subprocesses either.
os.environ["XDG_CONFIG_HOME"] = str(Path(tempfile.gettempdir()) / "costlab-tests-without-configuration")

# Profiles are not cached, unless a test enables the cache.
os.environ["XDG_CACHE_HOME"] = os.path.join(os.devnull, "nowhere")
os.environ.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "costlab-tests-huggingface"))

torch.set_num_threads(1)  # two workers share two cores


@pytest.fixture(scope="session")
def torchvision() -> Any:
    """torchvision, whether or not its compiled operators load with this torch."""
    from costlab.models.providers.torchvision import import_torchvision

    return import_torchvision()
