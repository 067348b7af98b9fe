"""ffmpeg: encodes a generated film with sound by several threads, decodes, scales and hashes it."""

COMMANDS = ("ffmpeg",)
PACKAGES = ("ffmpeg",)
QUICK = False
TIMEOUT = 120

# The encoders' results depend on the number of threads, so it is fixed. The picture's sides are multiples of 16: with
# others x264 reads memory that it has not written, and the film depends on what was in it (seen with MALLOC_PERTURB_).
QUIET = ("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-threads", "3", "-filter_threads", "2")
EXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact")


def run(box):
    box.run(*QUIET, "-f", "lavfi", "-i", "testsrc2=size=512x288:rate=25:duration=6",
            "-f", "lavfi", "-i", "sine=frequency=440:duration=6",
            "-c:v", "libx264", "-preset", "veryfast", "-threads:v", "3", "-c:a", "aac", *EXACT, "film.mkv")
    box.run(*QUIET, "-i", "film.mkv", "-f", "framemd5", *EXACT, "-")
    box.run(*QUIET, "-i", "film.mkv", "-vf", "scale=160:90,hflip,gblur=2", "-c:v", "mpeg4", "-q:v", "4", "-an", *EXACT, "small.avi")
    box.run(*QUIET, "-i", "small.avi", "-vf", "fps=2", *EXACT, "frame%02d.png")
    box.record_files("film.mkv")
    box.record_files("small.avi")
    box.record_files("frame*.png")
