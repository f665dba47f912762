"""CIFAR-10: 60,000 small photographs of 32x32 in 10 classes (Krizhevsky 2009)."""

from typing import ClassVar

from nnkit.data.download.sources import DataFile, Published
from nnkit.data.pictures.cifar import CifarPictures


class CIFAR10(CifarPictures):
    """60,000 photographs, 32x32 colour, 10 classes.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009; the binary version, which
    holds no pickle.
    """

    published = Published(
        title="CIFAR-10",
        folder="cifar-10",
        files=(
            DataFile(
                "cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        mirrors=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    )
    label_bytes = 1
    train_files = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test_file = "test_batch.bin"
    class_names: ClassVar[tuple[str, ...]] = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
