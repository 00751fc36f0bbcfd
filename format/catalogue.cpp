#include "format/catalogue.hpp"

#include <algorithm>
#include <array>

#include "format/bitmap.hpp"
#include "format/entries.hpp"
#include "format/extensions.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/scrap.hpp"
#include "format/snapshot.hpp"

namespace cowvet::format {

namespace {

template <Record T>
consteval RecordInfo describe() {
  return {layout<T>.name, layout<T>.spec, disk_size<T>, layout<T>.infos};
}

template <std::size_t N>
consteval WordInfo describe(const Word<N>& word, std::size_t width = 8) {
  return {word.name, word.spec, width, word.parts};
}

constexpr std::array records{
    describe<HeaderV2>(),
    describe<HeaderV3>(),
    describe<HeaderAdditional>(),
    describe<ExtensionHeader>(),
    describe<FeatureName>(),
    describe<BitmapsExtension>(),
    describe<EncryptionExtension>(),
    describe<ScrapRecord>(),
    describe<SnapshotEntry>(),
    describe<SnapshotExtra>(),
    describe<BitmapEntry>(),
    describe<LuksHeader>(),
    describe<LuksKeySlot>(),
};

constexpr std::array words{
    describe(incompatible_word),
    describe(compatible_word),
    describe(autoclear_word),
    describe(refcount_table_word),
    describe(l1_word),
    describe(l2_word),
    describe(l2_compressed_word),
    describe(l2_subcluster_word),
    describe(bitmap_table_word),
    describe(bitmap_flags_word, 4),
};

template <class Info, std::size_t N>
const Info* by_name(const std::array<Info, N>& all, std::string_view name) {
  const auto found = std::ranges::find(all, name, &Info::name);
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

std::span<const RecordInfo> all_records() { return records; }
std::span<const WordInfo> all_words() { return words; }
const RecordInfo* find_record(std::string_view name) { return by_name(records, name); }
const WordInfo* find_word(std::string_view name) { return by_name(words, name); }

const WordInfo* word_of(const RecordInfo& record, const FieldInfo& field) {
  if (record.name == "bitmap" && field.name == "flags") return find_word("bitmap_flags");
  return find_word(field.name);
}

}  // namespace cowvet::format
