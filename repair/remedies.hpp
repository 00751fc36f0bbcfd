// The remedies, in the order in which a repair takes them: each mends what it can of the draft as it was last
// examined, and leaves the rest to those behind it. Promises: none of them follows a damaged pointer into
// writing, and none frees what another one could still put back.
#pragma once
#include "base/result.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

using Remedied = base::Result<void>;

// An L1 table and the data that lies in its place, when each is where the other belongs.
[[nodiscard]] Remedied exchange(Draft& draft);
// The header from what the content says of it; places of tables that only the header knows.
[[nodiscard]] Remedied mend_header(Draft& draft);
// Single fields of the header that contradict the rest of it, or of the image.
[[nodiscard]] Remedied mend_header_fields(Draft& draft);
// The backing file's new name, when one was found.
[[nodiscard]] Remedied reconnect(Draft& draft);
// A disk and an L1 table of the size that lost L2 tables need, when nothing else tells one.
[[nodiscard]] Remedied give_size(Draft& draft);
// Header extensions that can't be read to their end, or whose type was lost.
[[nodiscard]] Remedied mend_extensions(Draft& draft);
// The LUKS header and the place it is said to be at.
[[nodiscard]] Remedied mend_luks(Draft& draft);
// Feature bits and header extensions.
[[nodiscard]] Remedied mend_features(Draft& draft);
// Entries of the snapshot table with a wrong size, or that lead to no L1 table.
[[nodiscard]] Remedied mend_snapshot_entries(Draft& draft);
// The snapshot table: lost snapshots, entries that can't be used.
[[nodiscard]] Remedied mend_snapshots(Draft& draft);
// Bitmaps that can't be used, and their directory.
[[nodiscard]] Remedied mend_bitmaps(Draft& draft);
// Entries that a person has decided about. Error usage: a choice that can't be followed, and why.
[[nodiscard]] Remedied take_choices(Draft& draft);
// Entries of L1 and L2 tables with wrong bits, whose meaning is clear.
[[nodiscard]] Remedied mend_entry_bits(Draft& draft);
// Lost tables and clusters back to where they belong.
[[nodiscard]] Remedied reattach(Draft& draft);
// Tables that no layer has any more, by the order of the file and their refcounts.
[[nodiscard]] Remedied reattach_layers(Draft& draft);
// The same by what the guest's file systems say of their places, for those that are left.
[[nodiscard]] Remedied reattach_by_content(Draft& draft);
// What has no certain place, into an internal snapshot of its own: when nothing else changes anything.
[[nodiscard]] Remedied keep_lost(Draft& draft);
// What several owners share and must not: a copy for each.
[[nodiscard]] Remedied separate(Draft& draft);
// Entries that lead nowhere, when nothing belongs there any more.
[[nodiscard]] Remedied give_up(Draft& draft);
// Refcounts that are too low, and blocks and the table where they say nothing: nothing is freed yet.
[[nodiscard]] Remedied raise_refcounts(Draft& draft);
// Refcounts, their blocks and their table.
[[nodiscard]] Remedied mend_refcounts(Draft& draft);
// COPIED flags: they follow from the refcounts.
[[nodiscard]] Remedied mend_copied(Draft& draft);
// The dirty and the corrupt bit, when nothing is wrong any more.
[[nodiscard]] Remedied clear_marks(Draft& draft);
// The unused end of the file.
[[nodiscard]] Remedied cut_tail(Draft& draft);

}  // namespace cowvet::repair
