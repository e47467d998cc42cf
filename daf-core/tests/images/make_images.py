"""Writes images of every kind into a folder, and what daf has to read of each into index.json beside them.

Usage: make_images.py FOLDER. Needs pillow, numpy, tifffile and imagecodecs; with cjpeg and jpegtran on the path
(Debian's libjpeg-turbo-progs) also JPEG files of every sampling factor.

The pixels are those that the file was made from; of lossy files those that Pillow reads, which is built with a libjpeg
and a libwebp of its own.
"""

import io
import itertools
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

FOLDER = Path(sys.argv[1])
INDEX = []
WIDTH, HEIGHT = 37, 29
RANDOM = np.random.default_rng(0)


def picture(channels=3, depth=8, width=WIDTH, height=HEIGHT):
    """Smooth shades with edges and noise over the whole range: codecs find no shortcut."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        0.5 + 0.3 * np.sin(x / (3 + c) + c) * np.cos(y / (5 - c % 3)) + 0.2 * ((x // 7 + y // 5 + c) % 2)
        for c in range(channels)
    ]
    values = np.stack(planes, -1) + RANDOM.normal(0, 0.05, (height, width, channels))
    values.flat[0], values.flat[-1] = 0, 1
    return np.round(np.clip(values, 0, 1) * (2**depth - 1)).astype(np.uint8 if depth <= 8 else np.uint16)


def rgb(values):
    """8-bit RGB of grey or RGB."""
    values = np.asarray(values)
    if values.ndim == 2:
        values = values[..., None]
    return np.broadcast_to(values, (*values.shape[:2], 3)).astype(np.uint8)


def scaled(values, high):
    """Levels of values from 0 to high."""
    return np.floor(np.asarray(values, np.float64) * 255 / high + 0.5).clip(0, 255).astype(np.uint8)


def over(colors, alpha, ground=(0, 0, 0)):
    """Colors with an alpha from 0 to 1, over a ground."""
    alpha = np.asarray(alpha, np.float64)[..., None]
    return np.floor(rgb(colors) * alpha + np.array(ground) * (1 - alpha) + 0.5).astype(np.uint8)


def save(name, content):
    path = FOLDER / name
    if isinstance(content, Image.Image):
        raise TypeError("bytes are expected")
    path.write_bytes(content)


def kept(name, pixels, tolerance=0, page=None, **reading):
    """The file holds these pixels."""
    pixels = rgb(pixels)
    raw = f"{len(INDEX)}.raw"
    (FOLDER / raw).write_bytes(np.ascontiguousarray(pixels).tobytes())
    INDEX.append(
        dict(
            file=name if page is None else f"{name}#{page}",
            width=pixels.shape[1],
            height=pixels.shape[0],
            pixels=raw,
            tolerance=tolerance,
            reading=reading,
        )
    )


def refused(name, *words, page=None, **reading):
    """The file is refused, with these words in the message."""
    INDEX.append(dict(file=name if page is None else f"{name}#{page}", refused=list(words), reading=reading))


def pillow(image, format, **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def as_pillow_reads(name, tolerance=0):
    """The pixels of Pillow; refused where it refuses."""
    try:
        with Image.open(FOLDER / name) as image:
            kept(name, np.asarray(ImageOps.exif_transpose(image).convert("RGB")), tolerance)
    except OSError:
        refused(name)


# JPEG


def jpeg(name, content, tolerance=0):
    save(name, content)
    as_pillow_reads(name, tolerance)


def ran(command, stdin):
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def with_segment(content, marker, data):
    """A segment behind the start marker."""
    return content[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + content[2:]


def exif(orientation, order="<"):
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return head + struct.pack(order + "HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)


def write_jpeg():
    color, grey = picture(), picture(1)[..., 0]
    for quality in (1, 5, 20, 50, 75, 90, 95, 100):
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                name = f"q{quality}_s{subsampling}_{'p' if progressive else 'b'}.jpg"
                jpeg(name, pillow(color, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive))
        jpeg(f"grey_q{quality}.jpg", pillow(grey, "JPEG", quality=quality))
    for width, height in ((1, 1), (2, 1), (7, 8), (8, 8), (9, 17), (16, 16), (33, 1), (1, 65)):
        jpeg(f"size_{width}x{height}.jpg", pillow(picture(3, 8, width, height), "JPEG", subsampling=2))
    jpeg("cmyk.jpg", pillow(Image.fromarray(picture(4), "CMYK"), "JPEG"))
    for space in ("rgb", "ycbcr"):
        jpeg(f"space_{space}.jpg", imagecodecs.jpeg8_encode(color, level=90, colorspace="rgb", outcolorspace=space))
    for space in ("cmyk", "ycck"):
        jpeg(
            f"inks_{space}.jpg", imagecodecs.jpeg8_encode(picture(4), level=90, colorspace="cmyk", outcolorspace=space)
        )
    jpeg("restart_rows.jpg", pillow(color, "JPEG", restart_marker_rows=1))
    jpeg("restart_blocks.jpg", pillow(color, "JPEG", restart_marker_blocks=2))
    jpeg("optimized.jpg", pillow(color, "JPEG", optimize=True))
    plain = pillow(color, "JPEG", quality=90)
    for orientation in range(0, 10):
        for order in "<>":
            side = "little" if order == "<" else "big"
            jpeg(f"turned_{orientation}_{side}.jpg", with_segment(plain, 0xE1, b"Exif\0\0" + exif(orientation, order)))
    jpeg("comment_with_markers.jpg", with_segment(plain, 0xFE, b"\xff\xd9\xff\xda\xff\xd8" * 700))
    jpeg("thumbnail.jpg", with_segment(plain, 0xE1, b"Exif\0\0" + exif(1) + pillow(color[:8, :8], "JPEG")))
    jpeg(
        "two_exif.jpg",
        with_segment(with_segment(plain, 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), 0xE1, b"Exif\0\0" + exif(6)),
    )
    jpeg("profile.jpg", pillow(color, "JPEG", quality=90, icc_profile=b"\0" * 70_000))
    jpeg("padding.jpg", plain[:2] + b"\xff" * 9 + plain[2:])
    jpeg("behind_the_end.jpg", plain + b"\0" * 5000)
    # Telephones append films and further images, with whatever bytes.
    jpeg("film_behind_the_end.jpg", plain + RANDOM.bytes(100) + b"\xff\xda\0\x02" * 2000)
    jpeg("image_behind_the_end.jpg", plain + pillow(grey, "JPEG"))

    scan = plain.index(b"\xff\xda") + 14
    for name, content in (
        ("zeros", plain[: scan + 200] + b"\0" * 200 + plain[scan + 400 :]),
        ("missing", plain[: scan + 200] + plain[scan + 500 :]),
        ("cut", plain[: len(plain) * 2 // 3]),
        ("cut_and_ended", plain[: len(plain) * 2 // 3] + b"\xff\xd9"),
        ("without_end", plain[:-2]),
    ):
        save(f"damaged_{name}.jpg", content)
        refused(f"damaged_{name}.jpg", "damaged or cut short")
    progressive = pillow(color, "JPEG", quality=90, progressive=True)
    save("damaged_scan.jpg", progressive[: len(progressive) - 200] + b"\xff\xd9")
    refused("damaged_scan.jpg", "damaged or cut short")
    save("deep.jpg", imagecodecs.jpeg8_encode(picture(3, 12), level=90, bitspersample=12))
    refused("deep.jpg", "more than 8 bit")
    save("lossless.jpg", imagecodecs.ljpeg_encode(grey))
    refused("lossless.jpg", "lossless")
    save("ls.jpg", imagecodecs.jpegls_encode(grey))
    refused("ls.jpg", "lossless")
    huge = bytearray(plain)
    frame = plain.index(b"\xff\xc0")
    huge[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    save("bomb.jpg", bytes(huge))
    refused("bomb.jpg", "65500×65500", "1024 MiB")
    if not (shutil.which("cjpeg") and shutil.which("jpegtran")):
        print("without cjpeg and jpegtran: no JPEG files of unusual sampling factors", file=sys.stderr)
        return
    ppm = pillow(color, "PPM")
    factors = [f"{h}x{v}" for h, v in itertools.product((1, 2, 3, 4), repeat=2)]
    variants = [(y, c, c) for y in factors for c in factors]
    variants += [
        ("1x1", "2x2", "1x1"),
        ("1x1", "1x1", "2x2"),
        ("2x2", "1x1", "2x1"),
        ("2x2", "1x2", "2x1"),
        ("1x2", "2x1", "1x1"),
    ]
    for variant in variants:
        name = "factors_" + "_".join(variant) + ".jpg"
        made = subprocess.run(["cjpeg", "-quality", "90", "-sample", ",".join(variant)], input=ppm, capture_output=True)
        if made.returncode == 0:
            jpeg(name, made.stdout)
    scans = FOLDER / "scans.txt"
    for subsampling in (0, 1, 2):
        whole = pillow(color, "JPEG", quality=90, subsampling=subsampling)
        for number, script in enumerate(("0; 1; 2;", "0; 1 2;", "0 1; 2;", "2; 1; 0;")):
            scans.write_text(script)
            jpeg(f"scans_{subsampling}_{number}.jpg", ran(["jpegtran", "-scans", str(scans)], whole))
        jpeg(f"arithmetic_{subsampling}.jpg", ran(["jpegtran", "-arithmetic"], whole))
        jpeg(f"arithmetic_progressive_{subsampling}.jpg", ran(["jpegtran", "-arithmetic", "-progressive"], whole))
        jpeg(f"restart_{subsampling}.jpg", ran(["jpegtran", "-restart", "1B"], whole))


# PNG


def png(values, bits, color, interlaced=False, before=(), broken=False):
    """A PNG of samples with `bits` bits: rows, columns, channels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ broken)

    def rows(part):
        part = part.reshape(part.shape[0], -1)
        if bits == 16:
            return b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)
        if bits == 8:
            return b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in part)
        as_bits = (part[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        return b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in as_bits)

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [values[y::dy, x::dx] for y, x, dy, dx in passes] if interlaced else [values]
    data = b"".join(rows(part) for part in parts if part.size)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, color, 0, 0, interlaced)
    chunks = [(b"IHDR", head), *before, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def write_png():
    GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
    for interlaced in (False, True):
        end = "_interlaced.png" if interlaced else ".png"
        for bits in (1, 2, 4, 8, 16):
            grey = picture(1, bits)
            save(f"grey{bits}{end}", png(grey, bits, GREY, interlaced))
            kept(f"grey{bits}{end}", scaled(grey, 2**bits - 1))
            marked = struct.pack(">H", int(grey[5, 5, 0]))
            save(f"grey{bits}_key{end}", png(grey, bits, GREY, interlaced, [(b"tRNS", marked)]))
            kept(f"grey{bits}_key{end}", over(scaled(grey, 2**bits - 1), grey[..., 0] != grey[5, 5, 0]))
            kept(f"grey{bits}_key{end}", scaled(grey, 2**bits - 1), alpha="drop")
        for bits in (1, 2, 4, 8):
            numbers, colors = picture(1, bits), RANDOM.integers(0, 256, (2**bits, 3), np.uint8)
            palette = (b"PLTE", colors.tobytes())
            save(f"palette{bits}{end}", png(numbers, bits, PALETTE, interlaced, [palette]))
            kept(f"palette{bits}{end}", colors[numbers[..., 0]])
            alpha = RANDOM.integers(0, 256, 2**bits, np.uint8)
            save(
                f"palette{bits}_alpha{end}",
                png(numbers, bits, PALETTE, interlaced, [palette, (b"tRNS", alpha.tobytes())]),
            )
            kept(f"palette{bits}_alpha{end}", over(colors[numbers[..., 0]], alpha[numbers[..., 0]] / 255))
            kept(f"palette{bits}_alpha{end}", colors[numbers[..., 0]], alpha="drop")
        for bits in (8, 16):
            high = 2**bits - 1
            for kind, color, channels in (("rgb", RGB, 3), ("la", GREY_ALPHA, 2), ("rgba", RGBA, 4)):
                values = picture(channels, bits)
                name = f"{kind}{bits}{end}"
                save(name, png(values, bits, color, interlaced))
                if channels == 3:
                    kept(name, scaled(values, high))
                    continue
                colors, alpha = scaled(values[..., :-1], high), scaled(values[..., -1], high) / 255
                kept(name, over(colors, alpha))
                kept(name, over(colors, alpha, (255, 255, 255)), alpha="white")
                kept(name, over(colors, alpha, (9, 200, 77)), alpha=[9, 200, 77])
                kept(name, over(colors, alpha), alpha="mask")
                kept(name, colors, alpha="drop")
    color = picture()
    gamma = [(b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0"), (b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 200))]
    for number in range(3):
        save(f"chunk{number}.png", png(color, 8, RGB, before=gamma[number : number + 1]))
        kept(f"chunk{number}.png", color)
    save("turned.png", png(color, 8, RGB, before=[(b"eXIf", exif(6))]))
    kept("turned.png", np.rot90(color, -1))
    save("transparent.png", png(np.concatenate([color, color[..., :1] * 0], -1), 8, RGBA))
    refused("transparent.png", "every pixel is transparent", "input.alpha: drop")
    kept("transparent.png", color, alpha="drop")
    for bits in (10, 12, 14, 16):
        deep = picture(1, bits)
        save(f"camera{bits}.png", png(deep, 16, GREY))
        kept(f"camera{bits}.png", scaled(deep, 2**bits - 1), depth=bits)
        if bits <= 12:
            refused(f"camera{bits}.png", f"up to {2**bits - 1} of 65535", "input.depth: 12")
        else:
            kept(f"camera{bits}.png", scaled(deep, 65_535))
        kept(f"camera{bits}.png", scaled(deep, 65_535), depth=16)
        kept(f"camera{bits}.png", scaled(np.clip(deep.astype(float) - 100, 0, 800), 800), depth=[100, 900])
    kept(
        "rgb8.png",
        scaled(np.clip(np.asarray(Image.open(FOLDER / "rgb8.png")).astype(float) - 50, 0, 150), 150),
        depth=[50, 200],
    )
    save("crc.png", png(color, 8, RGB, broken=True))
    refused("crc.png")
    animation = [Image.fromarray(color), Image.fromarray(255 - color)]
    save("animation.png", pillow(animation[0], "PNG", save_all=True, append_images=animation[1:]))
    refused("animation.png", "several frames")
    whole = png(color, 8, RGB)
    for share in (0.2, 0.5, 0.9):
        save(f"cut{share}.png", whole[: int(len(whole) * share)])
        refused(f"cut{share}.png")
    huge = bytearray(whole)
    huge[16:24] = struct.pack(">II", 60_000, 60_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    save("bomb.png", bytes(huge))
    refused("bomb.png", "60000×60000", "1024 MiB")


# BMP


def bmp(rows, bits, width, height, compression=0, palette=b"", masks=b""):
    """A BMP of these rows, which lie from the bottom up unless the height is negative."""
    data = rows if isinstance(rows, bytes) else b"".join(row + b"\0" * (-len(row) % 4) for row in rows)
    start = 14 + 40 + len(masks) + len(palette)
    head = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 2835, 2835, len(palette) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + masks + palette + data


def write_bmp():
    for top_down in (False, True):
        name = "_down.bmp" if top_down else ".bmp"
        height = -HEIGHT if top_down else HEIGHT
        order = slice(None) if top_down else slice(None, None, -1)
        for bits in (1, 4, 8):
            numbers, colors = picture(1, bits)[..., 0], RANDOM.integers(0, 256, (2**bits, 3), np.uint8)
            as_bits = (numbers[..., None] >> np.arange(bits - 1, -1, -1)) & 1
            rows = [np.packbits(row.reshape(-1)).tobytes() for row in as_bits[order]]
            palette = b"".join(bytes([*color[::-1], 0]) for color in colors)
            save(f"palette{bits}{name}", bmp(rows, bits, WIDTH, height, palette=palette))
            kept(f"palette{bits}{name}", colors[numbers])
        color = picture()
        save(f"rgb24{name}", bmp([row[:, ::-1].tobytes() for row in color[order]], 24, WIDTH, height))
        kept(f"rgb24{name}", color)
        four = np.concatenate([color[..., ::-1], np.zeros((HEIGHT, WIDTH, 1), np.uint8)], -1)
        save(f"rgb32{name}", bmp([row.tobytes() for row in four[order]], 32, WIDTH, height))
        kept(f"rgb32{name}", color)
        five = picture(3, 5)
        packed = (five[..., 0].astype("<u2") << 10) | (five[..., 1].astype("<u2") << 5) | five[..., 2]
        save(f"rgb16{name}", bmp([row.astype("<u2").tobytes() for row in packed[order]], 16, WIDTH, height))
        kept(f"rgb16{name}", scaled(five, 31), tolerance=1)
    # Run lengths: a pixel at a time, with an end of each row and one of the image.
    numbers, colors = picture(1, 4)[..., 0], RANDOM.integers(0, 256, (16, 3), np.uint8)
    palette = b"".join(bytes([*color[::-1], 0]) for color in colors)
    for bits, compression in ((8, 1), (4, 2)):
        runs = b""
        for row in numbers[::-1]:
            runs += b"".join(bytes([1, int(n) if bits == 8 else int(n) << 4]) for n in row) + b"\0\0"
        save(f"runs{bits}.bmp", bmp(runs + b"\0\1", bits, WIDTH, HEIGHT, compression, palette))
        kept(f"runs{bits}.bmp", colors[numbers])
    save("bomb.bmp", bmp([b""], 24, 40_000, 40_000))
    refused("bomb.bmp", "40000×40000", "1024 MiB")
    whole = bmp([row[:, ::-1].tobytes() for row in picture()[::-1]], 24, WIDTH, HEIGHT)
    save("cut.bmp", whole[: len(whole) // 2])
    refused("cut.bmp")


# TIFF


def tiff(name, values, **options):
    out = io.BytesIO()
    big, order = options.pop("bigtiff", False), options.pop("byteorder", "<")
    with tifffile.TiffWriter(out, bigtiff=big, byteorder=order) as file:
        file.write(values, metadata=None, **options)
    save(name, out.getvalue())
    return out.getvalue()


def write_tiff():
    layouts = {
        "": {},
        "_big_endian": {"byteorder": ">"},
        "_bigtiff": {"bigtiff": True},
        "_bigtiff_big_endian": {"bigtiff": True, "byteorder": ">"},
    }
    storages = {
        "": {},
        "_strips": {"rowsperstrip": 5},
        "_tiles": {"tile": (16, 16)},
        "_lzw": {"compression": "lzw", "rowsperstrip": 7},
        "_deflate": {"compression": "zlib", "rowsperstrip": 7},
        "_packbits": {"compression": "packbits"},
        "_lzw_tiles_predictor": {"compression": "lzw", "tile": (16, 32), "predictor": 2},
        "_deflate_predictor": {"compression": "zlib", "predictor": 2},
    }
    for layout, (storage, how) in itertools.product(layouts, storages.items()):
        options = layouts[layout] | how
        for bits in (8, 16):
            high = 2**bits - 1
            for kind, channels, meaning in (
                ("grey", 1, "minisblack"),
                ("white_is_0", 1, "miniswhite"),
                ("rgb", 3, "rgb"),
            ):
                values = picture(channels, bits)
                name = f"{kind}{bits}{layout}{storage}.tif"
                tiff(name, values[..., 0] if channels == 1 else values, photometric=meaning, **options)
                kept(name, scaled(high - values if kind == "white_is_0" else values, high))
            # Bands beside the color: of an unknown kind, and alpha.
            values = picture(4, bits)
            name = f"rgb_and_band{bits}{layout}{storage}.tif"
            tiff(name, values, photometric="rgb", extrasamples=[0], **options)
            kept(name, scaled(values[..., :3], high))
            name = f"rgba{bits}{layout}{storage}.tif"
            tiff(name, values, photometric="rgb", extrasamples=["unassalpha"], **options)
            kept(name, over(scaled(values[..., :3], high), scaled(values[..., 3], high) / 255))
            kept(name, scaled(values[..., :3], high), alpha="drop")
            name = f"grey_alpha{bits}{layout}{storage}.tif"
            tiff(
                name,
                values[..., :2],
                photometric="minisblack",
                extrasamples=["unassalpha"],
                planarconfig="contig",
                **options,
            )
            kept(name, over(scaled(values[..., :1], high), scaled(values[..., 1], high) / 255))
            if "lzw_tiles" not in storage and "predictor" not in storage:
                name = f"planes{bits}{layout}{storage}.tif"
                tiff(
                    name,
                    np.moveaxis(picture_ := picture(3, bits), -1, 0),
                    photometric="rgb",
                    planarconfig="separate",
                    **options,
                )
                kept(name, scaled(picture_, high))
        name = f"float32{layout}{storage}.tif"
        values = picture(1)[..., 0].astype(np.float32) / 255
        if "predictor" in how:
            options = options | {"predictor": 3}
        tiff(name, values, photometric="minisblack", **options)
        kept(name, scaled(values, 1), tolerance=1)

    eight = picture()
    for kind, dtype in (("float16", np.float16), ("float32", np.float32), ("float64", np.float64)):
        values = (eight / np.float64(255)).astype(dtype)
        tiff(f"rgb_{kind}.tif", values, photometric="rgb")
        kept(f"rgb_{kind}.tif", eight)
        wide = values[..., 0] * dtype(7) - dtype(3)
        tiff(f"{kind}_beyond.tif", wide, photometric="minisblack")
        refused(f"{kind}_beyond.tif", "-3", "to 4", "input.depth: [low, high]")
        kept(f"{kind}_beyond.tif", eight[..., 0], tolerance=1, depth=[-3, 4])
    values = (eight[..., 0] / np.float32(255)).astype(np.float32)
    values[3, 4] = np.nan
    tiff("nan.tif", values, photometric="minisblack")
    black = eight[..., 0].copy()
    black[3, 4] = 0
    kept("nan.tif", black)
    for dtype in (np.int8, np.int16, np.int32, np.uint32, np.int64, np.uint64):
        name = f"{np.dtype(dtype)}.tif"
        values = eight[..., 0].astype(dtype) if dtype != np.int8 else (eight[..., 0] // 2).astype(dtype)
        tiff(name, values, photometric="minisblack")
        refused(name, "values from 0", "input.depth: [low, high]")
        kept(name, values, depth=[0, 255])
    negative = eight[..., 0].astype(np.int16) - 100
    tiff("negative.tif", negative, photometric="minisblack")
    refused("negative.tif", "from -100 to 155", "input.depth")
    kept("negative.tif", eight[..., 0], depth=[-100, 155])
    for bits in (10, 12, 14):
        deep = picture(1, bits)[..., 0]
        tiff(f"camera{bits}.tif", deep, photometric="minisblack")
        kept(f"camera{bits}.tif", scaled(deep, 2**bits - 1), depth=bits)
        tiff(f"packed{bits}.tif", deep, photometric="minisblack", bitspersample=bits)
        refused(f"packed{bits}.tif", f"grey with {bits} bit")

    one = picture(1, 1)[..., 0]
    for order in "<>":
        for storage in ("", "_packbits", "_deflate", "_strips"):
            how = storages[storage]
            name = f"one_bit{'_big' if order == '>' else ''}{storage}.tif"
            tiff(name, one.astype(bool), photometric="minisblack", byteorder=order, **how)
            kept(name, one * 255)
            tiff(name.replace("one", "white"), one.astype(bool), photometric="miniswhite", byteorder=order, **how)
            kept(name.replace("one", "white"), 255 - one * 255)
    for compression in ("group4", "raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"):
        name = f"pillow_1_{compression}.tif"
        save(name, pillow(Image.fromarray(one.astype(bool)), "TIFF", compression=compression))
        kept(name, one * 255)
        if compression in ("group4", "raw"):
            name = f"fill_order_{compression}.tif"
            # Pillow turns the bits of what it wrote itself if the tag asks for it.
            content = bytearray(pillow(Image.fromarray(one.astype(bool)), "TIFF", compression=compression))
            file = tifffile.TiffFile(io.BytesIO(bytes(content)))
            page = file.pages[0]
            for offset, length in zip(page.dataoffsets, page.databytecounts):
                table = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
                content[offset : offset + length] = bytes(content[offset : offset + length]).translate(table)
            save(name, with_fill_order(bytes(content)))
            kept(name, one * 255)
    for bits in (1, 2, 4, 8):
        numbers, colors = picture(1, bits)[..., 0], RANDOM.integers(0, 256, (3, 256), np.uint16)
        colors[:, 0] = 0
        for shade in (257, 256, 1):
            for order in "<>":
                if bits < 8:
                    name = f"palette{bits}_{shade}{'_big' if order == '>' else ''}.tif"
                    save(name, packed_palette(numbers, bits, colors[:, : 2**bits] * shade, order))
                else:
                    name = f"palette8_{shade}{'_big' if order == '>' else ''}.tif"
                    tiff(
                        name,
                        numbers,
                        photometric="palette",
                        colormap=(colors * shade).astype(np.uint16),
                        byteorder=order,
                    )
                kept(name, np.moveaxis(colors, 0, -1)[numbers])
        if bits in (2, 4):
            name = f"grey{bits}.tif"
            save(name, packed_palette(numbers, bits, None, "<"))
            kept(name, scaled(numbers, 2**bits - 1))

    for bits in (8, 16):
        high = 2**bits - 1
        values = picture(4, bits)
        alpha = values[..., 3:].astype(np.uint64)
        drawn = np.where(alpha > 0, (values[..., :3] * alpha + high // 2) // high, 0).astype(values.dtype)
        whole = np.concatenate([drawn, values[..., 3:]], -1)
        tiff(f"multiplied{bits}.tif", whole, photometric="rgb", extrasamples=["assocalpha"])
        # Over black, multiplied colors are the result.
        kept(f"multiplied{bits}.tif", scaled(drawn, high), tolerance=1)
    inks = picture(4)
    for storage, how in storages.items():
        tiff(f"cmyk{storage}.tif", inks, photometric="separated", **how)
        kept(f"cmyk{storage}.tif", np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))
    tiff("cmyk16.tif", picture(4, 16), photometric="separated")
    refused("cmyk16.tif", "CMYK with 16 bit")
    tiff("ycbcr.tif", np.asarray(Image.fromarray(eight).convert("YCbCr")), photometric="ycbcr", subsampling=(1, 1))
    kept("ycbcr.tif", np.asarray(Image.fromarray(eight).convert("YCbCr").convert("RGB")), tolerance=1)
    for options in ({}, {"rowsperstrip": 16}, {"tile": (16, 16)}, {"tile": (32, 16)}):
        end = "_".join(str(part) for part in options.values()).replace(" ", "") or "whole"
        for sampling in ((1, 1), (2, 1), (2, 2)):
            name = f"jpeg_ycbcr_{sampling[0]}{sampling[1]}_{end}.tif"
            tiff(
                name,
                eight,
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 90},
                subsampling=sampling,
                **options,
            )
            as_tifffile_reads(name)
        tiff(f"jpeg_rgb_{end}.tif", eight, photometric="rgb", compression="jpeg", **options)
        as_tifffile_reads(f"jpeg_rgb_{end}.tif")
        tiff(f"jpeg_grey_{end}.tif", eight[..., 0], photometric="minisblack", compression="jpeg", **options)
        as_tifffile_reads(f"jpeg_grey_{end}.tif")
    for quality in (30, 90):
        for strip in (None, 8):
            name = f"pillow_jpeg_{quality}_{strip}.tif"
            info = {} if strip is None else {"strip_size": WIDTH * 3 * strip}
            save(name, pillow(eight, "TIFF", compression="jpeg", quality=quality, **info))
            as_pillow_reads(name)
    for compression, name in (
        ("zstd", "ZSTD"),
        ("lzma", "LZMA"),
        ("webp", "WebP"),
        ("jpeg2000", "JPEG 2000"),
        ("lerc", "LERC"),
        ("jpegxl", "JPEG XL"),
    ):
        tiff(f"unread_{compression}.tif", eight, photometric="rgb", compression=compression)
        refused(f"unread_{compression}.tif", f"compressed with {name}", "save it uncompressed")
    tiff("five_bands.tif", picture(5), photometric="minisblack", planarconfig="contig")
    refused("five_bands.tif", "5 bands with 8 bit")
    tiff("two_bands.tif", picture_ := picture(2), photometric="minisblack", planarconfig="contig", extrasamples=[0])
    kept("two_bands.tif", picture_[..., :1])
    tiff("rgb_five.tif", picture_ := picture(5), photometric="rgb", planarconfig="contig", extrasamples=[0, 2])
    kept("rgb_five.tif", over(picture_[..., :3], picture_[..., 4] / 255))
    tiff("lab.tif", eight, photometric="cielab")
    refused("lab.tif", "L*a*b* with 8 bit")
    tiff("rgba_float.tif", picture(4).astype(np.float32) / 255, photometric="rgb", extrasamples=["unassalpha"])
    refused("rgba_float.tif", "RGBA with 32 bit floats")
    turned = [
        lambda a: a,
        np.fliplr,
        lambda a: np.rot90(a, 2),
        np.flipud,
        lambda a: np.swapaxes(a, 0, 1),
        lambda a: np.rot90(a, -1),
        lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        lambda a: np.rot90(a, 1),
    ]
    for orientation, turn in enumerate(turned, 1):
        tiff(f"turned{orientation}.tif", eight, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        kept(f"turned{orientation}.tif", turn(eight))

    pages = [picture() for _ in range(3)]
    for bigtiff in (False, True):
        out = io.BytesIO()
        with tifffile.TiffWriter(out, bigtiff=bigtiff) as file:
            for page in pages:
                file.write(page, photometric="rgb", metadata=None, contiguous=False)
        name = f"pages{'_big' if bigtiff else ''}.tif"
        save(name, out.getvalue())
        refused(name, "3 pages", "input.pages: all", "#2")
        for number, page in enumerate(pages, 1):
            kept(name, page, page=number)
        refused(name, "page 4", "has 3", page=4)
        refused(name, page=0)
    for first in (False, True):
        out = io.BytesIO()
        with tifffile.TiffWriter(out) as file:
            # A thumbnail before the image, or two levels of a pyramid behind it.
            for factor in (2, 1) if first else (1, 2, 4):
                reduced = eight[::factor, ::factor]
                file.write(reduced, photometric="rgb", metadata=None, subfiletype=int(factor > 1))
        save(f"pyramid{first}.tif", out.getvalue())
        kept(f"pyramid{first}.tif", eight)
        kept(f"pyramid{first}.tif", eight, page=1)
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        file.write(eight, photometric="rgb", metadata=None, subifds=2)
        for factor in (2, 4):
            file.write(eight[::factor, ::factor], photometric="rgb", metadata=None, subfiletype=1)
    save("pyramid_inside.tif", out.getvalue())
    kept("pyramid_inside.tif", eight)

    whole = tiff("whole.tif", eight, photometric="rgb", compression="lzw")
    for share in (0.05, 0.3, 0.9):
        save(f"cut{share}.tif", whole[: int(len(whole) * share)])
        refused(f"cut{share}.tif")
    circle = bytearray(tiff("ring.tif", eight, photometric="rgb"))
    directory = struct.unpack_from("<I", circle, 4)[0]
    entries = struct.unpack_from("<H", circle, directory)[0]
    struct.pack_into("<I", circle, directory + 2 + entries * 12, directory)
    save("ring.tif", bytes(circle))
    refused("ring.tif", "form a circle")
    for compression in (None, "lzw", "zlib", "packbits"):
        bomb = bytearray(tiff("bomb.tif", eight[..., 0], photometric="minisblack", compression=compression))
        directory = struct.unpack_from("<I", bomb, 4)[0]
        for entry in range(struct.unpack_from("<H", bomb, directory)[0]):
            place = directory + 2 + entry * 12
            if struct.unpack_from("<H", bomb, place)[0] in (256, 257, 278):
                struct.pack_into("<HII", bomb, place + 2, 4, 1, 60_000)
        save(f"bomb_{compression}.tif", bytes(bomb))
        refused(f"bomb_{compression}.tif", "60000×60000", "1024 MiB")


def as_tifffile_reads(name):
    """The decoder of tifffile is the libjpeg of imagecodecs."""
    values = tifffile.imread(FOLDER / name)
    kept(name, values)


def with_fill_order(content):
    """The file with a directory that calls the first pixel of a byte its lowest bit; Pillow writes none."""
    content = bytearray(content)
    order = "<" if content[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", content, 4)[0]
    entries = struct.unpack_from(order + "H", content, directory)[0]
    places = {
        struct.unpack_from(order + "H", content, directory + 2 + e * 12)[0]: directory + 2 + e * 12
        for e in range(entries)
    }
    known = (256, 257, 258, 259, 262, 273, 277, 278, 279)
    moved = sorted(
        [bytes(content[p : p + 12]) for tag, p in places.items() if tag in known]
        + [struct.pack(order + "HHIHH", 266, 3, 1, 2, 0)],
        key=lambda entry: struct.unpack_from(order + "H", entry)[0],
    )
    new = struct.pack(order + "H", len(moved)) + b"".join(moved) + b"\0\0\0\0"
    struct.pack_into(order + "I", content, 4, len(content))
    return bytes(content) + new


def packed_palette(numbers, bits, colors, order):
    """A TIFF of less than 8 bit, which tifffile does not write: with a palette, or grey."""
    as_bits = (numbers[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = b"".join(np.packbits(row.reshape(-1)).tobytes() for row in as_bits)
    height, width = numbers.shape
    table = b"" if colors is None else np.asarray(colors, np.uint16).astype(order + "u2").tobytes()
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 1 if colors is None else 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    if table:
        entries.append((320, 3, len(table) // 2, 8 + len(data)))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8 + len(data) + len(table))
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        directory += struct.pack(order + "HHI", tag, kind, count) + struct.pack(
            order + ("HH" if short else "I"), *((value, 0) if short else (value,))
        )
    return head + data + table + directory + b"\0\0\0\0"


# WebP and what is no image of a format that is read


def write_others():
    color, four = picture(), picture(4)
    save("lossless.webp", pillow(color, "WEBP", lossless=True))
    kept("lossless.webp", color)
    save("lossless_alpha.webp", pillow(Image.fromarray(four, "RGBA"), "WEBP", lossless=True, exact=True))
    kept("lossless_alpha.webp", over(four[..., :3], four[..., 3] / 255))
    kept("lossless_alpha.webp", four[..., :3], alpha="drop")
    for quality in (5, 50, 80, 100):
        save(f"lossy{quality}.webp", pillow(color, "WEBP", quality=quality))
        as_pillow_reads(f"lossy{quality}.webp", tolerance=WEBP)
    save("lossy_alpha.webp", pillow(Image.fromarray(four, "RGBA"), "WEBP", quality=80, exact=True))
    with Image.open(FOLDER / "lossy_alpha.webp") as image:
        values = np.asarray(image.convert("RGBA"))
    kept("lossy_alpha.webp", over(values[..., :3], values[..., 3] / 255), tolerance=WEBP)
    save("turned.webp", pillow(color, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6)))
    kept("turned.webp", np.rot90(color, -1))
    frames = [Image.fromarray(color), Image.fromarray(255 - color)]
    save("animation.webp", pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    refused("animation.webp", "several frames")

    ftyp = lambda brand: b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand + b"\0" * 40
    for name, content, *words in (
        ("image.gif", pillow(color, "GIF"), "a GIF"),
        ("image.heic", ftyp(b"heic"), "HEIC"),
        ("image.avif", ftyp(b"avif"), "AVIF"),
        ("image.jp2", imagecodecs.jpeg2k_encode(color), "JPEG 2000"),
        ("image.j2k", imagecodecs.jpeg2k_encode(color, codecformat="j2k"), "JPEG 2000"),
        ("image.jxl", imagecodecs.jpegxl_encode(color), "JPEG XL"),
        ("image.psd", b"8BPS\0\1" + b"\0" * 60, "Photoshop"),
        ("image.exr", b"\x76\x2f\x31\x01" + b"\0" * 60, "OpenEXR"),
        ("image.dcm", b"\0" * 128 + b"DICM" + b"\0" * 60, "DICOM"),
        ("image.ppm", pillow(color, "PPM"), "PGM or PPM"),
        ("image.pdf", b"%PDF-1.4\n", "PDF"),
        ("image.zip", b"PK\x03\x04" + b"\0" * 60, "zip archive"),
        ("image.gz", b"\x1f\x8b\x08" + b"\0" * 60, "gzip"),
        ("image.npy", b"\x93NUMPY\1\0" + b"\0" * 60, "NumPy"),
        (
            "pointer.png",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n",
            "git lfs pull",
        ),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "text file"),
        ("text.png", b"hello, world\n", "not a png"),
        ("empty.png", b"", "empty"),
        ("one.png", b"\x89", "not a png"),
        ("head.png", b"\x89PNG\r\n\x1a\n"),
        ("head.jpg", b"\xff\xd8\xff"),
        ("head.webp", b"RIFF\0\0\0\0WEBP"),
        ("head.tif", b"II*\0"),
        ("head.bmp", b"BM"),
    ):
        save(name, content)
        refused(name, *words)


# Of two decoders that follow the format's text: rounding.
WEBP = 0

FOLDER.mkdir(parents=True, exist_ok=True)
write_jpeg()
write_png()
write_bmp()
write_tiff()
write_others()
(FOLDER / "index.json").write_text(json.dumps(INDEX))
