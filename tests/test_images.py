"Odd pictures, odd folders, and what a seed chooses."
import io, json, os, pickle, random, socket, subprocess, sys
from pathlib import Path
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unsaf.world import scenes as world
from unsaf.core import ImageError, Picture, Sample, UnsafError
from unsaf.data import images as room
from unsaf.data.images import images
from unsaf.data.image_set import FORMATS, SUFFIXES, open_image, thumbnail

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
F_SHAPE = np.array([[9, 9, 9], [9, 0, 0], [9, 9, 0], [9, 0, 0]], dtype=np.uint8) * 28     # 3 wide, 4 high, no symmetry


def file_bytes(im, fmt, **options) -> bytes:
    im.save(out := io.BytesIO(), fmt, **options)
    return out.getvalue()

def exif(orientation) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block

def one_line(error) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


# --- upright -------------------------------------------------------------------------------------------------------------------

# TIFF 6.0, tag 274: where the 0th row and the 0th column of the stored picture lie when it is shown
STORED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.T,
          6: lambda a: a.T[::-1], 7: lambda a: a[::-1, ::-1].T, 8: lambda a: a.T[:, ::-1]}

@pytest.mark.parametrize("fmt, options", [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(fmt, options, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.repeat(np.repeat(F_SHAPE, 8, 0), 8, 1))))
    seen = open_image(file_bytes(stored, fmt, exif=exif(orientation), **options))
    assert seen.size == (24, 32)
    got = np.asarray(seen)[4::8, 4::8, 0].astype(int)
    assert abs(got - F_SHAPE).max() <= (3 if fmt == "JPEG" else 0)

@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    assert open_image(file_bytes(Image.new("RGB", (3, 2)), "PNG", exif=exif(orientation))).size == (3, 2)

def test_a_damaged_exif_block_turns_nothing():
    assert open_image(file_bytes(Image.new("RGB", (3, 2)), "PNG", exif=b"Exif\0\0 nonsense")).size == (3, 2)

def test_turned_once_only():
    seen = open_image(file_bytes(Image.new("RGB", (3, 2)), "PNG", exif=exif(6)))
    assert seen.size == open_image(seen).size == open_image(file_bytes(seen, "PNG")).size == (2, 3)
    assert not seen.info and not seen.getexif()


# --- pixels by hand ------------------------------------------------------------------------------------------------------------

def pixel(mode, value, size=(1, 1)): return Image.new(mode, size, value)

def palette(transparency):
    im = Image.new("P", (3, 1))
    im.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    for x in range(3): im.putpixel((x, 0), x)
    return file_bytes(im, "PNG", transparency=transparency)

@pytest.mark.parametrize("source, expected", [
    (file_bytes(pixel("1", 1), "PNG"), [WHITE]),
    (file_bytes(pixel("1", 0), "PNG"), [(0, 0, 0)]),
    (file_bytes(pixel("L", 77), "PNG"), [(77, 77, 77)]),
    (file_bytes(pixel("L", 77), "PNG", transparency=77), [WHITE]),
    (file_bytes(pixel("LA", (0, 51)), "PNG"), [(204, 204, 204)]),                # 255 * (1 - 51/255)
    (file_bytes(pixel("RGBA", (0, 0, 0, 0)), "PNG"), [WHITE]),
    (file_bytes(pixel("RGBA", (255, 0, 0, 255)), "PNG"), [RED]),
    (file_bytes(pixel("RGBA", (0, 0, 255, 51)), "WEBP", lossless=True), [(204, 204, 255)]),
    (file_bytes(pixel("RGB", RED), "PNG", transparency=RED), [WHITE]),
    (palette(None), [RED, BLUE, (0, 255, 0)]),
    (palette(1), [RED, WHITE, (0, 255, 0)]),
    (palette(bytes([255, 255, 0])), [RED, BLUE, WHITE]),
    (palette(bytes([51])), [(255, 204, 204), BLUE, (0, 255, 0)]),
    (file_bytes(pixel("CMYK", (0, 255, 255, 0)), "TIFF"), [RED]),
    (file_bytes(pixel("CMYK", (0, 0, 0, 255)), "TIFF"), [(0, 0, 0)]),
    (file_bytes(pixel("RGB", RED), "BMP"), [RED]),
    (file_bytes(pixel("RGB", RED), "PPM"), [RED]),
    (file_bytes(pixel("RGB", RED), "JPEG2000"), [RED]),
    (b"P5 2 1 65535\n" + (65535).to_bytes(2, "big") + (32768).to_bytes(2, "big"), [WHITE, (128, 128, 128)]),
    (b"P5 2 1 1023\n" + (1023).to_bytes(2, "big") + (0).to_bytes(2, "big"), [WHITE, (0, 0, 0)]),
])
def test_pixels_by_hand(source, expected):
    seen = open_image(source)
    assert seen.mode == "RGB" and seen.size == (len(expected), 1)
    assert [seen.getpixel((x, 0)) for x in range(len(expected))] == expected

@pytest.mark.parametrize("value, grey", [(0, 0), (128, 0), (129, 1), (257, 1), (256 * 128, 128), (65406, 254), (65407, 255),
                                         (65535, 255)])
def test_16_bit_grey_is_scaled_not_clipped(value, grey):
    small = Image.fromarray(np.array([[value]], dtype=np.uint16))
    big_endian = Image.frombytes("I;16B", (1, 1), value.to_bytes(2, "big"))
    for content in (file_bytes(small, "PNG"), file_bytes(small, "TIFF"), file_bytes(big_endian, "TIFF")):
        assert open_image(content).getpixel((0, 0)) == (grey,) * 3

def test_16_bit_grey_with_a_transparent_value():
    small = Image.fromarray(np.array([[500, 501]], dtype=np.uint16))
    seen = open_image(file_bytes(small, "PNG", transparency=501))
    assert [seen.getpixel((x, 0))[0] for x in (0, 1)] == [2, 255]

@pytest.mark.parametrize("mode", ["I", "F"])
def test_grey_without_a_white_point_is_refused(mode):
    with pytest.raises(ImageError, match="no defined white"): open_image(file_bytes(Image.new(mode, (2, 2)), "TIFF"))

def test_cmyk_jpeg():
    got = np.array(open_image(file_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)).getpixel((4, 4)))
    assert abs(got - RED).max() <= 3

@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(fmt):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    options = {"lossless": True} if fmt == "WEBP" else {}
    assert open_image(file_bytes(first, fmt, save_all=True, append_images=[second], **options)).getpixel((2, 2)) == RED

@pytest.mark.parametrize("size", [(1, 1), (20000, 200), (1, 3000)])
def test_odd_sizes(size):
    assert open_image(file_bytes(Image.new("RGB", size, RED), "PNG")).size == size
    assert thumbnail(Picture("x", room.FromMemory(Image.new("RGB", size, RED)))).startswith("data:image/")

def test_a_given_pil_image_is_left_alone():
    mine = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    seen = open_image(mine)
    seen.putpixel((0, 0), RED)
    assert mine.mode == "RGBA" and mine.getpixel((0, 0)) == (0, 0, 0, 0)
    plain = Image.new("RGB", (2, 2))
    open_image(plain).putpixel((0, 0), RED)
    assert plain.getpixel((0, 0)) == (0, 0, 0)


# --- what cannot be opened -----------------------------------------------------------------------------------------------------

@pytest.mark.promise("images")
@pytest.mark.parametrize("content, reason", [
    (b"", "empty (0 bytes)"),
    (b"hello, I am a text\n", "begins with b'hello, I am '"),
    (file_bytes(Image.effect_noise((64, 64), 50), "PNG")[:2000], "cannot be decoded"),
    (file_bytes(Image.effect_noise((64, 64), 50), "JPEG")[:900], "truncated"),
    (b"\x89PNG\r\n\x1a\n", "no image in a known format"),
    (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIF"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "no image in a known format"),
])
def test_a_broken_file_gives_its_name_and_the_reason(tmp_path, content, reason):
    path = tmp_path/"bad ä.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error: open_image(path)
    assert str(path) in one_line(error) and reason in one_line(error)
    with pytest.raises(ImageError) as error: open_image(content, "from the web")
    assert one_line(error).startswith("from the web: ") and reason in one_line(error)

def test_missing_folder_and_wrong_kind(tmp_path):
    with pytest.raises(ImageError, match="no such file"): open_image(tmp_path/"none.png")
    with pytest.raises(ImageError, match="folder"): open_image(tmp_path)
    with pytest.raises(ImageError, match="PIL.Image.fromarray"): open_image(np.zeros((2, 2, 3)))
    with pytest.raises(ImageError, match="cannot be decoded"): open_image("a\0b.png")
    with pytest.raises(ImageError) as error: open_image(tmp_path/"two\nlines.png")
    one_line(error)

def test_no_permission(tmp_path, monkeypatch):
    def denied(*_, **__): raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(room.Image, "open", denied)
    with pytest.raises(ImageError, match="a.png: no permission"): open_image(tmp_path/"a.png")

@pytest.mark.parametrize("limit", [9_999, 4_000])         # Pillow warns at the first, refuses at the second
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_above_the_bomb_limit(monkeypatch, limit):
    content = file_bytes(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS") as error: open_image(content, "bomb.png")
    assert f"{limit:,} pixels" in one_line(error)
    for enough in (10_000, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", enough)
        assert open_image(content).size == (100, 100)

@pytest.mark.filterwarnings("error")
def test_above_the_bomb_limit_where_warnings_are_errors(monkeypatch):
    content = file_bytes(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS"): open_image(content)

def test_a_closed_file_behind_a_pil_image(tmp_path):
    Image.effect_noise((50, 50), 9).save(tmp_path/"a.png")
    with Image.open(tmp_path/"a.png") as lazy: pass
    with pytest.raises(ImageError, match="image 0 of the list"): images([lazy])[0].picture.pixels()

@pytest.mark.promise("images")
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_an_image_error(capfd):
    rng, noise, tried = random.Random(0), Image.effect_noise((40, 30), 60), {"read": 0, "refused": 0}
    whole = [file_bytes(noise.convert(m), f, **o) for f, m, o in [
        ("PNG", "RGBA", {"exif": exif(6)}), ("PNG", "P", {}), ("JPEG", "RGB", {"exif": exif(6)}), ("JPEG", "CMYK", {}),
        ("GIF", "P", {}), ("WEBP", "RGBA", {"exif": exif(6)}), ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "L", {"exif": exif(6)}), ("BMP", "RGB", {}), ("PPM", "RGB", {}), ("JPEG2000", "RGB", {})]]
    for _ in range(1500):
        content = bytearray(rng.choice(whole))
        for _ in range(rng.choice((1, 3, 20))):
            content[rng.randrange(min(len(content), rng.choice((40, 400, 10**6))))] = rng.randrange(256)
        if rng.random() < .3: del content[rng.randrange(len(content)):]
        try: assert open_image(bytes(content)).mode == "RGB"; tried["read"] += 1
        except ImageError as e: assert "\n" not in str(e); tried["refused"] += 1
    assert min(tried.values()) > 200, tried

def test_suffixes_are_those_of_the_formats():
    Image.init()
    known = {s for s, f in Image.registered_extensions().items() if f in FORMATS}
    assert SUFFIXES - {".heic", ".heif"} <= known


# --- folders -------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    for name in ["img10.png", "img9.png", "Sub dir/ünïcode 日本.png", "sub/deep/er/a.PNG", "two\nlines.png"]:
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), RED).save(tmp_path/name)
    for name in ["notes.txt", "Sub dir/data.csv", "README", ".hidden.png", ".git/x.png"]:
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).write_text("x")
    return tmp_path

def test_a_folder_in_natural_order_with_its_rest_counted(folder):
    found = images(folder)
    assert found.image_ids == ["img9.png", "img10.png", "sub/deep/er/a.PNG", "Sub dir/ünïcode 日本.png", "two\nlines.png"]
    assert found.skipped == {".csv": 1, ".txt": 1, "hidden": 2, "no suffix": 1}
    assert found.source == f"folder:{folder}" == images(str(folder) + "/")[0].source
    assert [s.image_id for s in found] == found.image_ids and not found.problems()

def test_links_and_special_files(folder, tmp_path_factory):
    "Links are followed to what is not here already: a picture counts once, by its real name where it has one in the folder."
    outside = tmp_path_factory.mktemp("outside")
    for name in ("a.png", "deep/b.png"):
        (outside/name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2), BLUE).save(outside/name)
    (outside/"back").symlink_to(outside, target_is_directory=True)
    (folder/"link.png").symlink_to(folder/"img9.png")
    (folder/"gone.png").symlink_to(folder/"nowhere.png")
    (folder/"me.png").symlink_to("me.png")
    (folder/"me").symlink_to("me")
    (folder/"sub"/"up").symlink_to(folder, target_is_directory=True)
    (folder/"above").symlink_to(folder.parent, target_is_directory=True)
    (folder/"other").symlink_to(folder/"sub"/"deep", target_is_directory=True)
    (folder/"first").symlink_to(outside, target_is_directory=True)
    (folder/"second").symlink_to(outside, target_is_directory=True)
    (folder/"twice.png").symlink_to(outside/"deep"/"b.png")
    os.mkfifo(folder/"pipe.png")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(folder/"sock.png"))
        found = images(folder)
    assert {"first/a.png", "first/deep/b.png"} < set(found.image_ids) and len(found) == 7 and not found.problems()
    assert {k: n for k, n in found.skipped.items() if "link" in k or k == "special file"} == {
        "broken link": 1, "link in a circle": 5, "link to what is here already": 4, "special file": 2}

def test_a_farm_of_links_is_bounded(tmp_path):
    "25 floors with two links each to the next: 2^25 paths to one picture. And `**` goes through no link."
    for i in range(25):
        (tmp_path/f"f{i}").mkdir()
        for side in "ab": (tmp_path/f"f{i}"/side).symlink_to(tmp_path/f"f{(i + 1) % 25}", target_is_directory=True)
    Image.new("RGB", (1, 1)).save(tmp_path/"f24"/"x.png")
    found = images(tmp_path)
    assert found.image_ids == ["f24/x.png"] and sum(found.skipped.values()) == 50
    assert images(f"{tmp_path}/**/*.png").image_ids == images(f"{tmp_path}/**").image_ids == ["f24/x.png"]
    assert images(f"{tmp_path}/f0/").image_ids[0].endswith("x.png")          # reached by links alone: once

def test_folders_that_are_very_deep_or_have_very_long_names(tmp_path, monkeypatch):
    Image.new("RGB", (1, 1)).save(tmp_path/("n" * 251 + ".png"))
    monkeypatch.chdir(tmp_path)
    for _ in range(30):                                                      # 30 x 200 letters: past what one path may hold
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    found = images(tmp_path)
    assert len(found) == 1 and found.skipped == {"unreadable folder": 1} and not found.problems()
    with pytest.raises(UnsafError) as error: images("x" * 5000)
    assert len(one_line(error)) < 600
    with pytest.raises(ImageError) as error: open_image("x" * 5000 + ".png")
    assert "too long" in one_line(error) and len(str(error.value)) < 600

@pytest.mark.parametrize("make", [os.mkfifo, lambda p: os.symlink("/dev/zero", p), lambda p: os.symlink("/dev/null", p),
                                  lambda p: os.symlink("/dev/stdin", p)])
def test_pipes_and_devices_are_never_opened(tmp_path, make, monkeypatch):
    path = tmp_path/"pipe.png"
    make(path)
    monkeypatch.setattr(room.Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ImageError, match="not a file|no such file"): open_image(path)
    assert "pipe.png" in images([path]).problems()
    with pytest.raises(UnsafError, match="holds no image, only 1 special file"): images(f"{tmp_path}/*.png")

@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode there")
def test_names_that_are_no_text_have_distinct_ids_that_can_be_written(tmp_path):
    content = file_bytes(Image.new("RGB", (1, 1)), "PNG")
    for raw in (b"caf\xe9.png", b"caf\xe8.png", rb"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(content)
    found = images(tmp_path)
    assert len(set(found.image_ids)) == 3 and not found.problems()
    json.dumps(found.image_ids, ensure_ascii=False).encode()

def test_an_unreadable_subfolder_is_counted_and_an_unreadable_folder_is_an_error(folder, monkeypatch):
    scandir = os.scandir
    def guarded(path):
        if Path(path) == closed: raise PermissionError(13, "Permission denied")
        return scandir(path)
    monkeypatch.setattr(os, "scandir", guarded)
    closed = folder/"sub"
    assert images(folder).skipped["unreadable folder"] == 1
    closed = folder
    with pytest.raises(UnsafError, match="cannot be read: Permission denied") as error: images(folder)
    one_line(error)

@pytest.mark.parametrize("wrong, told", [
    ("missing", "no such file or folder"), ("empty", "holds no image"), ("empty/*.png", "holds no image"),
    ("holidays:2017", "local folder"), ("easy-vqa:val", "train and test"), ("hf:nowhere:image", "no such folder"),
    ("", "an empty path"), ([], "empty"), ([1], "item 0"), (7, "no source"), (None, "no source"),
    (np.zeros((2, 2, 3)), "no source"), ("scenes:3", "seed=3"), ("scenes:oil", "plain, textured, cluttered, sketch, easy"),
])
def test_what_cannot_be_taken_is_told_in_one_line(tmp_path, monkeypatch, wrong, told):
    (tmp_path/"empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafError) as error: images(wrong)
    assert told in one_line(error)

def test_one_file_and_patterns(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert images("img9.png").image_ids == ["img9.png"] and images(folder/"notes.txt").image_ids == ["notes.txt"]
    assert list(images("notes.txt").problems()) == ["notes.txt"]
    assert images("img*").image_ids == images(f"{folder}/img*").image_ids == ["img9.png", "img10.png"]
    assert images("*").skipped == {".txt": 1, "folder": 2, "no suffix": 1}
    assert images("s*/**/*.PNG").image_ids == ["sub/deep/er/a.PNG"]
    (folder/"a[1].png").write_bytes((folder/"img9.png").read_bytes())
    assert images("a[1].png").image_ids == ["a[1].png"]
    (folder/"scenes").mkdir()
    Image.new("RGB", (1, 1)).save(folder/"scenes"/"x.png")
    assert len(images("scenes", n=3)) == 3 and len(images("./scenes")) == 1


# --- lists ---------------------------------------------------------------------------------------------------------------------

def test_lists_of_everything(folder):
    red = Image.new("RGB", (2, 2), RED)
    sample = Sample(Picture("given", lambda: red), "elsewhere", question="What?", answers=("red",))
    found = images([folder/"img9.png", red, file_bytes(red, "PNG"), sample, sample, str(folder/"img9.png"), folder/"none.png"])
    assert found.image_ids == ["img9.png", "1", "2", "given", "given#2", "img9.png#2", "none.png"]
    assert len({s.picture.digest for s in found[:-1]}) == 1
    assert (found[4].question, found[4].source, found[0].source) == ("What?", "elsewhere", "list:7")
    assert list(found.problems()) == ["none.png"]

def test_a_single_picture(folder):
    red = Image.new("RGB", (2, 2), RED)
    for source in (red, file_bytes(red, "PNG"), Picture("p", lambda: red), Sample(Picture("p", lambda: red))):
        assert len(images(source)) == 1 and images(source)[0].picture.pixels().getpixel((0, 0)) == RED

@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#3", "a#2#2", "b#2"]), max_size=12))
def test_unique_names(names):
    new = room._unique(names)
    assert len(set(new)) == len(names)
    assert all(x == old or x.startswith(old + "#") for x, old in zip(new, names, strict=True))
    assert all(new[names.index(n)] == n for n in set(names))         # the first of its name keeps it

@given(st.lists(st.text("aB1/0٣. ", min_size=1, max_size=8)))
def test_natural_order_is_total(names):
    keys = sorted(names, key=room.natural_key)
    assert keys == sorted(reversed(names), key=room.natural_key)


# --- choosing ------------------------------------------------------------------------------------------------------------------

def numbered(total): return images([Sample(Picture(f"p{i}", lambda: None)) for i in range(total)])

@pytest.mark.promise("seeds")
@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(0, 9), st.data())
def test_a_choice_is_in_order_without_repeats_and_nested(total, seed, data):
    n = data.draw(st.integers(1, total))
    full, chosen = numbered(total), images(numbered(total), n, seed)
    places = [full.image_ids.index(i) for i in chosen.image_ids]
    assert len(chosen) == n and places == sorted(set(places))
    assert set(chosen.image_ids) <= set(images(full, min(n + 3, total), seed).image_ids)
    assert images(full, n, seed=None).image_ids == full.image_ids[:n]
    assert images(full, total, seed).image_ids == images(full).image_ids == full.image_ids

def test_every_image_is_chosen_equally_often():
    full, hits = numbered(10), np.zeros(10)
    for seed in range(2000): hits[[int(i[1:]) for i in images(full, 3, seed).image_ids]] += 1
    assert ((hits - 600) ** 2 / 600).sum() < 27.9         # chi-square, 9 degrees of freedom, p = .001

def test_a_new_file_moves_at_most_one_out_of_the_choice():
    for seed in range(20):
        before, after = images(numbered(50), 10, seed).image_ids, images(numbered(51), 10, seed).image_ids
        assert len(set(before) - set(after)) <= 1

@pytest.mark.parametrize("n", [0, -1, 1.5, "3", True, 6])
def test_impossible_counts(n):
    with pytest.raises(UnsafError) as error: images(numbered(5), n)
    assert ("holds 5" if n == 6 else f"n={n!r}") in one_line(error)
    if n != 6:
        with pytest.raises(UnsafError): images("scenes", n)

def test_a_set_is_a_sequence():
    found = numbered(10)
    assert found[-1].image_id == "p9" and found[np.int64(2)].image_id == "p2"
    assert [s.image_id for s in found] == [s.image_id for s in found] == found.image_ids
    assert found[2:8][1:3].image_ids == ["p3", "p4"] and len(found[5:5]) == 0
    with pytest.raises(IndexError): found[10]
    with pytest.raises(TypeError): found["p1"]


# --- the other sources ---------------------------------------------------------------------------------------------------------

def test_scenes():
    found = images("scenes", n=12, seed=3)
    assert len(images("scenes")) == 100 and found.source == "scenes:3"
    for i, s in enumerate(found):
        assert world.Scene.from_dict(json.loads(json.dumps(s.info["scene"]))) == world.scene(3, i)
        assert s.picture.pixels().tobytes() == world.render(world.scene(3, i)).tobytes()
    assert not set(found.image_ids) & set(images("scenes", n=12, seed=4).image_ids)
    for wrong in (dict(seed=None), dict(seed="a"), dict(domain="nowhere"), dict(column="image")):
        with pytest.raises(UnsafError) as error: images("scenes", **wrong)
        one_line(error)

def test_scenes_of_every_domain():
    taken = set()
    for domain in world.DOMAINS:
        found, spelled = images("scenes", n=6, seed=3, domain=domain), images(f"scenes:{domain}", n=6, seed=3)
        assert found.image_ids == spelled.image_ids == [s.image_id for s in found] and not taken & set(found.image_ids)
        taken |= set(found.image_ids)
        assert found.source == spelled.source == found[0].source == ("scenes:3" if domain == "plain" else f"scenes:3:{domain}")
        for i, s in enumerate(spelled):
            assert world.Scene.from_dict(s.info["scene"]) == world.scene(3, i, domain)
            assert s.picture.pixels().tobytes() == world.render(world.scene(3, i, domain)).tobytes()
    assert images("scenes:sketch", n=2, domain="sketch").image_ids == images("scenes:sketch", n=2).image_ids
    for wrong in (dict(source="scenes:sketch", domain="plain"), dict(source="scenes:oil"), dict(source="easy-vqa", domain="easy")):
        with pytest.raises(UnsafError) as error: images(**wrong)
        one_line(error)

def test_easy_vqa_against_its_own_files():
    bundle = pytest.importorskip("easy_vqa")
    data = Path(bundle.__file__).parent/"data"
    found = images("easy-vqa:test")
    assert len(found) == 1000 and len(images("easy-vqa")) == 5000 and len(images("easy-vqa:train")) == 4000
    asked = json.loads((data/"test"/"questions.json").read_text())
    for k in (0, 7, 999):
        assert found[k].image_id == f"test/{k}"
        assert [[q["question"], q["answer"], k] for q in found[k].info["questions"]] == [a for a in asked if a[2] == k]
        with Image.open(data/"test"/"images"/f"{k}.png") as im:
            assert found[k].picture.pixels().tobytes() == im.convert("RGB").tobytes()

def test_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    turned = file_bytes(Image.new("RGB", (3, 2), RED), "PNG", exif=exif(6))
    rows = {"photo": [{"bytes": turned, "path": None}, {"bytes": b"text", "path": None}, None], "label": ["a", "b", None],
            "score": [.5, 1., 2.], "year": [1, 2, 3], "boxes": [[1], [2], [3]]}
    table = datasets.Dataset.from_dict(rows).cast_column("photo", datasets.Image())
    table.save_to_disk(tmp_path/"saved")
    table.to_parquet(tmp_path/"rows.parquet")
    datasets.DatasetDict({"test": table}).save_to_disk(tmp_path/"split")
    for found in (images(table, column="photo"), images(f"hf:{tmp_path}/saved:photo"), images(f"hf:{tmp_path}/split/test:photo"),
                  images(f"hf:{tmp_path}/rows.parquet:photo"), images(table.with_format("numpy"), column="photo")):
        assert found.image_ids == ["0", "1", "2"]
        assert json.loads(json.dumps(found[0].info)) == {"label": "a", "score": .5, "year": 1}
        assert found[0].picture.pixels().size == (2, 3)
        assert list(found.problems()) == ["1", "2"] and "row 2" in found.problems()["2"]
        assert pickle.loads(pickle.dumps(found[0])).picture.digest == found[0].picture.digest
    for wrong, told in ((f"hf:{tmp_path}/split:photo", "splits test"), (f"hf:{tmp_path}/saved:nope", "no column 'nope'"),
                        (f"hf:{tmp_path}/saved:score", "no images"), (f"hf:{tmp_path}/saved", "no column 'image'"),
                        (f"hf:{tmp_path}:photo", "no saved data set"), (table, "no column 'image'"),
                        (table.to_iterable_dataset(), "IterableDataset"),
                        (table.select([]).rename_column("photo", "image"), "no rows")):
        with pytest.raises(UnsafError) as error: images(wrong)
        assert told in one_line(error)

@pytest.mark.parametrize("package, source", [("easy_vqa", "easy-vqa"), ("datasets", "hf:x:image")])
def test_a_missing_package_is_named(monkeypatch, package, source):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnsafError, match="pip install"): images(source)


# --- laziness ------------------------------------------------------------------------------------------------------------------

def test_nothing_is_opened_before_it_is_asked_for(folder, monkeypatch):
    opened = []
    monkeypatch.setattr("unsaf.data.image_set.open_image", lambda *a: opened.append(a) or Image.new("RGB", (1, 1)))
    found = images(folder, n=3)
    samples = [*found, *found[1:]]
    assert not opened and len(samples) == 5
    samples[0].picture.pixels()
    assert len(opened) == 1

def test_pictures_and_sets_travel_to_other_processes(folder):
    for found in (images(folder), images("scenes", n=2), images([Image.new("RGB", (2, 2), RED)]), images(folder, n=2)[:1]):
        there = pickle.loads(pickle.dumps(found))
        assert there.image_ids == found.image_ids and there[0].picture.digest == found[0].picture.digest

def test_memory_stays_flat_over_100_pictures_of_three_megabytes(tmp_path):
    pytest.importorskip("resource")
    content = file_bytes(Image.linear_gradient("L").resize((1000, 1000)).convert("RGB"), "JPEG")
    for i in range(100): (tmp_path/f"{i}.jpg").write_bytes(content)
    script = """if True:
        import resource, sys
        from unsaf.data.images import images
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seen, samples, marks = 0, list(images(sys.argv[1])), []
        for i, s in enumerate(samples):
            seen += s.picture.pixels().width
            if i == 9: marks.append(peak())
        print(seen, peak() - marks[0])
    """
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300)
    seen, growth = map(int, done.stdout.split())
    assert seen == 100_000
    assert growth < 12e6, f"peak memory grew by {growth / 1e6:.0f} MB after the tenth picture"      # all together: 300 MB

def test_a_set_in_a_notebook_shows_pictures_and_reasons(tmp_path):
    Image.new("RGB", (300, 200), RED).save(tmp_path/"<b>.png")
    (tmp_path/"zero.png").write_bytes(b"")
    page = images(tmp_path)._repr_html_()
    assert "data:image/png;base64," in page and "&lt;b&gt;.png" in page and "<b>" not in page and "0 bytes" in page
