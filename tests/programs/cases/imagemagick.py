"""imagemagick: large pictures made, blurred, turned and distorted by several threads, in several formats."""

COMMANDS = ("convert", "compare", "identify")
PACKAGES = ("imagemagick",)
QUICK = False
TIMEOUT = 90

# A picture is compared by the hash of its pixels: PNG files carry the time at which they were made.
PIXELS = ("-format", "%# %wx%h %k\\n")


def run(box):
    box.run("convert", "-size", "400x300", "gradient:navy-gold", "-swirl", "200", "-wave", "9x80", "a.png")
    box.run("convert", "a.png", "-resize", "300%", "-gaussian-blur", "0x2", "-rotate", "33", "b.png")
    box.run("convert", "b.png", "-distort", "Arc", "60", "-quantize", "Lab", "-colors", "200", "c.gif")
    box.run("convert", "a.png", "(", "+clone", "-negate", "-flip", ")", "-compose", "multiply", "-composite", "-quality", "80", "d.jpg")
    box.run("convert", *["a.png"] * 12, "-resize", "150x", "+append", "-paint", "2", "e.tiff")
    for picture in "a.png", "b.png", "c.gif", "d.jpg", "e.tiff":
        box.run("identify", *PIXELS, picture)
    box.run("compare", "-metric", "RMSE", "a.png", "d.jpg", "null:", status=1)
