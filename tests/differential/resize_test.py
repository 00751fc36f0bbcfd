"""`resize` of cowvet beside qemu-img's: see operated.py."""
from operated import LUKS, PLAIN, Trials, options
from programs import need, scratch

need("qemu-img", "qemu-io")

with scratch() as folder:
    trials = Trials(folder)
    for name in PLAIN:
        for words in (["disk", "9M"], ["--shrink", "disk", "1M"], ["disk", "1M"], ["--shrink", "disk", "300k"],
                      ["disk", "+512"], ["--preallocation=metadata", "disk", "6M"]):
            trials.both(name, ["resize", *words])
    for name in ("plain", "subclusters", "overlay", "data-file", "tiny-clusters", "version-2"):
        for mode in ("off", "metadata", "falloc", "full"):
            trials.both(name, ["resize", f"--preallocation={mode}", "disk", "+2M"])
            trials.both(name, ["resize", f"--preallocation={mode}", "--shrink", "disk", "-2M"])
    for size in ("0", "+0", "-0", "-1M", "-4M", "-5M", "100", "+100", "4M", "x", "", "++1M", "+-1", "4.5M", "4MB", "0x500000",
                 "1E", "7E", "8E", "16E", "3m", "+1k", "9", "5000000"):
        for words in ([], ["--shrink"], ["-q"]):
            trials.both("plain", ["resize", *words, "disk", size],
                        alone="a sign in front of the sign" if size == "++1M" else None)
        if size != "++1M":
            trials.both("raw", ["resize", "-f", "raw", "--shrink", "disk", size])
    for mode in ("off", "metadata", "falloc", "full", "some"):
        for size in ("+1M", "4M", "1M"):
            trials.both("raw", ["resize", "-f", "raw", f"--preallocation={mode}", "disk", size])
    # A file that ends within a sector.
    for size in ("+1.5k", "+0", "-100", "3000", "5M"):
        trials.both("raw", ["resize", "-f", "raw", "--shrink", "disk", size],
                    before=[["qemu-img", "resize", "-q", "--shrink", "-f", "raw", "disk", "2000000"]])
    for words in ([], ["disk"], ["1M"], ["disk", "1M", "1M"], ["none", "1M"], ["-f", "raw", "none", "1M"],
                  ["-f", "qcow2", "disk", "5M"], ["--no-such", "disk", "5M"], ["--preallocation=some", "disk", "5M"],
                  ["--image-opts", "driver=qcow2,file.filename=disk", "5M"],
                  ["--image-opts", "-f", "qcow2", "driver=qcow2,file.filename=disk", "5M"], ["disk", "--", "-1M"],
                  ["--shrink", "disk", "--", "-1M"]):
        trials.both("plain", ["resize", *words])
    trials.both("raw", ["resize", "-f", "qcow2", "disk", "5M"])
    trials.both("luks", ["resize", *options("luks"), "6M"])
    trials.both("luks", ["resize", *LUKS, "disk", "6M"], alone="cowvet needs no key for what is not encrypted")
    trials.both("aes", ["resize", *options("aes"), "6M"])
    trials.end(250)
