"""`amend` of cowvet beside qemu-img's, the passwords of encrypted images included: see operated.py."""
from operated import LUKS, PLAIN, Trials, options
from programs import need, run, scratch

need("qemu-img", "qemu-io")
# Another width takes QEMU a second with 64 KiB clusters, and minutes with large ones.
RECOUNTED = ("plain", "version-2", "tiny-clusters", "wide-refcounts", "snapshots")
NO_KEY = "cowvet needs no key for what is not encrypted"

# What both do, or refuse, with any image.
COMMON = ["compat=0.10", "compat=1.1", "compat=v2", "compat=v3,lazy_refcounts=on", "lazy_refcounts=on", "lazy_refcounts=off",
          "refcount_bits=64", "refcount_bits=16", "compat=0.10,refcount_bits=16", "compat=1.1,refcount_bits=8,size=6M",
          "size=2M", "size=6M", "data_file_raw=off", "data_file_raw=on"]
# What is refused for what it says.
REFUSED = ["compat=0.9", "compat=", "lazy_refcounts=perhaps", "refcount_bits=3", "refcount_bits=128", "refcount_bits=0",
           "refcount_bits=x", "size=x", "size=1000", "size=9E", "cluster_size=64k", "cluster_size=4k", "preallocation=off",
           "preallocation=metadata", "encryption=off", "encrypt.format=luks", "encrypt.cipher-alg=aes-128",
           "encrypt.key-secret=key", "compression_type=zlib", "compression_type=zstd", "extended_l2=on", "data_file=other",
           "backing_file=other", "backing_file=", "backing_fmt=raw", "backing_fmt=", "no=such", "encrypt.state=active",
           "encrypt.iter-time=10", "compat=0.10,lazy_refcounts=on", ""]
KEYS = ["state=active", "state=inactive", "state=asleep", "new-secret=other", "old-secret=key", "keyslot=1", "iter-time=10",
        "state=active,new-secret=other,iter-time=10", "state=active,new-secret=other,iter-time=10,keyslot=6",
        "state=active,new-secret=other,iter-time=10,keyslot=0", "state=active,new-secret=other,iter-time=10,keyslot=8",
        "state=active,new-secret=none,iter-time=10", "state=active,new-secret=other,old-secret=key,iter-time=10",
        "state=active,new-secret=other,iter-time=x", "state=inactive,new-secret=other", "state=inactive,keyslot=0",
        "state=inactive,keyslot=1", "state=inactive,keyslot=3", "state=inactive,keyslot=9", "state=inactive,old-secret=key",
        "state=inactive,old-secret=other", "state=inactive,old-secret=third", "state=inactive,keyslot=0,old-secret=key",
        "state=inactive,keyslot=1,old-secret=key", "state=inactive,keyslot=0,iter-time=10", "format=luks"]


def keys(text):
    return ",".join(f"encrypt.{word}" for word in text.split(","))


def amend(trials, name, text, *words, **more):
    return trials.both(name, ["amend", "-o", text, *words, *options(name)], **more)


def why(name, text):
    if "compat=0.10" in text or "compat=v2" in text:
        if name == "bitmaps":
            return "QEMU leaves the bitmaps behind as leaks"
    return None


def opens(trials, story, password, expected):
    """Whether QEMU opens what cowvet left with a password."""
    said = run(["qemu-io", "--object", f"secret,id=key,data={password}", "--image-opts",
                "driver=qcow2,file.filename=disk,encrypt.key-secret=key", "-c", "read -P 0 0 4M"], trials.folders[1])
    if (said.code == 0) != expected or "verification failed" in said.out:
        trials.complaints.append(f"{story}{said}{password} should {'' if expected else 'not '}open it")


with scratch() as folder:
    trials = Trials(folder)
    for name in PLAIN:
        for text in COMMON:
            if "refcount_bits" in text and name not in RECOUNTED:
                continue
            amend(trials, name, text, alone=why(name, text))
    for text in REFUSED:
        amend(trials, "plain", text)
        amend(trials, "version-2", text)
    for text in ("backing_file=base,backing_fmt=raw", "backing_file=base", "backing_fmt=raw", "backing_fmt=qcow2",
                 "backing_file="):
        amend(trials, "overlay", text)
    for name in ("data-file", "raw-data-file"):
        amend(trials, name, "data_file=other", before=[["cp", "data", "other"]])
        amend(trials, name, "size=6M,data_file=other", before=[["cp", "data", "other"]])
    for words in ([], ["-o", "help"], ["-f", "qcow2", "-o", "help"], ["-o", "help", "disk"], ["-f", "raw", "-o", "help"],
                  ["disk"], ["-o", "size=6M"], ["-o", "size=6M", "none"], ["-f", "raw", "-o", "size=6M", "disk"],
                  ["-q", "-p", "-t", "none", "-f", "qcow2", "-o", "size=6M", "disk"], ["-t", "some", "-o", "size=6M", "disk"],
                  ["-o", "lazy_refcounts", "disk"], ["-o", "size=5M", "-o", "size=6M", "disk"], ["-o", "size=6M", "disk", "disk"],
                  ["--image-opts", "-o", "size=6M", "driver=qcow2,file.filename=disk"], ["--no-such", "-o", "size=6M", "disk"]):
        trials.both("plain", ["amend", *words], same_output="-p" not in words)
    trials.both("raw", ["amend", "-f", "raw", "-o", "size=6M", "disk"])

    for text in KEYS:
        amend(trials, "luks-two", keys(text))
        if "state=inactive" in text:
            amend(trials, "luks", keys(text))
    for text, first, second in (("state=active,new-secret=other,iter-time=10,keyslot=0", False, True),
                                ("state=active,new-secret=third,iter-time=10,keyslot=1", True, False),
                                ("state=inactive,keyslot=3", True, True), ("state=inactive,old-secret=key", False, True),
                                ("state=inactive,old-secret=third", True, True)):
        theirs, ours = amend(trials, "luks-two", keys(text), "--force")
        opens(trials, f"{ours}", "correct-horse", first)
        opens(trials, f"{ours}", "battery", second or "keyslot=0" in text)
    theirs, ours = amend(trials, "luks", keys("state=inactive,keyslot=0"), "--force", sound=False)
    opens(trials, f"{ours}", "correct-horse", False)
    amend(trials, "luks-full", keys("state=active,new-secret=third,iter-time=10"))
    amend(trials, "aes", keys("state=active,new-secret=other,iter-time=10"))
    for text in ("lazy_refcounts=on", "refcount_bits=32", "compat=0.10"):
        amend(trials, "luks", text)
        amend(trials, "aes", text)
        trials.both("luks", ["amend", *LUKS, "-o", text, "disk"], alone=NO_KEY)
    trials.end(320)
