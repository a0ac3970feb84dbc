"""The steps of a NetAdapt run in a file, one line of JSON each, so that it can be stopped and continued."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from costlab.core.files import atomic_write, os_error_reason, read_text
from costlab.errors import CostlabError
from costlab.rewrite.adaptation.result import AdaptationStep, Proposal

LIMIT = 1 << 28  # bytes


class AdaptationJournal:
    """An append-only file: the settings of a run, then its steps. Fine-tuned weights are in a file beside it."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))

    def weights(self, step: int) -> Path:
        """The file of the fine-tuned weights after a step; those before the last step are kept as well."""
        return self.path.with_name(f"{self.path.name}.{step % 2}.pt")

    def steps(self) -> Iterator[AdaptationStep]:
        """The steps so far; a line torn by a crash is dropped. Raises CostlabError for the journal of another run."""
        lines = read_text(self.path, LIMIT).splitlines() if self.path.exists() else []
        rows = list(self.rows(lines))
        if not rows:
            self.write([self.settings])
            return
        if rows[0] != self.settings:
            names = [key for key, value in self.settings.items() if rows[0].get(key) != value]
            raise CostlabError(
                f"{self.path} is of a run with another {' and '.join(names) or 'version'}: remove it, or name another"
            )
        if len(rows) < len(lines):
            self.write(rows)
        for row in rows[1:]:
            proposals = tuple(Proposal(**proposal) for proposal in row["proposals"])
            yield AdaptationStep(
                row["number"], Proposal(**row["proposal"]), tuple(row["removed"]), row["accuracy"], proposals
            )

    def rows(self, lines: list[str]) -> Iterator[dict[str, Any]]:
        """The rows in lines, up to the first that is none."""
        for number, line in enumerate(lines):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if type(row) is not dict or (number and "removed" not in row):
                if number:
                    return
                raise CostlabError(f"{self.path} is not the journal of a rewrite: remove it, or name another")
            yield row

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Replace the file."""
        with atomic_write(self.path) as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())

    def append(self, step: AdaptationStep, fine_tuned: nn.Module | None) -> None:
        """Add a step, once its weights are safe. Raises CostlabError."""
        if fine_tuned is not None:
            with atomic_write(self.weights(step.number)) as file:
                torch.save({"step": step.number, "state": fine_tuned.state_dict()}, file)
        try:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(step)) + "\n")
        except OSError as error:
            raise CostlabError(f"{self.path} cannot be written: {os_error_reason(error)}") from None

    def load_weights(self, model: nn.Module, step: int) -> None:
        """Load the fine-tuned weights after a step. Raises CostlabError if they are not there."""
        try:
            saved = torch.load(self.weights(step), weights_only=True, map_location="cpu")
            if saved["step"] != step:
                raise ValueError
            model.load_state_dict(saved["state"])
        except Exception:
            raise CostlabError(
                f"{self.weights(step)} does not hold the weights after step {step} of {self.path}: remove {self.path}"
                " to start again"
            ) from None


def weights_digest(model: nn.Module) -> str | None:
    """A hash of all weights; None for a network without weights in memory."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
            return None
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else b"")
    return digest.hexdigest()[:16]
