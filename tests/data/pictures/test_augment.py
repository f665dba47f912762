import numpy as np
import pytest
import torch

from nnkit.data.pictures.augment import Augment

ALL = Augment(shift=2, crop=3, flip=True, rotate=20.0)


def pictures(batch=40, channels=2, height=9, width=11):
    generator = torch.Generator().manual_seed(1)
    shape = (batch, channels, height, width)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


def shifted(picture, down, right):
    """One picture moved by whole pixels, black coming in: pixel by pixel."""
    moved = torch.zeros_like(picture)
    _, height, width = picture.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[:, y, x] = picture[:, y - down, x - right]
    return moved


def test_a_shift_is_one_of_the_moves_and_all_of_them_occur():
    pixels = pictures()
    moved = Augment(shift=1)(pixels, 0, 0, torch.arange(40))
    assert moved.dtype == torch.uint8
    seen = set()
    for before, after in zip(pixels, moved, strict=True):
        moves = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if torch.equal(shifted(before, y, x), after)]
        assert len(moves) == 1
        seen.update(moves)
    assert len(seen) == 9


def test_a_crop_mirrors_the_border():
    pixels = pictures(batch=60)
    moved = Augment(crop=2)(pixels, 0, 0, torch.arange(60))
    seen = set()
    for before, after in zip(pixels, moved, strict=True):
        padded = np.pad(before.numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
        windows = {(y, x): padded[:, y : y + 9, x : x + 11] for y in range(5) for x in range(5)}
        places = [place for place, window in windows.items() if np.array_equal(window, after.numpy())]
        assert places
        seen.update(places)
    assert len(seen) > 15


def test_half_of_the_pictures_are_mirrored():
    pixels = pictures(batch=400)
    turned = Augment(flip=True)(pixels, 0, 0, torch.arange(400))
    mirrored = [torch.equal(a.flip(-1), b) for a, b in zip(pixels, turned, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(pixels, turned, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 150 < sum(mirrored) < 250


def test_a_rotation_turns_the_way_and_as_far_as_it_should():
    # One bright pixel to the right of the centre goes to the top after a quarter turn, or to the bottom.
    pixels = torch.zeros(200, 1, 11, 11, dtype=torch.uint8)
    pixels[:, 0, 5, 9] = 255
    turned = Augment(rotate=90)(pixels, 0, 0, torch.arange(200))[:, 0]
    assert turned.dtype == torch.float32
    place = torch.arange(11.0) - 5
    weight = turned / turned.sum(dim=(1, 2), keepdim=True)
    down, right = (weight * place.view(-1, 1)).sum(dim=(1, 2)), (weight * place).sum(dim=(1, 2))
    assert torch.allclose(torch.hypot(down, right), torch.tensor(4.0), atol=0.25)
    angles = torch.atan2(down, right).rad2deg()
    assert angles.min() < -80 and angles.max() > 80
    assert angles.abs().max() < 91
    assert abs(angles.mean()) < 10


def test_a_cutout_covers_a_square_with_its_centre_anywhere():
    pixels = torch.ones(400, 2, 9, 11)
    Augment(cutout=4).cover(pixels, 0, 0, torch.arange(400))
    assert torch.equal(pixels[:, 0], pixels[:, 1])
    centres = set()
    for covered in pixels[:, 0] == 0:
        rows, columns = covered.any(1).nonzero().flatten(), covered.any(0).nonzero().flatten()
        assert covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        # Where it is cut off, it ends at the border.
        centre = []
        for places, size in ((rows, 9), (columns, 11)):
            first, last = int(places[0]), int(places[-1])
            assert last - first == 3 or first == 0 or last == size - 1
            centre.append(last - 1 if first == 0 else first + 2)
        centres.add(tuple(centre))
    assert {row for row, _ in centres} == set(range(9))
    assert {column for _, column in centres} == set(range(11))


def test_a_pairing_depends_on_seed_epoch_and_batch_and_its_shares_are_betas():
    augment, index = Augment(mixup=0.4), torch.arange(30, 38)
    share, other = augment.pairing(3, 5, index)
    again, same = augment.pairing(3, 5, index)
    assert (again, same.tolist()) == (share, other.tolist())
    assert sorted(other.tolist()) == list(range(8))
    for drawn in ((4, 5, index), (3, 6, index), (3, 5, index.flip(0))):
        assert augment.pairing(*drawn)[0] != share
    shares = torch.tensor([augment.pairing(-1, epoch, index)[0] for epoch in range(4000)])
    assert shares.min() >= 0.5
    squares = (shares**2 + (1 - shares) ** 2) / 2
    # E[x^2] = (a + 1) / (2 (2 a + 1))
    assert squares.mean().item() == pytest.approx(1.4 / (2 * 1.8), abs=0.01)
    assert Augment(shift=1).pairing(3, 5, index) is None


def test_the_change_depends_on_seed_epoch_and_index_alone():
    pixels = pictures()
    whole = ALL(pixels, 5, 7, torch.arange(40))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    for part in order.split([1, 7, 32]):
        torch.manual_seed(int(part[0]))
        assert torch.equal(ALL(pixels[part], 5, 7, part), whole[part])


@pytest.mark.parametrize(("seed", "epoch"), [(6, 7), (5, 8), (7, 5), (-5, 7)])
def test_another_seed_or_epoch_changes_otherwise(seed, epoch):
    pixels = pictures()
    changed = Augment(shift=3)(pixels, seed, epoch, torch.arange(40))
    reference = Augment(shift=3)(pixels, 5, 7, torch.arange(40))
    assert not torch.equal(changed, reference)


def test_the_pictures_and_the_global_generator_are_left_alone():
    pixels = pictures()
    copy, state = pixels.clone(), torch.get_rng_state()
    ALL(pixels, 0, 0, torch.arange(40))
    assert torch.equal(pixels, copy)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("options", [None, {}, {"shift": 0, "crop": 0, "flip": False, "rotate": 0}])
def test_nothing_switched_on_is_no_augmentation(options):
    assert Augment.of(options) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shfit": 1}, "augment knows shift, crop, flip, rotate, cutout, mixup, not shfit"),
        ({"shift": -1}, "augment.shift must be a whole number of pixels from 0, not -1"),
        ({"shift": 0.5}, "augment.shift"),
        ({"crop": True}, "augment.crop"),
        ({"flip": 1}, "augment.flip must be true or false, not 1"),
        ({"rotate": 200}, r"augment.rotate must lie in \[0, 180\] degrees, not 200"),
        ({"rotate": "x"}, "augment.rotate must be a number of degrees, not x"),
        ({"cutout": 0.5}, "augment.cutout must be a whole number of pixels from 0, not 0.5"),
        ({"mixup": -1}, "augment.mixup must be a number from 0, such as 0.2, not -1"),
        ({"mixup": True}, "augment.mixup must be a number from 0"),
        ({"mixup": float("inf")}, "augment.mixup must be a number from 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Augment.of(options)


def test_a_shift_as_large_as_the_picture_is_refused():
    with pytest.raises(ValueError, match=r"augment.shift must be smaller than the pictures of 8x8, not 8"):
        Augment(shift=8).check_size(8, 8)
