"""The PNG beside an interactive figure: few colours, so that a page of many figures stays small."""

import io

from PIL import Image, ImageChops, ImageDraw

from k2lib.report.picture import COLOURS, with_palette


def drawn() -> bytes:
    """Lines and shaded areas on white, with the soft edges that a browser gives them."""
    image = Image.new("RGBA", (1440, 740), "white")
    pen = ImageDraw.Draw(image)
    for number, colour in enumerate(("#1f77b4", "#ff7f0e", "#2ca02c")):
        pen.rectangle((100, 100 + 200 * number, 1300, 180 + 200 * number), fill=colour)
        pen.line((0, 60 * number, 1440, 740 - 90 * number), fill="black", width=3)
    found = io.BytesIO()
    image.resize((720, 370), Image.Resampling.LANCZOS).save(found, "png")
    return found.getvalue()


def test_a_picture_with_a_palette_is_smaller_and_looks_alike():
    before, after = drawn(), with_palette(drawn())
    images = [Image.open(io.BytesIO(one)).convert("RGB") for one in (before, after)]
    assert len(after) < len(before) / 2 and len(images[1].getcolors()) <= COLOURS
    differences = ImageChops.difference(*images).get_flattened_data()
    assert sum(max(of_one) > 48 for of_one in differences) < len(differences) / 500


def test_a_picture_that_has_a_palette_stays_as_it_is():
    once = with_palette(drawn())
    assert with_palette(once) == once
