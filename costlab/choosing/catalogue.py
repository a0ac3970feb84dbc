"""Networks with published accuracies: timm's, which ship with costlab, or a table of the user's."""

import csv
import io
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from costlab.core.files import read_text
from costlab.errors import CostlabError

# Top-1 and top-5 on ImageNet of timm's pretrained networks, each at its evaluation size: results/results-imagenet.csv
# of pytorch-image-models (Apache-2.0), condensed. The file has no date; its newest networks are of timm 1.0.17.
SOURCE = "timm's results-imagenet.csv"
DATE = "July 2025"
LARGEST_TABLE = 16_000_000  # bytes of a user's table
MOST_NETWORKS = 20_000
LARGEST_IMAGE = 4096
COLUMNS = ("model", "top1")


class Candidate(NamedTuple):
    """A network with its accuracy."""

    model: str  # timm's name with its pretrained tag, or a MODEL
    image_size: int | None  # None: that of the network
    top1: float  # percent
    top5: float | None

    @property
    def target(self) -> str:
        """The MODEL that costlab loads."""
        return self.model if ":" in self.model or self.model.endswith(".pt2") else f"timm:{self.model}"


def published() -> list[Candidate]:
    """timm's pretrained networks."""
    text = files("costlab.choosing").joinpath("data/imagenet.csv").read_text(encoding="utf-8")
    return [parse_row(row, "imagenet.csv", n) for n, row in enumerate(csv.DictReader(io.StringIO(text)), 2)]


def read_table(path: Path) -> list[Candidate]:
    """The networks of a table of the user's: a CSV file with the columns model and top1, perhaps top5 and image_size.

    Raises CostlabError if the file cannot be read, lacks a column, or a row is broken; the message names the line.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, LARGEST_TABLE)), strict=True)
    rows: list[Candidate] = []
    try:
        names = reader.fieldnames or []
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            raise CostlabError(f"{path} has no column {missing[0]!r}; it needs model,top1 and may have top5,image_size")
        for row in reader:
            rows.append(parse_row(row, str(path), reader.line_num))
            if len(rows) > MOST_NETWORKS:
                raise CostlabError(f"{path} has more than {MOST_NETWORKS:,} rows")
    except csv.Error as error:
        raise CostlabError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise CostlabError(f"{path} has no rows below its columns")
    return rows


def parse_row(row: dict[str, str | None], path: str, line: int) -> Candidate:
    """One line of a table. Raises CostlabError."""
    model, size = (row.get("model") or "").strip(), (row.get("image_size") or "").strip()
    accuracies = {key: (row.get(key) or "").strip() for key in ("top1", "top5")}
    try:
        top1, top5 = float(accuracies["top1"]), float(accuracies["top5"]) if accuracies["top5"] else None
        image_size = int(size) if size else None
    except ValueError:
        raise CostlabError(f"{path}, line {line}: top1, top5 and image_size are numbers") from None
    if not model or None in row:  # more cells than columns
        raise CostlabError(f"{path}, line {line}: it does not have a model in the cells of the columns")
    if not all(0 <= accuracy <= 100 for accuracy in (top1, top5 or 0.0)):
        raise CostlabError(f"{path}, line {line}: accuracies are percents from 0 to 100")
    if image_size is not None and not 1 <= image_size <= LARGEST_IMAGE:
        raise CostlabError(f"{path}, line {line}: image_size is a number of pixels up to {LARGEST_IMAGE:,}")
    return Candidate(model, image_size, top1, top5)
