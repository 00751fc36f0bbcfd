// The records of the format, on any bytes. Promises: decoding is total, and encoding what was decoded gives the bytes
// again: fixed records, the header, extensions, snapshot and bitmap entries, the LUKS header, refcounts. And
// the names of other files that are found in them.
#include <algorithm>
#include <string>

#include "analyzer/json_name.hpp"
#include "analyzer/references.hpp"
#include "format/bitmap.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/refcounts.hpp"
#include "format/scrap.hpp"
#include "format/snapshot.hpp"
#include "fuzz/require.hpp"
#include "storage/memory.hpp"

namespace cowvet::fuzz {
namespace {

template <format::Record T>
void same_again(base::ConstBytes bytes) {
  if (const auto record = base::prefix<format::disk_size<T>>(bytes))
    require(std::ranges::equal(format::encode(format::decode<T>(*record)), *record),
            "a record's bytes survive decode and encode");
}

void header(base::ConstBytes bytes) {
  const auto header = format::decode_header(bytes);
  require(header.has_value() || bytes.size() < format::header_v3_length, "enough bytes are a header");
  if (!header) return;
  require(std::ranges::equal(format::encode(header->v2), bytes.first(format::disk_size<format::HeaderV2>)),
          "a header's bytes survive");
  if (header->has_v3())
    require(
        std::ranges::equal(format::encode(header->v3), bytes.subspan(format::disk_size<format::HeaderV2>,
                                                                     format::disk_size<format::HeaderV3>)),
        "version 3's bytes survive");
  else
    require(header->v3.incompatible_features == 0, "version 2 shows no version 3 fields");
}

void extensions(base::ConstBytes bytes) {
  if (bytes.size() < 4) return;
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(bytes[i]); };
  const std::uint64_t begin = at(0) << 8 | at(1), end = at(2) << 8 | at(3);
  const auto area = format::parse_extensions(bytes, begin, end);
  std::uint64_t reached = begin;
  for (const auto& extension : area.list) {
    require(extension.position >= reached, "extensions ascend");
    reached = extension.position + 8 + extension.data.size() + extension.padding.size();
    require(reached <= bytes.size(), "an extension lies in the file's bytes");
  }
}

void snapshots(base::ConstBytes bytes) {
  for (std::uint64_t position = 0; !bytes.empty();) {
    const auto step = format::parse_snapshot(bytes, position);
    if (!step.snapshot) return;
    const auto again = format::encode_snapshot(*step.snapshot);
    require(!again.empty() && again.size() <= bytes.size(), "a snapshot entry lies in its table");
    require(std::ranges::equal(again, bytes.first(again.size())), "a snapshot entry's bytes survive");
    position += again.size();
    bytes = bytes.subspan(again.size());
  }
}

void bitmaps(base::ConstBytes bytes) {
  for (std::uint64_t position = 0; !bytes.empty();) {
    const auto step = format::parse_bitmap(bytes, position);
    if (!step.bitmap) return;
    const auto again = format::encode_bitmap(*step.bitmap);
    require(!again.empty() && again.size() <= bytes.size(), "a bitmap entry lies in its directory");
    require(std::ranges::equal(again, bytes.first(again.size())), "a bitmap entry's bytes survive");
    position += again.size();
    bytes = bytes.subspan(again.size());
  }
}

void luks(base::ConstBytes bytes) {
  const auto luks = format::decode_luks(bytes);
  require(luks.has_value() == (bytes.size() >= format::luks_header_size), "enough bytes are a LUKS header");
  if (!luks) return;
  std::size_t at = format::disk_size<format::LuksHeader>;
  require(std::ranges::equal(format::encode(luks->header), bytes.first(at)), "a LUKS header's bytes survive");
  for (const auto& slot : luks->slots) {
    require(
        std::ranges::equal(format::encode(slot), bytes.subspan(at, format::disk_size<format::LuksKeySlot>)),
        "a key slot's bytes survive");
    at += format::disk_size<format::LuksKeySlot>;
  }
}

void refcounts(base::ConstBytes block) {
  for (std::uint32_t order = 0; order <= format::limits::max_refcount_order; ++order) {
    const std::uint64_t bits = std::uint64_t{1} << order, entries = block.size() * 8 / bits;
    const std::uint64_t most = ~std::uint64_t{0} >> (64 - bits);
    for (std::uint64_t i = 0; i < entries; ++i)
      require(format::refcount_at(block, order, i) <= most, "a refcount fits its width");
  }
}

// Names of other files: the quick look at an image, and json: names.
void names(base::ConstBytes bytes) {
  const storage::MemoryDevice device({bytes.begin(), bytes.end()});
  const auto references = analyzer::read_references(device);
  if (references && references->backing_name)
    require(references->backing_name->size() <= format::limits::max_backing_name, "a backing name is short");
  const std::string text(format::as_text(bytes));
  (void)analyzer::backing_file_path("folder/image", text);
  const auto options = analyzer::flatten_json(text);
  const auto file = analyzer::json_file("json:" + text);
  require(options || !file, "what is no JSON names no file");
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cowvet;
  const base::ConstBytes bytes{reinterpret_cast<const std::byte*>(data), size};
  fuzz::same_again<format::HeaderAdditional>(bytes);
  fuzz::same_again<format::ExtensionHeader>(bytes);
  fuzz::same_again<format::FeatureName>(bytes);
  fuzz::same_again<format::BitmapsExtension>(bytes);
  fuzz::same_again<format::EncryptionExtension>(bytes);
  fuzz::same_again<format::ScrapRecord>(bytes);
  fuzz::same_again<format::SnapshotExtra>(bytes);
  fuzz::header(bytes);
  fuzz::extensions(bytes);
  fuzz::snapshots(bytes);
  fuzz::bitmaps(bytes);
  fuzz::luks(bytes);
  fuzz::names(bytes);
  fuzz::refcounts(bytes.first(std::min<std::size_t>(size, 512)));
  return 0;
}
