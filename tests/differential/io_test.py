"""Command lines of qemu-io's language, run by qemu-io and by cowvet called through a link of that name, on copies of the same
images.

Same exit code, same output on both channels once times and rates are masked, the same guest content afterwards, and an
image in which `qemu-img check` finds nothing; from -c and from standard input.
"""
import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from programs import LONG, PATIENCE, SECRET, SURROUNDINGS, Said, cowvet_of_turn, need, run, scratch

need("qemu-img", "qemu-io")

complaints = []
compared = {"command lines": 0, "sessions": 0, "contents": 0}

# Times, and what is derived from them.
MASKS = [(re.compile(r"\d+:\d\d:\d\d\.\d\d|\d\d\.\d\d sec"), "TIME"), (re.compile(r"\([^()]*/sec and [^()]* ops/sec\)"), "(RATES)"),
         (re.compile(r"qemu-io: warning: short-form.*\nPlease use.*\n"), ""), (re.compile(r"(\d+,1,TIME),[\d.]+,[\d.]+"), r"\1,RATES")]


def masked(text):
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text



# How each kind of image is made, in its folder, by QEMU's programs.
FILL = [["qemu-io", "-c", "write -q -P 7 0 128k", "-c", "write -q -P 8 300k 5000", "-c", "write -q -z 512k 64k", "disk"]]
IMAGES = {
    "plain": [["qemu-img", "create", "-q", "-f", "qcow2", "disk", "1M"], *FILL],
    "small": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "disk", "1M"], *FILL],
    "odd": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=64k", "disk", "1000000"], *FILL],
    "old": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "disk", "1M"],
            ["qemu-io", "-c", "write -q -P 7 0 128k", "disk"]],
    "subclusters": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "disk", "1M"], *FILL],
    "compressed": [["qemu-img", "create", "-q", "-f", "qcow2", "disk", "1M"],
                   ["qemu-io", "-c", "write -q -c -P 7 0 128k", "-c", "write -q -c -P 9 320k 64k", "disk"]],
    "zstd": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", "disk", "1M"],
             ["qemu-io", "-c", "write -q -c -P 7 0 128k", "disk"]],
    "overlay": [["qemu-img", "create", "-q", "-f", "qcow2", "base", "700k"], ["qemu-io", "-c", "write -q -P 7 0 650k", "base"],
                ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "disk", "1M"],
                ["qemu-io", "-c", "write -q -P 8 64k 70000", "disk"]],
    "snapshots": [["qemu-img", "create", "-q", "-f", "qcow2", "disk", "1M"], *FILL, ["qemu-img", "snapshot", "-c", "s", "disk"]],
    "lazy": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "disk", "1M"], *FILL],
    "split": [["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data", "disk", "1M"], *FILL],
    "locked": [["qemu-img", "create", "-q", *SECRET, "-f", "qcow2", "-o",
                "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "disk", "1M"]],
    "raw": [["qemu-img", "create", "-q", "-f", "raw", "disk", "1M"], ["qemu-io", "-f", "raw", "-c", "write -q -P 7 0 128k", "disk"]],
}


def opened(kind):
    """The words that open an image of a kind."""
    if kind == "locked":
        return [*SECRET, "--image-opts", "driver=qcow2,file.filename=disk,encrypt.key-secret=key"]
    return ["-f", "raw", "disk"] if kind == "raw" else ["disk"]


# Command lines that say what is wrong with them, or only look. Any number of them can follow each other.
LOOKS = """
read 0 512|read -C 0 512|read -v 0 32|read -v 100 300|read -q 0 512|read -vq 5 37|read -P 7 0 64k|read -P 8 0 64k|read -P 7 100k 100k
read -P 0x7 0 4k|read -P 256 0 4k|read -P x 0 4k|read -P -1 0 4k|read -P 7 -s 512 -l 512 0 4k|read -P 7 -s 512 -l 8k 0 4k
read -P 7 -s 4k 0 4k|read -P 7 -s 8k 0 4k|read -P 0 -s 127k -l 2k 0 200k|read -P 7 -l 128k 0 200k|read -P 7 -l 131073 0 200k
read -s 512 0 4k|read -l 512 0 4k|read -P 7 -l 0 0 4k|read|read 0|read 0 1 2|read x 1|read 0 x|read -1 1|read 0 -1|read 0 0
read 2M 512|read 2M 0|read 1048575 2|read 0 3G|read 0 2147483648|read 0 9E|read 0 99999999999999999999
read 0 1.5k|read 0 0x200|read -a 0 512|read -b 0 512|read -b 3M 1k|read -b 1 512|read -b 0 5|read -p 0 512|read -k 0 512
read --foo 0 512|read -- 0 512|read 0 -q 512|read -P 7 7 512 -v|read "0" 512|read '0' 512|bogus|bogus 1 2||   read   0   512  
read 0 512 # x|"read" 0 512|# x|read -- -1 1|read -- 0 -1|read 0 1.3|read 0 1.3k|read 0 1b|read 0 1B|read 0 1kk|read 0 1e3|read 0 1.
read 0 .5k|read 0 0X10|read 0 010|read 0 +5|read 0 k|read 0 0.1|read 0 1.5b|read 0 1.0|read 0 7E|read 8E 1|read 7.9E 1|read 0 inf
read 0 1K|read 9223372036854775807 1|read 9223372036854775808 1|read -P 010 0 1|read -P 0x07 7 1|read -P +7 7 1|read -P 7k 7 1
read -P 7 -s x 0 512|read -P 7 -l x 0 512|read -P 7 -l 3G 0 512|read -P|read -q|read 0 5 -P|read -qP|read -P 0 5|read -P x -k 0 5
read -k -P x 0 5|read -P 0x 0 5|read -P 08 0 5|read -P 5 x|r 0 512|read -Pv 0 5|read -P7 0 5|read -qP7 0 5|read -P 7 -P 8 0 5
read - 0 512|read 0 512 -|read -v -P 8 0 20|read -C -P 8 0 20|read -vC 0 20
readv 0 512 512|readv -P 7 0 512 512|readv -P 8 0 512 512|readv -v 0 5 6|readv -C 0 512 512|readv -q 0 512 512|readv 0|readv x 512
readv 0 x|readv 0 512 x|readv 2M 512|readv 0 0|readv 0 512 0|readv 0 3G|readv 0 2G|readv 0 1G 1G|readv 0 100 100|readv -b 0 512
readv -P x 0 5|readv -s 5 0 5|readv 0 1 2 3 4 5 6 7 8 9
aio_read 0 512|aio_flush|aio_read -q 0 512|aio_flush|aio_read -C 0 512 512|aio_flush|aio_read -v 0 20|aio_flush|aio_read -P 8 0 512
aio_flush|aio_read -i 0 512|aio_read -i x|aio_read 2M 512|aio_flush|aio_read x 5|aio_read 0 x|aio_read 0 5 -P|aio_read -P 300 0 5
aio_read|aio_read 0|aio_flush 1|aio_read -z 0 5
flush|flush 1|f|length|length 1|l|info|info 1|i|map|map 1|alloc 0|alloc 0 1|alloc 0 128k|alloc 0 1M|alloc 64k 128k|alloc 200k 64k
alloc 2M|alloc 2M 1|alloc 3 5|alloc 100 1000|alloc x|alloc 0 x|alloc 0 3G|alloc 0 0|alloc -- -1|alloc|alloc 1 2 3|a 0|alloc 990000
sleep 1|sleep x|sleep|sleep -1|sleep 1 2|sigraise 0|sigraise x|sigraise|sigraise 99|sigraise 1 2|abort 1|help|help 1 2|help nocmd
?|? 1|h|m|s|st|rv 0 512|open disk|open|open -r disk|open -x|open a b|open -t foo disk|open -d foo disk
open -i foo disk|o|reopen|reopen -r -w|reopen -c foo|reopen -o foo=on|reopen -o driver=foo|reopen 5|reopen -x|close 1|c 1
break|break a|break a b|break l2_load b|resume a|resume|remove_break a|remove_break|wait_break
truncate|truncate x|truncate 9E|truncate -m foo 2M|truncate -m|truncate 1 2 3 4|truncate -x 5|truncate 3M -m
write|write 0|write 2M 1|write 0 2M|write -P 300 0 1|write -u 0 64k|write -z -u -P 3 0 64k|write -n 0 64k|write -c 100 64k
write -bz 0 64k|write -bf 0 64k|write -cf 0 64k|write -b 100 512|write -s nofile 0 4k|write -s /dev/null 0 4k|write -c 0 100
write -s short -P 3 0 4k|write -s short -z 0 4k|write -k 0 5|write x 1|write 0 x|write 0 3G|write 0 1 2|write -bz 0|write -u 0|write -s
write -P x -z 0 5|write -zc 1 512|write -c -s nofile 1 512|write -zn 0 3G|write 7.9E 1|write -s folder 0 5
writev 0 x|writev 0|writev 2M 512|writev -z 0 512|writev 0 3G|writev -P x 0 5|writev -s short 0 5|writev
aio_write -z 0 64k 64k|aio_write -u 0 64k|aio_write 2M 512|aio_flush|aio_write|aio_write 0|aio_write 0 x|aio_write -P x 0 5
aio_write -i 0 512|aio_write -c 0 64k|aio_write x 512
discard 0 2M|discard 2M 1|discard 0 3G|discard x 1|discard 0 x|discard 0|discard -k 0 5|discard 0 5 6|discard 7.9E 1
"""

# Sessions that change something: each on a fresh copy. Command lines are parted by '|'.
CHANGES = """
write 0 512|read -P 0xcd 0 512|read -P 7 512 4k
write -P 3 1000 3|read -v 992 32
write -C 0 512|write -q 0 512|w 5 5
write 0 0|write 1000000 0|write -z 0 0|discard 0 0|aio_write 0 0|aio_flush|writev 0 0
write -z 0 64k|read -P 0 0 64k|map
write -zu 0 64k|read -P 0 0 64k|map|alloc 0 1M
write -z 100 1000|read -P 7 0 100|read -P 0 100 1000|read -P 7 1100 2000
write -z 60k 300k|read -P 0 60k 300k|read -P 7 0 60k
write -zu 60k 300k|read -P 0 60k 300k
write -z 0 983040|read -P 0 0 983040|write 975k 700
write -zn 5 10|read -v 0 16
write -zn 5 100000
write -zn 704k 64k|read -P 0 704k 64k
write -zn 0 64k|read -P 0 0 64k
write -f 0 64k|write -fz 0 64k|writev -f 64k 64k|aio_write -f 0 512|aio_flush
write -s short 0 4k|read -v 0 64|read -v 4080 16
write -s short 3 10|read -v 0 32
write -s long 0 600k|read -v 599k 32
write -s long 100 50|read -v 100 50
write -P 1 65000 2000|read -P 1 65000 2000|read -P 7 64000 1000
write -P 1 0 999k|read -P 1 0 999k|map
write -P 2 700k 1|read -v 716796 8|map
write -P 2 131071 2|read -v 131064 16
writev 0 512 512|writev -P 4 1k 512 512|writev 5k 1 2 3|read -v 5110 24
writev -q 0 512|writev -C 0 512
write -b 0 64k|write -b -P 3 1M 1M|read -b -P 3 1M 1M|read -b -P 0xcd 0 64k|read -b 64k 64k|map
write -bq 512 1k|read -b -v 0 32
write -b -c 0 64k
aio_write 0 512|aio_flush|aio_write -z 64k 64k|aio_flush|aio_write -P 3 0 64k 5|aio_flush|read -P 3 0 65541
aio_write -zu 0 64k|aio_flush|map
aio_write -z -P 3 0 64k|aio_flush|read -P 0 0 64k
aio_write -C 0 512|aio_flush|aio_write -q 0 512|aio_flush
aio_write -P 1 0 4k|aio_flush|aio_write -P 2 4k 4k|aio_flush|aio_read -P 1 0 4k|aio_flush|read -P 2 4k 4k
aio_write -P 9 0 512|quit|read 0 512
aio_write -P 9 0 512|close|length
discard 0 64k|map|read 0 64k|alloc 0 1M
discard 100 1|discard -C 0 64k|discard -q 64k 64k|map
discard 10k 200k|map
discard 0 999936|map|read 0 999936
discard 512k 64k|map|d 300k 8k|map
truncate 2M|length|map|read -P 0 1M 1M
truncate 512k|length|map
truncate 512k|truncate 1M|length|read -P 0 512k 512k
truncate 3|truncate 100|length
truncate 1048064|length
truncate 1M|t 2M|truncate 0|length|map|read 0 0
truncate -m off 2M|length
truncate -m falloc 2M|length
truncate -m full 2M|length|read -P 0 1M 1M
truncate 5G|length|map|write 4G 64k|read -P 0xcd 4G 64k
write -P 1 0 64k|flush|write -P 2 0 64k|flush|f|read -P 2 0 64k
reopen -r|write 0 512|write -z 0 512|discard 0 512|truncate 2M|aio_write 0 512|writev 0 5|read -P 7 0 512|reopen -w|write 0 512
reopen -r|reopen -r|reopen -w|reopen -w|write 5 5
reopen -c writethrough|write 0 512|reopen -c none|write 0 512
reopen -o detect-zeroes=on|write 0 512
close|read 0 512|length|close|flush|read|bogus|help 1 2
bogus|write -P 5 0 5|read 2M 1|read -P 5 0 5|quit|bogus
quit 1 2 3|length
q|length
write -P 1 0 64k|write -P 0 0 64k|write -z 32k 64k|write -P 2 40k 10|read -v 40955 20|discard 0 128k|write -P 3 10 10|read -v 0 32
write -P 5 300k 5000|write -P 6 305k 100|write -z 301k 1k|read -P 0 301k 1k|read -P 6 305k 100
"""

# Where the two differ, and why that is right: cowvet refuses VM state beside an external data file, since no snapshot could
# hold it; zeroes parts of clusters that read as zeroes already, which qemu-io does in some images only; and what it preallocates
# in an encrypted image reads as zeroes, as it was.
DIFFER = {("split", "write -b"), ("old", "write -zn"), ("locked", "write -zn"), ("locked", "truncate -m falloc"), ("locked", "truncate -m full")}

# Compressed clusters: where nothing lies yet, since qemu-io can't replace any.
COMPRESSED = """
write -c 640k 64k|read -P 0xcd 640k 64k|map
write -c -P 3 640k 128k|read -P 3 640k 128k|write -P 4 641k 5|read -P 3 704k 64k|read -v 656380 10
write -c -s long 640k 64k|read -v 640k 32
write -c 640k 33k|write -c 800k 512|write -c 641k 64k|write -c 2M 64k
write -cz 640k 64k|map
write -c 640k 64k|write -z 640k 64k|read -P 0 640k 64k
write -c 640k 64k|discard 640k 64k|map
write -Cc 640k 64k|write -qc 768k 64k
"""

# How the program is called: words, and what comes in on standard input.
CALLS = [
    (["-c", "length"], None), (["nofile"], None), (["-f", "raw", "-c", "length", "disk"], None),
    (["-t", "foo", "disk"], None), (["-d", "foo", "disk"], None), (["-i", "foo", "disk"], None), (["-n", "-c", "length", "disk"], None),
    (["-C", "-c", "read 0 512", "disk"], None), (["-m", "-c", "read 0 512", "disk"], None), (["-c", "", "disk"], None),
    (["--cmd", "length", "--read-only", "--format=qcow2", "disk"], None), (["-c", "write 0 1", "-c", "quit", "-c", "length", "disk"], None),
    (["--image-opts", "-c", "length", "driver=qcow2,file.filename=disk"], None),
    (["--image-opts", "-c", "length", "driver=qcow2,file.filename=disk,lazy-refcounts=on"], None),
    (["--image-opts", "-c", "length", "file.filename=disk"], None),
    (["--image-opts", "-f", "raw", "-c", "length", "driver=qcow2,file.filename=disk"], None),
    (["-f", "qcow2", "-c", "length", "short"], None),
    (["-c", "open -r disk", "-c", "write 0 512", "-c", "close", "-c", "open disk", "-c", "write 0 5"], None),
    (["-c", "open nofile", "-c", "write 0 512"], None), (["-c", "open -o driver=raw disk", "-c", "length"], None),
    (["-c", "open -o driver=qcow2,file.filename=disk", "-c", "length"], None), (["-c", "open -s disk", "-c", "write 0 512"], None),
    (["-c", "open -rn -t none -d unmap disk", "-c", "length", "-c", "map"], None),
    (["-s", "-c", "write -P 5 0 512", "-c", "read -P 5 0 512", "-c", "read -P 7 512 4k", "-c", "map", "-c", "length", "disk"], None),
    (["-d", "ignore", "-c", "discard 0 64k", "-c", "read -P 7 0 64k", "-c", "write -zu 0 64k", "-c", "map", "disk"], None),
    (["-d", "unmap", "-c", "discard 0 64k", "-c", "map", "disk"], None), (["-U", "-r", "-c", "length", "disk"], None),
    (["-t", "writethrough", "-c", "write 0 512", "-c", "read 0 512", "disk"], None),
    (["-t", "unsafe", "-c", "write 0 512", "-c", "flush", "disk"], None),
    (["-T", "enable=x*", "-c", "length", "disk"], None),
    (["-r", "-c", "write", "-c", "write x", "-c", "write x x", "-c", "truncate 5", "-c", "flush", "-c", "aio_flush", "disk"], None),
    (["disk"], "read 0 512\nbogus\n\nlength\nread 5M 1\nmap"), ([], "length\n"), (["disk"], "length\nquit\nlength\n"), (["disk"], ""),
    (["disk"], "   # x\nread 0 512 \\\n\tlength\nlength\t\nlength;length\n"), (["disk"], "aio_read 0 512\naio_flush\nlength\n"),
    ([], "open disk\nwrite -P 5 0 512\nread -P 5 0 512\nclose\nlength\n"),
    (["-r", "disk"], "write 0 5\nreopen -w\nwrite 0 5\n"),
    (["disk"], "write -P 9 0 5\r\nlength\n"), (["disk"], "sigraise 15\nlength\n"), (["-c", "write 0 5", "-c", "sigraise 9", "disk"], None),
]


class Bench:
    """A folder for each program, in which every image is a fresh copy of one that was made once."""

    def __init__(self, folder):
        self.made = Path(folder, "made")
        self.folders = {"theirs": Path(folder, "theirs"), "ours": Path(folder, "ours")}
        self.links = Path(folder, "links")
        for kind, commands in IMAGES.items():
            where = self.made / kind
            where.mkdir(parents=True)
            (where / "folder").mkdir()
            (where / "short").write_bytes(b"abc")
            (where / "long").write_bytes(bytes(i * 7 % 256 for i in range(1 << 18)))
            for command in commands:
                words = [*command[:-1], *opened(kind)] if command[0] == "qemu-io" and command[-1] == "disk" else command
                said = run(words, where)
                assert said.code == 0, said

    def program(self, who):
        """qemu-io itself, or a link of that name to the cowvet whose turn it is."""
        if who == "theirs":
            return shutil.which("qemu-io")
        cowvet = Path(cowvet_of_turn())
        link = self.links / cowvet.parent.parent.name / "qemu-io"
        if not link.is_symlink():
            link.parent.mkdir(parents=True)
            link.symlink_to(cowvet)
        return link

    def session(self, kind, words, typed=None):
        """Runs both; the same words, the same file names."""
        said, running = {}, {}
        for who, folder in self.folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.made / kind, folder)
            running[who] = subprocess.Popen([self.program(who), *words], cwd=folder, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=SURROUNDINGS)
        for who, process in running.items():
            out, err = (text.decode(errors="replace") for text in process.communicate((typed or "").encode(), PATIENCE))
            said[who] = Said(["qemu-io", *words], process.returncode, masked(out), masked(err))
        theirs, ours = said["theirs"], said["ours"]
        compared["sessions"] += 1
        if (theirs.code, theirs.out, theirs.err) != (ours.code, ours.out, ours.err):
            told = [f"exit {one.code}\n{one.out}{one.err}".splitlines() for one in (theirs, ours)]
            asked = " ".join(words) if len(words) < 50 else f"{len(words)} words"
            complaints.append("\n".join([f"{kind}: {asked}", *difflib.unified_diff(*told, "qemu-io", "cowvet", lineterm="", n=1)]))

    def content(self, kind, words):
        """Whether the guest's bytes that both left are the same, and the image is sound."""
        compared["contents"] += 1
        names = [str(folder / "disk") for folder in self.folders.values()]
        here = self.folders["ours"]
        if kind == "split":  # the data file is named relative to where the program runs
            for folder in self.folders.values():
                run(["qemu-img", "convert", "-O", "raw", "disk", "flat"], folder)
            names = [str(folder / "flat") for folder in self.folders.values()]
        if kind == "locked":
            names = [f"driver=qcow2,file.filename={name},encrypt.key-secret=key" for name in names]
        flat = kind in ("raw", "split")
        same = not flat or Path(names[0]).stat().st_size == Path(names[1]).stat().st_size
        formats = ["-f", "raw", "-F", "raw"] if flat else opened(kind)[:-1]
        if not same or run(["qemu-img", "compare", *formats, *names], here).code != 0:
            complaints.append(f"{kind}: another content after {words}")
        if kind != "raw" and (said := run(["qemu-img", "check", *opened(kind)], here)).code != 0:
            complaints.append(f"{kind}: after {words}:\n{said}")


def lines(text):
    return [one.split("|") for one in text.strip("\n").split("\n")]


def given(commands):
    compared["command lines"] += len(commands)
    return [word for command in commands for word in ("-c", command)]


with scratch() as folder:
    bench = Bench(folder)
    looks = [command for line in lines(LOOKS) for command in line]
    for number, kind in enumerate(IMAGES):
        bench.session(kind, [*given(looks), *opened(kind)])
        compared["command lines"] += len(looks)
        bench.session(kind, opened(kind), "\n".join(looks))
        sessions = lines(CHANGES) + (lines(COMPRESSED) if kind in ("plain", "odd", "old", "snapshots", "lazy") else [])
        # All of them with the kinds that differ most; of the others every third, another one each time.
        thin = not LONG and kind not in ("plain", "subclusters", "overlay", "raw")
        for commands in sessions[number % 3::3] if thin else sessions:
            if any(kind == one and commands[0].startswith(start) for one, start in DIFFER):
                continue
            bench.session(kind, [*given(commands), *opened(kind)])
            bench.content(kind, commands)
    for words, typed in CALLS:
        compared["command lines"] += words.count("-c") + (typed or "").count("\n")
        bench.session("plain", words, typed)
        bench.content("plain", words)
    # The longest read of all: qemu-io fills its 2 GiB first, which takes it nine seconds of some virtual machines' time.
    bench.session("plain", [*given(["read 0 2147483136"]), *opened("plain")])

print(", ".join(f"{count} {name}" for name, count in compared.items()))
for complaint in complaints[:int(os.environ.get("COWVET_COMPLAINTS", "20"))]:
    print(complaint)
if complaints or compared["command lines"] < 1000:
    sys.exit(f"{len(complaints)} differences")
