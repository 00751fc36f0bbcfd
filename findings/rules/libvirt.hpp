// Area 19, libvirt: what libvirt's XML says of disks and snapshots against what the files are. Raised by
// `chain --libvirt` only; the images themselves are judged by the other areas.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule libvirt[] = {
    {.code = 1901, .name = "libvirt/unreadable"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the XML can't be read"sv,
     .explanation =
         "The file is well-formed XML of at most 4 MiB whose root is domain, domstatus or domainsnapshot, "
         "with a name. libvirt passes over what it can't read, with a line in its log."sv,
     .consequence =
         "What the file said of disks and snapshots is unknown to libvirt and to this check."sv,
     .advice =
         "Mend the file or put a copy back; libvirt must not run meanwhile."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1902, .name = "libvirt/duplicate-name"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "two descriptions of one virtual machine have the same name"sv,
     .explanation =
         "The name of a snapshot is unique within its virtual machine, and each machine is described once. "
         "libvirt takes the first file that it meets and passes over the others."sv,
     .consequence =
         "Which of the two counts depends on the order of files in a folder."sv,
     .advice =
         "Compare both with the images, and take the wrong one away."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1903, .name = "libvirt/parent-unknown"sv,
     .severity = Severity::error, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a snapshot's parent is not described"sv,
     .explanation =
         "Each snapshot names the one that it was made after. When that one is not there, libvirt takes the "
         "snapshot for a root."sv,
     .consequence =
         "Where the snapshot belongs is unknown; deleting or reverting may choose the wrong files."sv,
     .advice =
         "Put the parent's XML back, or give the folder that holds all snapshots."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1904, .name = "libvirt/parent-circle"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the snapshots' parents lead in a circle"sv,
     .explanation =
         "Following parents ends at a snapshot without one."sv,
     .consequence =
         "The order of the snapshots is unknown; libvirt drops relations until the circle is broken."sv,
     .advice =
         "Find out from the creation times which parent is wrong, and mend it with virsh snapshot-create "
         "--redefine."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1905, .name = "libvirt/current-several"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "several snapshots of a virtual machine are called the current one"sv,
     .explanation =
         "libvirt marks at most one snapshot of a machine as the current one: the one that the next is made "
         "after. Several marks are an error in its log."sv,
     .consequence =
         "The next snapshot may get the wrong parent."sv,
     .advice =
         "Name the right one with virsh snapshot-current DOMAIN NAME."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1906, .name = "libvirt/current-unknown"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "no snapshot of the virtual machine is called the current one"sv,
     .explanation =
         "libvirt marks the snapshot that the next one is made after. None is marked after the last root was "
         "deleted, or when the mark was lost."sv,
     .consequence =
         "The next snapshot is made without a parent, as if it had nothing to do with the others."sv,
     .advice =
         "Name the right one with virsh snapshot-current DOMAIN NAME."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1907, .name = "libvirt/source-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "a disk's file is missing or is no file that could hold an image"sv,
     .explanation =
         "The source of a disk leads to a file or block device. QEMU does not start a machine without it."sv,
     .consequence =
         "The virtual machine doesn't start."sv,
     .advice =
         "Put the file back, or name the right one with virsh edit."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1908, .name = "libvirt/source-not-top"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "a virtual machine's disk is a file that other images stand on"sv,
     .explanation =
         "A machine writes to the top of a chain. This one would write to a file with overlays on it; it "
         "usually means that the XML is older than the last external snapshot."sv,
     .consequence =
         "Each write damages the overlays: what they don't hold themselves changes under them."sv,
     .advice =
         "Don't start the machine; name the overlay that is the present state with virsh edit."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1909, .name = "libvirt/shared-disk"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "two disks use the same file for writing"sv,
     .explanation =
         "A file belongs to one disk unless each of them is read-only or shareable. QEMU's locks prevent it "
         "while both run on one host only."sv,
     .consequence =
         "Two guests writing to one file system destroy it; two programs writing to one qcow2 image destroy "
         "that."sv,
     .advice =
         "Give one of them a copy, or its own overlay on a common base."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1910, .name = "libvirt/format-mismatch"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the recorded format of a disk is not what its file holds"sv,
     .explanation =
         "The driver's type says how the file is read; libvirt takes a missing type for raw. A qcow2 image "
         "read as raw shows the guest its header instead of the disk."sv,
     .consequence =
         "The guest sees the wrong disk, and destroys the image by writing."sv,
     .advice =
         "Record the right format with virsh edit; never what was guessed from content that a guest wrote."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1911, .name = "libvirt/backing-store"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the recorded backing files are not those that the images name"sv,
     .explanation =
         "Where the XML lists the files below a disk, libvirt makes QEMU use these, and not those that the "
         "images name."sv,
     .consequence =
         "The guest sees other data than the chain holds."sv,
     .advice =
         "Remove the list with virsh edit, so that the images' own names count, or mend these with cowvet "
         "rebase -u."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1912, .name = "libvirt/overlay-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "an external snapshot's overlay is missing"sv,
     .explanation =
         "Making an external snapshot creates an overlay, which takes all writes from then on. It is needed "
         "until it has been merged, and then the snapshot's description is removed too."sv,
     .consequence =
         "What was written after the snapshot is lost, or was merged while the description was left."sv,
     .advice =
         "Find the file; if it was merged by hand, remove the description with virsh snapshot-delete "
         "--metadata."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1913, .name = "libvirt/overlay-base"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "an external snapshot's overlay does not stand on the disk of that time"sv,
     .explanation =
         "The overlay's backing file is the file that the disk used when the snapshot was made: it holds the "
         "snapshot's state."sv,
     .consequence =
         "Going back to the snapshot shows another state than the one that was saved."sv,
     .advice =
         "Compare with cowvet chain; if the layers were merged by hand, remove the description with virsh "
         "snapshot-delete --metadata."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1914, .name = "libvirt/parent-order"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the order of two snapshots contradicts the order of their overlays"sv,
     .explanation =
         "A later snapshot's overlay stands above its parent's, or on another branch. Here the parent's "
         "overlay stands on the child's."sv,
     .consequence =
         "Going back to one of them shows another state than the one that was saved."sv,
     .advice =
         "Find out by the creation times which is wrong, the parents or the backing files."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1915, .name = "libvirt/current-apart"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "a disk does not stand on what its current snapshot was made of"sv,
     .explanation =
         "The virtual machine goes on from its current snapshot, so each disk is the file of that time, or "
         "stands on it."sv,
     .consequence =
         "The disk has gone back, or was replaced, without libvirt; the next snapshot gets a parent that it "
         "does not come from."sv,
     .advice =
         "Find out which is the present state, then name it with virsh edit, or the snapshot with virsh "
         "snapshot-current."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1916, .name = "libvirt/memory-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "a snapshot's memory file is missing"sv,
     .explanation =
         "A snapshot with external memory can be run again only with the file that holds it."sv,
     .consequence =
         "The running state is lost; the disks of the snapshot are as good as those after a power cut."sv,
     .advice =
         "Find the file, or go back to the disks alone."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1917, .name = "libvirt/snapshot-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "an internal snapshot is described that the image lacks"sv,
     .explanation =
         "The image has a snapshot of the same name. It may have been deleted by qemu-img or cowvet, or the "
         "image was replaced."sv,
     .consequence =
         "Going back to it fails."sv,
     .advice =
         "Remove the description with virsh snapshot-delete --metadata, or bring back the image that had the "
         "snapshot."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1918, .name = "libvirt/snapshot-unlisted"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the image has internal snapshots that libvirt knows nothing of"sv,
     .explanation =
         "libvirt shows and deletes only what its XML describes. The snapshots may come from other programs, "
         "or their description was lost."sv,
     .consequence =
         "They take space, and are forgotten when the machine's snapshots are deleted."sv,
     .advice =
         "Look at them with cowvet snapshot -l; delete them, or describe them with virsh snapshot-create "
         "--redefine."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
    {.code = 1919, .name = "libvirt/mixed"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "internal and external snapshots follow each other"sv,
     .explanation =
         "A snapshot within the image and one by an overlay can follow each other, but going back over the "
         "border is a matter of both. libvirt refuses some of it, depending on its version."sv,
     .consequence =
         "Reverting or deleting may be refused; an internal snapshot applied below an overlay damages it."sv,
     .advice =
         "Keep to one kind; before going back, ask cowvet revert-check."sv,
     .spec = "libvirt: domain and domainsnapshot XML"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
