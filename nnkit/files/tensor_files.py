"""What the header of a safetensors file may be before a library parses it."""

from nnkit.files.json_limits import check_cost

_MAX_TENSORS = 50_000
# The length of the header, in front of it.
LENGTH_BYTES = 8


def check_header(start: bytes, size: int) -> None:
    """Bound the header of a safetensors file; the library compares its claims with the bytes.

    Args:
        start: The file, or as much of it as its first 8 bytes say that the header has.
        size: Bytes of the whole file.

    Raises:
        ValueError: If the header is longer than the file, or claims too many tensors or dimensions.
    """
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if not LENGTH_BYTES <= LENGTH_BYTES + length <= min(size, len(start)):
        raise ValueError(f"a file of tensors has a header of {length:,} bytes and {size:,} bytes in all")
    header = start[LENGTH_BYTES : LENGTH_BYTES + length]
    check_cost(header)
    if header.count(b"{") > _MAX_TENSORS:
        raise ValueError(f"it holds more than {_MAX_TENSORS:,} tensors")
