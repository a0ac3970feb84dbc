"""Parameters, buffers and constants of an exported program: their sizes, and the values of small tables."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from costlab.models.providers.exported import schema
from costlab.models.providers.exported.archive import Archive

SMALL = 1 << 16  # elements of a buffer or constant whose values are read
TOTAL = 64 << 20  # bytes of all values that are read

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}
STRIDED = 7


def load_weights(archive: Archive, name: str, values: bool) -> dict[str, torch.Tensor]:
    """The tensors of the program `name` by their path in the network; parameters are `nn.Parameter`.

    Tensors that share memory in the file share it here. Parameters and large buffers are on the meta device, unless
    `values` asks for the numbers of all of them.

    Raises CostlabError if a tensor is pickled, or its sizes make no sense.
    """
    tensors: dict[str, torch.Tensor] = {}
    budget = TOTAL
    for folder, prefix in (("weights", "weight"), ("constants", "tensor")):
        config_name = f"data/{folder}/{name}_{folder}_config.json"
        where = f"{archive.path}: {config_name}"
        config = schema.load(archive.read(config_name), "PayloadConfig", where)["config"]
        for path_name, group in by_storage(archive, folder, config):
            if not path_name.startswith(f"{prefix}_") or any(entry["use_pickle"] for entry in group.values()):
                raise archive.error(f"holds a pickled tensor ({min(group)}): refused, it could run any code")
            place = f"data/{folder}/{path_name}"
            member = archive.members.get(place)
            if member is None:
                raise archive.error(f"is incomplete: {place} is missing")
            table = not any(entry["is_param"] for entry in group.values()) and elements(group, where) <= SMALL
            content = None
            if member.size and (values or (table and member.size <= budget)):
                content = archive.read(place, limit=member.size if values else budget)
                budget -= 0 if values else len(content)
            tensors.update(shared(group, content, where))
    return tensors


def by_storage(
    archive: Archive, folder: str, config: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Entries that share memory, with the member that holds it; empty members, of tensors without data, share none."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path, entry in config.items():
        member = archive.members.get(f"data/{folder}/{entry['path_name']}")
        key = entry["path_name"] if member is not None and member.size else path
        groups.setdefault(key, {})[path] = entry
    for group in groups.values():
        yield next(iter(group.values()))["path_name"], group


def layout_of(meta: Mapping[str, Any] | None, where: str) -> tuple[torch.dtype, list[int], list[int], int]:
    """Dtype, sizes, strides and offset of a tensor whose sizes are all known. Raises CostlabError."""
    if meta is None or meta["dtype"] not in DTYPES:
        raise schema.malformed(where, "a tensor has no dtype that torch 2.11 to 2.14 has")
    if meta["layout"] != STRIDED:
        raise schema.malformed(where, "sparse tensors are not supported")
    numbers = [[size.get("as_int", -1) for size in meta[key]] for key in ("sizes", "strides")]
    offset = meta["storage_offset"].get("as_int", -1)
    if min([*numbers[0], *numbers[1], offset]) < 0 or len(numbers[0]) != len(numbers[1]):
        raise schema.malformed(where, "a weight has no fixed size")
    return DTYPES[meta["dtype"]], numbers[0], numbers[1], offset


def extent(sizes: list[int], strides: list[int], offset: int) -> int:
    """Elements from the start of the storage to the last one that a tensor reaches."""
    if 0 in sizes:
        return 0
    return offset + 1 + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))


def elements(group: Mapping[str, Any], where: str) -> int:
    """Elements of the largest tensor of a group."""
    return max(math.prod(layout_of(entry.get("tensor_meta"), where)[1]) for entry in group.values())


def shared(group: Mapping[str, Any], content: bytes | None, where: str) -> dict[str, torch.Tensor]:
    """The tensors of one storage; two of the same type and place are one object. Raises CostlabError."""
    made: dict[Any, torch.Tensor] = {}
    result = {}
    layouts = {path: layout_of(entry.get("tensor_meta"), where) for path, entry in group.items()}
    size = max(extent(sizes, strides, offset) * dtype.itemsize for dtype, sizes, strides, offset in layouts.values())
    try:
        if content is None:
            base = torch.empty(size, dtype=torch.uint8, device="meta")
        else:
            base = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if size > base.numel():
            raise schema.malformed(where, f"{min(group)} is larger than its data")
        for path, (dtype, sizes, strides, offset) in layouts.items():
            entry = group[path]
            key = (entry["is_param"], dtype, *sizes, *strides, offset)
            if key not in made:
                tensor = torch.empty(0, dtype=dtype, device=base.device)
                tensor.set_(base.untyped_storage(), offset, tuple(sizes), tuple(strides))
                if entry["is_param"]:
                    learns = entry["tensor_meta"]["requires_grad"] and (dtype.is_floating_point or dtype.is_complex)
                    tensor = torch.nn.Parameter(tensor, requires_grad=learns)
                made[key] = tensor
            result[path] = made[key]
    except (RuntimeError, OverflowError, TypeError) as error:
        raise schema.malformed(where, f"{min(group)}: {str(error).splitlines()[0][:100]}") from None
    return result
