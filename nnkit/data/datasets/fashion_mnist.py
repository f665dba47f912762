"""Fashion-MNIST: 70,000 articles of clothing of 28x28 (Xiao, Rasul and Vollgraf 2017)."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from nnkit.data.download.fetch import apt_download
from nnkit.data.download.sources import Package, Published, read_content
from nnkit.data.pictures.idx import SIDE, IdxPictures, four_files
from nnkit.data.pictures.image_files import centre_ink, load, to_array

_PACKAGE = "dataset-fashion-mnist"
_FILES = four_files(
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    )
)


def _from_debian(folder: Path) -> dict[str, bytes]:
    members = {f"usr/share/datasets/fashion-mnist/{file.name}.gz": file for file in _FILES}
    paths = apt_download(_PACKAGE, folder, {name: file.size for name, file in members.items()})
    return {file.name: read_content(paths[name], file.size) for name, file in members.items()}


class FashionMNIST(IdxPictures):
    """70,000 articles of clothing, 28x28 grey, 10 classes.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017.
    """

    published = Published(
        title="Fashion-MNIST",
        folder="fashion-mnist",
        files=_FILES,
        mirrors=(
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        package=Package(f"apt-get download {_PACKAGE}", _from_debian),
    )
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )

    def read_picture(self, path: Path) -> Tensor:
        """Read a 28x28 picture as it is, and any other as these were made: trimmed and scaled to 28x28."""
        return torch.from_numpy(to_array(centre_ink(load(path, channels=1), SIDE, SIDE, by_mass=False)))
