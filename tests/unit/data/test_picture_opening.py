"""Pictures that anybody may have made: bombs, lying headers, formats that start programs, devices called x.png."""

from __future__ import annotations

import io
import os
import resource
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_files import noise, picture

from rra_cli.data import picture_opening
from rra_cli.data.image_folder import ImageFolder
from rra_cli.data.picture_opening import LONGEST_SIDE, MOST_PIXELS, _Budget
from rra_cli.data.pictures import Rendering, decode
from rra_cli.errors import UserError

SMALL = Rendering((3, 16, 16))


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that says it has so many pixels, whatever follows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A whole picture, black, of a thousandth of its size."""
    packer, rows = zlib.compressobj(9), []
    for _ in range(height):
        rows.append(packer.compress(bytes(1 + 3 * width)))
    return png(width, height, b"".join(rows) + packer.flush())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"), [(9000, 9000), (12_000, 12_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1), (1, 2**25)]
)
def test_a_picture_that_says_it_is_huge_is_not_decoded(width: int, height: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="pixels"):
        decode(png(width, height, zlib.compress(bytes(1000))), SMALL)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_real_bomb_is_not_decoded() -> None:
    content = bomb(9000, 9000)
    assert len(content) < 9000 * 9000 * 3 / 500
    with pytest.raises(ValueError, match=r"it has 9000 x 9000 pixels; at most 67,108,864"):
        decode(content, SMALL)


def test_the_largest_photographs_are_decoded() -> None:
    """8000 x 6000: what a camera takes. Its size alone must not be a fault."""
    width, height = 8000, 6000
    assert width * height <= MOST_PIXELS
    assert width <= LONGEST_SIDE
    assert decode(bomb(4000, 3000), SMALL).max() == 0


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
(WITNESS) (w) file closefile
showpage
"""


def test_postscript_called_a_png_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow knows it by its content and hands it to Ghostscript, whatever the file is called."""
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *arguments, **others: started.append(arguments))
    monkeypatch.setattr("subprocess.check_call", lambda *arguments, **others: started.append(arguments))
    with pytest.raises(Image.UnidentifiedImageError):
        decode(EPS, SMALL)
    assert started == []
    # The control: without our list of formats it is taken for a picture.
    assert Image.open(io.BytesIO(EPS)).format == "EPS"


def test_a_device_called_x_png_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RRA_DATA", str(tmp_path / "data"))
    for number in range(20):
        path = tmp_path / "pictures" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(noise(8, 8, 0)))
    place = tmp_path / "pictures" / "dog" / "x.png"
    for make in (lambda: place.symlink_to("/dev/zero"), lambda: os.mkfifo(place), lambda: _huge(place)):
        make()
        with pytest.raises(UserError, match=r"dog/x\.png is not read: it (is not a regular file|has 1\.00 TB)"):
            ImageFolder(root=str(tmp_path / "pictures"), size=8).content_identity()
        place.unlink()


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


def test_large_pictures_are_decoded_one_after_the_other() -> None:
    """Sixteen threads with a large one each would take sixteen times its memory."""
    budget, inside, most = _Budget(100), [], []
    lock = threading.Lock()

    def use(amount: int) -> None:
        with budget.taken(amount):
            with lock:
                inside.append(amount)
                most.append(sum(inside))
            time.sleep(0.005)
            with lock:
                inside.remove(amount)

    threads = [threading.Thread(target=use, args=(amount,)) for amount in [60] * 5 + [30] * 6 + [500]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 12
    assert max(each for each in most if each != 500) <= 100  # and the one that is too large for it was alone
    assert all(each <= 100 or each == 500 for each in most)


KINDS = {kind: picture(noise(12, 9, 0), kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")}


def _tried(content: bytes) -> None:
    """It is a picture, or an exception that `decode_all` turns into a line that names the file; it takes no time."""
    began = time.monotonic()
    try:
        assert decode(content, SMALL).shape == (3, 16, 16)
    except (MemoryError, UserError):
        raise
    except Exception:  # a decoder fails in many ways, all of which are about this file
        pass
    assert time.monotonic() - began < 5


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
@pytest.mark.filterwarnings("ignore")
def test_changed_bytes_are_a_picture_or_a_reason(kind: str, data: st.DataObject) -> None:
    content = bytearray(KINDS[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _tried(bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content))


@pytest.mark.long
@settings(max_examples=5_000, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.randoms(use_true_random=False))
@pytest.mark.filterwarnings("ignore")
def test_many_changed_bytes_are_a_picture_or_a_reason(kind: str, chance) -> None:  # type: ignore[no-untyped-def]
    content = bytearray(KINDS[kind])
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    _tried(bytes(content))


def test_the_limits_leave_room_for_what_a_machine_has() -> None:
    """The most that one picture may take while it is decoded: its pixels and the line to which it is resized first."""
    assert 4 * MOST_PIXELS <= picture_opening.MEMORY
    assert 2048 * LONGEST_SIDE * 4 <= picture_opening.MEMORY
    assert np.iinfo(np.int32).max > MOST_PIXELS
