"""Directories of Hugging Face: a published model as data, read and written; nothing in them is ever executed."""

from nnkit.hugging_face.pictures import FILE as PICTURES
from nnkit.hugging_face.reading import Directory, Taken, is_directory
from nnkit.hugging_face.writing import write_directory

__all__ = ["PICTURES", "Directory", "Taken", "is_directory", "write_directory"]
