"""Decoding: what torchvision's reader gives, resized; and which picture cannot be read."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_files import noise, picture, put

from rra_cli.data import decoded, pictures
from rra_cli.data.decoded import decode_and_keep, decoded_path, find_decoded
from rra_cli.data.pictures import PictureList, Rendering, decode, decode_all
from rra_cli.data.torchvision_import import import_torchvision
from rra_cli.errors import UserError

torchvision = import_torchvision()


def listed(contents: list[bytes]) -> PictureList:
    names = tuple(f"/pictures/{i}.png" for i in range(len(contents)))
    return PictureList(names, np.zeros(len(contents), np.int64), "test", lambda: nullcontext(contents.__getitem__))


# One picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_picture_of_the_right_size_is_what_torchvision_reads(kind: str, tmp_path: Path) -> None:
    content = picture(noise(20, 30, 0), kind)
    theirs = torchvision.datasets.folder.pil_loader(put(tmp_path / "a", content))
    assert (decode(content, Rendering((3, 20, 30))) == np.asarray(theirs).transpose(2, 0, 1)).all()


def test_grey_becomes_rgb_and_rgb_grey() -> None:
    pixels = noise(9, 7, 0, channels=1)
    assert (decode(picture(pixels), Rendering((3, 9, 7))) == pixels).all()
    colour = noise(9, 7, 1)
    assert (decode(picture(colour), Rendering((1, 9, 7)))[0] == np.asarray(Image.fromarray(colour).convert("L"))).all()


def test_inverted_is_255_minus_the_picture() -> None:
    content = picture(noise(9, 7, 0, channels=1))
    plain = decode(content, Rendering((1, 5, 5))).astype(int)
    assert (decode(content, Rendering((1, 5, 5), invert=True)) == 255 - plain).all()


def test_squash_is_torchvisions_resize() -> None:
    image = Image.fromarray(noise(40, 30, 0))
    theirs = torchvision.transforms.v2.functional.resize(image, [16, 24])
    assert (decode(picture(np.asarray(image)), Rendering((3, 16, 24))) == np.asarray(theirs).transpose(2, 0, 1)).all()


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40), (21, 40)])
def test_crop_is_the_middle_square(height: int, width: int) -> None:
    """Halves that differ from the middle leave no trace; up to antialiasing at its border."""
    pixels = np.zeros((height, width, 3), np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = noise(side, side, 0)
    cropped = decode(picture(pixels), Rendering((3, side, side), "crop")).astype(int)
    middle = pixels[top : top + side, left : left + side].transpose(2, 0, 1)
    if (max(height, width) - side) % 2 == 0:
        assert (cropped == middle).all()
    else:
        assert not (cropped == middle).all()  # half a pixel to the side
    half = decode(picture(pixels[::2].copy()), Rendering((3, 4, 4), "squash"))
    assert half.shape == (3, 4, 4)


def test_crop_agrees_with_torchvisions_resize_and_centre_crop() -> None:
    functional = torchvision.transforms.v2.functional
    smooth = np.asarray(Image.fromarray(noise(6, 4, 0)).resize((120, 180), Image.Resampling.BICUBIC))
    theirs = functional.center_crop(functional.resize(Image.fromarray(smooth), [60]), [60])
    ours = decode(picture(smooth), Rendering((3, 60, 60), "crop"))
    difference = np.abs(ours.astype(int) - np.asarray(theirs).transpose(2, 0, 1))
    assert difference.max() <= 2
    squashed = decode(picture(smooth), Rendering((3, 60, 60), "squash"))
    assert np.abs(ours.astype(int) - squashed).max() > 10  # negative control


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40), (300, 1)])
def test_pad_keeps_all_of_it_on_black(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 200, np.uint8)
    padded = decode(picture(pixels), Rendering((3, 16, 16), "pad"))
    inner = (max(1, round(16 * height / max(height, width))), max(1, round(16 * width / max(height, width))))
    assert (padded == 200).sum() == 3 * inner[0] * inner[1]
    assert set(np.unique(padded)) == {0, 200}
    rows, columns = padded[0].any(axis=1).nonzero()[0], padded[0].any(axis=0).nonzero()[0]
    assert abs(rows[0] - (15 - rows[-1])) <= 1  # centred
    assert abs(columns[0] - (15 - columns[-1])) <= 1


def test_of_16_bits_the_upper_eight_are_used() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    assert (decode(stream.getvalue(), Rendering((1, 256, 256)))[0] == values >> 8).all()


def test_palette_transparency_and_one_bit() -> None:
    for mode in ("P", "1", "LA", "RGBA", "CMYK"):
        image = Image.fromarray(noise(8, 8, 0)).convert(mode)
        stream = io.BytesIO()
        image.save(
            stream, "TIFF" if mode == "CMYK" else "PNG", **({"transparency": b"\x00\x80"} if mode == "P" else {})
        )
        with Image.open(io.BytesIO(stream.getvalue())) as again:
            expected = np.asarray((again.convert("RGBA") if mode == "P" else again).convert("RGB"))
        assert (decode(stream.getvalue(), Rendering((3, 8, 8))) == expected.transpose(2, 0, 1)).all()


def test_a_rendering_that_cannot_be_does_not_exist() -> None:
    with pytest.raises(ValueError, match="1 or 3"):
        Rendering((2, 8, 8))
    with pytest.raises(ValueError, match="squash, crop, pad"):
        Rendering((3, 8, 8), "stretch")  # type: ignore[arg-type]


# Many pictures


def test_many_pictures_come_in_their_order_and_say_how_far_it_is() -> None:
    contents = [picture(np.full((4, 4), i % 256, np.uint8)) for i in range(100)]
    seen: list[tuple[int, int]] = []
    images = decode_all(listed(contents), Rendering((1, 4, 4)), lambda done, total, note: seen.append((done, total)))
    assert images[:, 0, 0, 0].tolist() == list(range(100))
    assert seen[-1] == (100, 100)
    assert seen == sorted(seen)


def deep(pixels: np.ndarray) -> bytes:
    """A picture of other than 8-bit pixels."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF")
    return stream.getvalue()


GOOD = picture(noise(30, 30, 0))
BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "not a picture of a format that is read"),
    "broken off": (GOOD[: len(GOOD) // 2], "truncated"),
    "32 bits": (deep(np.full((4, 4), 70_000, np.int32)), "its pixels have more than 16 bits; save it with 8 or 16"),
    "floating": (
        deep(np.zeros((4, 4), np.float32)),
        "its pixels are floating-point numbers; save it with 8 or 16 bits",
    ),
    "damaged": (GOOD[:60] + bytes(200) + GOOD[260:], ""),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_picture_that_cannot_be_read_is_named_with_the_reason(fault: str) -> None:
    content, reason = BAD[fault]
    with pytest.raises(UserError, match=r"^1 of 3 pictures cannot be read: /pictures/1.png \(") as caught:
        decode_all(listed([GOOD, content, GOOD]), Rendering((3, 4, 4)))
    assert reason in caught.value.message
    assert caught.value.hint == "remove or replace them, and run again"
    assert len(decode_all(listed([GOOD, GOOD]), Rendering((3, 4, 4)))) == 2  # without it all is well


def test_all_unreadable_pictures_are_counted_and_the_first_named() -> None:
    contents = [b"" if i % 2 else GOOD for i in range(80)]
    with pytest.raises(UserError) as caught:
        decode_all(listed(contents), Rendering((3, 4, 4)))
    message = caught.value.message
    assert message.startswith("40 of 80 pictures cannot be read: /pictures/1.png (the file is empty), /pictures/3.png")
    assert message.endswith("/pictures/9.png (the file is empty) and 35 more")


def test_an_error_of_the_reader_stops_the_threads() -> None:
    def read(position: int) -> bytes:
        raise UserError(f"picture {position} changed")

    one = PictureList(tuple("abc"), np.zeros(3, np.int64), "", lambda: nullcontext(read))
    before = threading.active_count()
    with pytest.raises(UserError, match="picture 0 changed"):
        decode_all(one, Rendering((1, 2, 2)))
    assert threading.active_count() == before


def test_more_than_fits_into_memory_is_refused_before_a_picture_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "free_memory", lambda: 11_999)
    with pytest.raises(
        UserError, match=r"1,000 pictures of 2x2 with 3 channels need 12.0 kB of memory, but 12.0 kB are"
    ):
        decode_all(listed([b""] * 1000), Rendering((3, 2, 2)))
    monkeypatch.setattr(pictures, "free_memory", lambda: 12_000)
    with pytest.raises(UserError, match="1,000 of 1,000 pictures cannot be read"):
        decode_all(listed([b""] * 1000), Rendering((3, 2, 2)))


# Kept between runs


def test_what_took_long_is_kept_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_DATA", str(tmp_path))
    path, images = decoded_path({"content": "a"}), np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    assert decode_and_keep(path, lambda: images)[1] is False  # quick
    assert find_decoded(path, images.shape) is None
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    assert decode_and_keep(path, lambda: images)[1] is True
    found = find_decoded(path, images.shape)
    assert found is not None
    assert (found == images).all()
    found[0] = 0  # a mapping of its own: the file stays as it is
    again = find_decoded(path, images.shape)
    assert again is not None
    assert (again == images).all()
    assert find_decoded(path, (2, 3, 4, 1)) is None
    assert path.parent == tmp_path / "decoded"
    assert decoded_path({"content": "b"}) != path


def test_a_damaged_kept_array_is_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_DATA", str(tmp_path))
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    path, images = decoded_path({"content": "a"}), np.zeros((5, 1, 30, 30), np.uint8)
    decode_and_keep(path, lambda: images)
    path.write_bytes(path.read_bytes()[:-1])
    assert find_decoded(path, images.shape) is None
    path.write_bytes(b"")
    assert find_decoded(path, images.shape) is None


def test_a_data_folder_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    blocked = put(tmp_path / "file", b"")  # a file where the folder would be
    monkeypatch.setenv("RRA_DATA", str(blocked))
    images, kept = decode_and_keep(decoded_path({}), lambda: np.zeros((1, 1, 1, 1), np.uint8))
    assert (images.shape, kept) == ((1, 1, 1, 1), False)


def test_a_disk_without_the_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_DATA", str(tmp_path))
    monkeypatch.setattr(decoded, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(decoded, "free_disk", lambda path: 100)
    assert decode_and_keep(decoded_path({}), lambda: np.zeros((1, 1, 8, 8), np.uint8))[1] is False
    assert list(tmp_path.iterdir()) == []
