"""CIFAR-100: 60,000 small photographs of 32x32 in 100 classes (Krizhevsky 2009)."""

from typing import ClassVar

from nnkit.data.download.sources import DataFile, Published
from nnkit.data.pictures.cifar import CifarPictures

_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup "
    "dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
    "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid "
    "otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray "
    "road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle "
    "wardrobe whale willow_tree wolf woman worm"
)


class CIFAR100(CifarPictures):
    """60,000 photographs, 32x32 colour, 100 classes (the fine labels).

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009; the binary version, which
    holds no pickle.
    """

    published = Published(
        title="CIFAR-100",
        folder="cifar-100",
        files=(
            DataFile(
                "cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        mirrors=("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
    )
    # The first one is that of 20 coarse classes.
    label_bytes = 2
    train_files = ("train.bin",)
    test_file = "test.bin"
    class_names: ClassVar[tuple[str, ...]] = tuple(_CLASSES.split())
