"""Checkpoints of the formats 1 and 2, files of torch.save: as it writes them, and with records of another's choice."""

import io
import struct
import zipfile

import torch

OLD_FORMAT = 2
_END = 22


def saved(state):
    """Return a state as torch.save writes it."""
    if isinstance(state.get("nnkit"), dict):
        state = {**state, "nnkit": {**state["nnkit"], "format": OLD_FORMAT}}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def rewritten(data, compression=zipfile.ZIP_STORED, **changed):
    """Return a file with records replaced.

    Args:
        data: A file of torch.save.
        compression: How its records are stored.
        changed: Parts of the new content by the last part of a record's name.
    """
    return ended(*pieces(data, compression, **changed))


def pieces(data, compression=zipfile.ZIP_STORED, **changed):
    """Return the records of such a file and their directory, both without an end."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w") as file:
                for part in changed.get(name.rpartition("/")[2], [old.read(name)]):
                    file.write(part)
    whole = buffer.getvalue()
    start = struct.unpack_from("<I", whole, len(whole) - 6)[0]
    return whole[:start], whole[start:-_END]


def ended(records, directory, read=None):
    """Put records and their directory together.

    Args:
        records: As `pieces` returns them.
        directory: As `pieces` returns it.
        read: Where the directory that counts begins in the file, and its bytes; None: `directory` itself.
    """
    begin, size = (len(records), len(directory)) if read is None else read
    end = len(records) + len(directory)
    count = (records + directory)[begin : begin + size].count(b"PK\x01\x02")
    tail = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, begin)
    tail += struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    tail += struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), size, begin, 0
    )
    return records + directory + tail


def record(data, name):
    """Return one record of a file of torch.save."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(f"archive/{name}")
