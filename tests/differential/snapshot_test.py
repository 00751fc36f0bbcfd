"""`snapshot` of cowvet beside qemu-img's: see operated.py."""
import re

from operated import INPUTS, PLAIN, Trials
from programs import need, scratch

need("qemu-img", "qemu-io")
WITH_SNAPSHOTS = [name for name in INPUTS if name.startswith("snapshots")]
NO_KEY = "cowvet needs no key for what is not encrypted"


def dateless(text):
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)


with scratch() as folder:
    trials = Trials(folder)
    for name in PLAIN:
        trials.both(name, ["snapshot", "-c", "new", "disk"])
        theirs, ours = trials.both(name, ["snapshot", "-l", "disk"])
        if dateless(theirs.out) != dateless(ours.out):
            trials.complaints.append(f"other list\n{theirs}{ours}")
        trials.both(name, ["snapshot", "-a", "none", "disk"])
        trials.both(name, ["snapshot", "-d", "none", "disk"])
    for name in WITH_SNAPSHOTS:
        for which in ("1", "2", "one", "3", "large", "small", ""):
            trials.both(name, ["snapshot", "-a", which, "disk"])
            trials.both(name, ["snapshot", "-d", which, "disk"])
        for which in ("one", "1", "two words", "", "ä", "n" * 255):
            trials.both(name, ["snapshot", "-c", which, "disk"])
        trials.both(name, ["snapshot", "-c", "n" * 256, "disk"], alone="QEMU cuts the name without saying so")
        trials.both(name, ["snapshot", "-d", "one", "disk"], before=[["qemu-img", "snapshot", "-c", "one", "disk"]])
        trials.both(name, ["snapshot", "-a", "one", "disk"], before=[["qemu-img", "snapshot", "-c", "one", "disk"]])
        for words in (["-U", "-l"], ["-U", "-c", "x"], ["-U", "-d", "one"], ["-l", "-c", "x"], ["-c", "x", "-d", "one"],
                      ["-c", "x", "-c", "y"], ["-q", "-c", "x"], ["--no-such"]):
            trials.both(name, ["snapshot", *words, "disk"])
        trials.both(name, ["snapshot", "-f", "qcow2", "-l", "disk"], alone="-f is there for --external")
        trials.both(name, ["snapshot", "--image-opts", "-c", "x", "driver=qcow2,file.filename=disk"])
        trials.both(name, ["snapshot", "--image-opts", "-l", "driver=qcow2,file.filename=none"])
    for words in ([], ["-l"], ["-c", "x"], ["-l", "disk", "disk"], ["-l", "none"], ["-c", "x", "none"]):
        trials.both("plain", ["snapshot", *words])
    for name in ("luks", "aes"):
        for words in (["-l"], ["-c", "new"]):
            trials.both(name, ["snapshot", *words, "disk"], alone=NO_KEY)
    for words in (["-l"], ["-c", "x"], ["-a", "x"], ["-d", "x"]):
        trials.both("raw", ["snapshot", *words, "disk"])
    trials.both("bitmaps", ["snapshot", "-a", "kept", "disk"], before=[["qemu-img", "snapshot", "-c", "kept", "disk"]],
                alone="QEMU can't go back while there are bitmaps; cowvet marks all in them")
    trials.end(150)
