// The words a rule is written in, and one row of the rule table.
//
// Promises: plain values, no behaviour. Every enumerator is explained here once; the checker, the repair, the
// reports and the generated documentation take its meaning from this file.
// Hands on: `Rule`, which findings/rules/*.hpp fill and findings/rule.hpp gathers into the one table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cowvet::findings {

// How bad it is, ascending.
enum class Severity : std::uint8_t {
  note,     // observation, never affects the verdict
  warning,  // legal but hazardous
  leak,     // wasted space only
  error,    // data is wrong or at risk
  fatal,    // the image, or the named part of it, cannot be interpreted
};
inline constexpr std::size_t severity_count = 5;

// What a careful reader does, ascending; each includes the ones before it.
enum class Reader : std::uint8_t {
  tolerate,      // continue and report
  refuse_write,  // serve reads, refuse every modification
  fail_read,     // return an I/O error for the affected range: never zeros, never the backing file's data
  refuse_open,   // serve no data at all
};

// What a repair needs from a person.
enum class Consent : std::uint8_t {
  none,      // there is no repair
  lossless,  // nothing: bookkeeping only, no content can be lost
  frees,     // gives space back; the freed clusters' old content may be overwritten later
  choice,    // a person says so for this image, since another reading or another program is concerned
  lossy,     // a person accepts that information is discarded
};

// Why there is no repair.
enum class Reason : std::uint8_t {
  repairable,
  n1_not_recorded,   // the right value is recorded nowhere else in the file
  n2_two_readings,   // two readings are possible and only a person can choose
  n3_legal,          // legal state or observation, nothing to repair
  n4_would_discard,  // the change would discard data, key material or evidence
  n5_content_lost,   // the content itself is lost or foreign; mending the pointer doesn't bring it back
  n6_elsewhere,      // the fault lies outside this file
  n7_not_yet,        // it could be mended; cowvet does not do it yet
};

// One verb for each kind of repair.
enum class Remedy : std::uint8_t {
  none,
  set_refcount,             // store the counted number of references of a cluster
  rebuild_refcounts,        // build a new refcount table and blocks from the counted references
  rebuild_refcount_block,   // build one refcount block anew at a new place
  widen_refcounts,          // rebuild the refcounts with wider entries
  clear_copied,             // clear the COPIED bit of a table entry
  set_copied,               // set the COPIED bit of a table entry
  clear_reserved_bits,      // clear the reserved bits of a table entry, keep its offset
  clear_entry,              // store 0 in a table entry that leads nowhere
  bare_zero_entry,          // keep "reads as zeros", drop the offset that nothing is read from
  clear_subcluster_bitmap,  // zero the subcluster word of a compressed entry
  choose_subclusters,       // decide for each subcluster: data or zeros
  set_sector_count,         // store the sector count that the compressed stream needs
  copy_table,               // give each user of a shared table its own copy
  reattach_table,           // put an orphan table back where its content belongs
  clear_feature_bit,        // clear one bit in a feature word
  clear_dirty_bit,          // rebuild the refcounts, then clear the dirty bit
  clear_corrupt_bit,        // verify everything, then clear the corrupt bit
  drop_bitmap,              // remove one bitmap
  drop_bitmaps,             // remove the bitmaps extension, its bit, then free the clusters
  rewrite_snapshot_table,   // write the snapshot table anew with complete fields
  zero_padding,             // store zeros where the format demands them
  set_guest_offset,         // store the guest offset as the offset in the external data file
  mark_bitmaps_stale,       // keep the bitmaps, marked so that no program relies on them
  correct_header,           // store in a header field what the rest of the image tells
  relink_structure,         // lead a pointer to the structure that was found elsewhere
  correct_extension,   // store the type or length that an extension has by its content and its neighbours
  correct_luks_field,  // store the value that a field of the LUKS header has in every image
  recount_bitmaps,     // store the number of bitmaps and the size that their directory has
  reattach_cluster,    // put a lost data cluster back where it belongs
  copy_cluster,        // give each user of a shared cluster a copy of its own
  give_up_content,     // read as zeros what can't be reached
  drop_snapshot,       // remove one snapshot
  truncate_file,       // cut unreferenced zeros off the end of the file
};

// One row: everything there is to say about one thing that can be wrong with an image.
struct Rule {
  std::uint16_t code;     // area * 100 + running number, never reused
  std::string_view name;  // "refcount/leak"
  Severity severity;      // the usual one
  Severity lesser;        // the milder cases' one; == severity when there is one only
  Reader reader;
  Remedy remedy;
  Reason reason;
  Consent consent;
  std::string_view title;        // what is wrong: a short fragment for a person, no full stop
  std::string_view explanation;  // what must hold, why, what writers and QEMU do with it
  std::string_view consequence;  // what is at risk for the user's data
  std::string_view advice;       // what to do
  std::string_view spec;         // section of the qcow2 specification, and the D-number of docs/catalogue.md
  bool deep;                     // only --deep can find it: it needs data or payload bytes
  // QEMU opens no image with this fault, although the disk could be read.
  bool refused_by_qemu = false;
};

}  // namespace cowvet::findings
