"""`bitmap` of cowvet beside qemu-img's: see operated.py."""
import itertools

from operated import LUKS, PLAIN, Trials, options
from programs import need, scratch

need("qemu-img", "qemu-io")
ACTIONS = ["--add", "--remove", "--clear", "--enable", "--disable", "--merge fine", "--merge coarse", "--merge none"]

with scratch() as folder:
    trials = Trials(folder)
    for name in PLAIN:
        trials.both(name, ["bitmap", "--add", "disk", "new"])
    # Every two steps, for a bitmap that is there, one that is not, and one that is merged with itself.
    for steps in itertools.chain(itertools.product(ACTIONS), itertools.product(ACTIONS, ACTIONS)):
        for which in ("usual", "new"):
            trials.both("bitmaps", ["bitmap", *(word for step in steps for word in step.split()), "disk", which])
    trials.both("bitmaps", ["bitmap", "--merge", "fine", "disk", "fine"])
    trials.both("bitmaps", ["bitmap", "--add", "--disable", "--merge", "usual", "--merge", "fine", "--enable", "disk", "all"])
    for size in ("0", "256", "511", "512", "4k", "1M", "1.5M", "2G", "4G", "x", "-1", ""):
        trials.both("bitmaps", ["bitmap", "--add", "-g", size, "disk", "new"])
        trials.both("tiny-clusters", ["bitmap", "--add", "-g", size, "disk", "new"])
    trials.both("bitmaps", ["bitmap", "-g", "64k", "--remove", "disk", "usual"])
    for which in ("", "n" * 1023, "n" * 1024, "two words", "ä"):
        trials.both("bitmaps", ["bitmap", "--add", "disk", which])
    for words in ([], ["disk", "new"], ["--add", "disk"], ["--add"], ["--add", "disk", "new", "more"], ["--add", "none", "new"],
                  ["-f", "qcow2", "--add", "disk", "new"], ["-f", "raw", "--add", "disk", "new"],
                  ["--image-opts", "--add", "driver=qcow2,file.filename=disk", "new"],
                  ["--image-opts", "-f", "qcow2", "--add", "driver=qcow2,file.filename=disk", "new"], ["--no-such", "disk", "new"]):
        trials.both("bitmaps", ["bitmap", *words])
    other = {"other": "bitmaps", "empty": "empty", "flat": "raw"}
    for words in (["-b", "other", "-F", "qcow2", "--merge", "fine"], ["-b", "other", "--merge", "fine"],
                  ["-b", "other", "--add", "--merge", "coarse", "--clear", "--merge", "usual"], ["-b", "other", "--add"],
                  ["-F", "qcow2", "--merge", "fine"], ["-b", "other", "-F", "raw", "--merge", "fine"],
                  ["-b", "none", "-F", "qcow2", "--merge", "fine"], ["-b", "empty", "-F", "qcow2", "--merge", "fine"],
                  ["-b", "flat", "-F", "raw", "--merge", "fine"], ["-b", "disk", "-F", "qcow2", "--merge", "fine"]):
        for which in ("usual", "new"):
            trials.both("bitmaps", ["bitmap", *words, "disk", which], put=other)
    trials.both("bitmaps", ["bitmap", "-b", "other", "-F", "qcow2", "--merge", "fine", "disk", "usual"], put=other,
                before=[["qemu-img", "resize", "other", "5M"]])
    trials.both("raw", ["bitmap", "-f", "raw", "--add", "disk", "new"])
    trials.both("luks", ["bitmap", *LUKS, "--add", "disk", "new"], alone="cowvet needs no key for what is not encrypted")
    trials.both("luks", ["bitmap", "--add", *options("luks"), "new"])
    trials.end(180)
