// Every record and every bit word of the format, at run time: for dumps, recipes, mutators and docs/format.md.
// Promises: what has a field table or a bit table is listed, in the order in which a reader of the format meets it.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

#include "format/bits.hpp"
#include "format/record.hpp"

namespace cowvet::format {

struct RecordInfo {
  std::string_view name, spec;  // as in the record's layout<>
  std::size_t size;             // bytes
  std::span<const FieldInfo> fields;
};

struct WordInfo {
  std::string_view name, spec;
  std::size_t width;  // bytes on disk: 4 or 8
  std::span<const BitInfo> parts;
};

[[nodiscard]] std::span<const RecordInfo> all_records();
[[nodiscard]] std::span<const WordInfo> all_words();

// By name; null when there is none.
[[nodiscard]] const RecordInfo* find_record(std::string_view name);
[[nodiscard]] const WordInfo* find_word(std::string_view name);
// The bit word that a record's field is, if it is one: "incompatible_features" of "header_v3", "flags" of "bitmap".
[[nodiscard]] const WordInfo* word_of(const RecordInfo& record, const FieldInfo& field);

}  // namespace cowvet::format
