// Bytes to named values: how structures.hpp tells one record, one entry of a directory, one table.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "analyzer/structures.hpp"
#include "base/bytes.hpp"
#include "format/bitmap.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/snapshot.hpp"

namespace cowvet::analyzer {

// The bytes, at most eight, as one big-endian number.
[[nodiscard]] std::uint64_t number_of(base::ConstBytes bytes);

// `bytes` begin with the record and hold all of it; `offset` is where they lie.
[[nodiscard]] Structure record_at(std::string path, const format::RecordInfo& record, base::ConstBytes bytes,
                                  base::HostOffset offset);
[[nodiscard]] Structure extension(std::string path, const format::Extension& extension);
// `table` is where the snapshot table or bitmap directory begins.
[[nodiscard]] Structure snapshot(std::string path, const format::Snapshot& snapshot, base::HostOffset table);
[[nodiscard]] Structure bitmap(std::string path, const format::Bitmap& bitmap, base::HostOffset directory);

// Entries of eight bytes, the first of which has the number `first`. Zero ones are counted unless `all`.
[[nodiscard]] Structure table_structure(std::string path, const format::WordInfo& word,
                                        base::ConstBytes bytes, base::HostOffset offset, std::uint64_t first,
                                        bool all);
// An L2 table of one cluster, or one entry of it.
[[nodiscard]] Structure l2_structure(std::string path, const format::Geometry& geometry,
                                     base::ConstBytes bytes, base::HostOffset offset,
                                     std::optional<std::uint64_t> index);
// Refcount block number `index` as runs of clusters with the same refcount.
[[nodiscard]] Structure refcounts_structure(std::string path, const format::Geometry& geometry,
                                            base::ConstBytes bytes, base::HostOffset offset,
                                            std::uint64_t index);

}  // namespace cowvet::analyzer
