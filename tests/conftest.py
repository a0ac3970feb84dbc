"""What several test files share."""

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

# Devices of the one who runs the tests are not there, in processes neither.
os.environ["XDG_CONFIG_HOME"] = str(Path(tempfile.gettempdir()) / "costlab-tests-without-configuration")

# Nor is anything kept of the networks that the tests look at, unless a test asks for it.
os.environ["XDG_CACHE_HOME"] = os.path.join(os.devnull, "nowhere")
os.environ.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "costlab-tests-huggingface"))

torch.set_num_threads(1)  # two workers share two cores


@pytest.fixture(scope="session")
def torchvision() -> Any:
    """torchvision, whether or not its compiled operators load beside this torch."""
    from costlab.models.providers.torchvision import import_torchvision

    return import_torchvision()
