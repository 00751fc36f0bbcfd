// The bitmaps: the extension that names their directory, the directory, its entries, and through bitmap_table.hpp their
// tables. Hands on image.bitmaps, in the directory's order, and the regions that the bitmaps own. They own nothing
// unless the autoclear bit vouches for them.
#include <functional>
#include <string>
#include <unordered_map>

#include <fmt/format.h>

#include "analyzer/bitmap_table.hpp"
#include "analyzer/field_finding.hpp"
#include "analyzer/header_checks.hpp"
#include "analyzer/image.hpp"
#include "analyzer/stale_bitmaps.hpp"
#include "analyzer/window.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::BitmapEntry;
using format::BitmapsExtension;

namespace {

namespace limits = format::limits;

constexpr std::uint64_t bitmap_entry_size = format::disk_size<BitmapEntry>;
constexpr std::uint64_t text_kept = 256;            // bytes of a name
constexpr std::uint64_t usual_memory = 1ULL << 30;  // for all bitmaps together
constexpr std::uint8_t finest = 9, coarsest = 31;   // granularities that QEMU takes
constexpr std::uint8_t dirty_tracking = 1;          // the one type

Value multiple_of(std::uint64_t number) { return Value::text(fmt::format("a multiple of {}", number)); }

template <auto Ptr>
Finding entry_finding(findings::RuleId rule, const BitmapState& state, base::HostOffset at) {
  return field_finding<Ptr>(rule, state.data.entry, at, state.where());
}

bool table_size_possible(const Image& image, const BitmapEntry& entry) {
  return entry.table_size != 0 && entry.table_size <= limits::max_bitmap_table_entries &&
         entry.table_size * image.geometry->cluster_size() <= limits::max_bitmap_bytes;
}

// The table's place, size and fit. Sets `usable`. Returns how many entries are to be read: where the stated number does
// not fit the disk, no more than what both agree on, since what follows may be somebody else's.
std::uint64_t check_place(Image& image, BitmapState& state, base::HostOffset at) {
  const auto& entry = state.data.entry;
  const auto& geometry = *image.geometry;
  const bool placed = entry.table_offset.raw() != 0 && geometry.aligned(entry.table_offset);
  const bool possible = table_size_possible(image, entry);
  if (!placed)
    image.report(entry_finding<&BitmapEntry::table_offset>("bitmap/table-offset"_rule, state, at)
                     .wanted(multiple_of(geometry.cluster_size())));
  const std::uint64_t most =
      std::min(limits::max_bitmap_table_entries, limits::max_bitmap_bytes / geometry.cluster_size());
  if (!possible)
    image.report(entry_finding<&BitmapEntry::table_size>("bitmap/table-size-range"_rule, state, at)
                     .wanted(Value::text(fmt::format("1 to {}", most))));
  state.usable = placed && possible;
  if (!state.usable) image.doubt("a bitmap's table can't be read");

  const std::uint64_t needed =
      format::bitmap_table_entries(image.header.v2.size, entry.granularity_bits, geometry.cluster_size());
  if (!placed) return 0;
  if (!possible) return std::min(needed, most);
  if (entry.table_size == needed || entry.granularity_bits > 63) return entry.table_size;
  // A bitmap in use need not fit: its table is replaced when it is saved.
  const bool in_use = (entry.flags & format::bitmap_in_use) != 0;
  image.report(entry_finding<&BitmapEntry::table_size>(
                   in_use ? "bitmap/size-history"_rule : "bitmap/table-size-match"_rule, state, at)
                   .wanted(Value::dec(needed)));
  if (in_use) return entry.table_size;
  image.doubt("a bitmap's table does not fit the disk");
  return std::min<std::uint64_t>(needed, entry.table_size);
}

void check_kind(Image& image, const BitmapState& state, base::HostOffset at) {
  const auto& entry = state.data.entry;
  constexpr std::uint32_t known =
      format::bitmap_in_use | format::bitmap_auto | format::bitmap_extra_compatible;
  const auto flags = [&](findings::RuleId rule) {
    return entry_finding<&BitmapEntry::flags>(rule, state, at).found(Value::hex(entry.flags));
  };
  if ((entry.flags & ~known) != 0) image.report(flags("bitmap/flags-reserved"_rule));
  if ((entry.flags & format::bitmap_extra_compatible) != 0)
    image.report(flags("bitmap/flag-extra-compatible"_rule));
  if ((entry.flags & format::bitmap_in_use) != 0) image.report(flags("bitmap/in-use"_rule));
  if (entry.extra_data_size != 0)
    image.report(entry_finding<&BitmapEntry::extra_data_size>("bitmap/extra-data"_rule, state, at)
                     .wanted(Value::dec(0)));
  if (entry.type != dirty_tracking)
    image.report(
        entry_finding<&BitmapEntry::type>("bitmap/type"_rule, state, at).wanted(Value::dec(dirty_tracking)));
  if (entry.granularity_bits < finest || entry.granularity_bits > coarsest)
    image.report(entry_finding<&BitmapEntry::granularity_bits>("bitmap/granularity"_rule, state, at)
                     .wanted(Value::text(fmt::format("{} to {}", finest, coarsest))));
}

void check_name(Image& image, const BitmapState& state, base::HostOffset at) {
  const auto& b = state.data;
  if (b.name.empty() || b.name.size() > limits::max_bitmap_name)
    image.report(entry_finding<&BitmapEntry::name_size>("bitmap/name-length"_rule, state, at)
                     .wanted(Value::text(fmt::format("1 to {}", limits::max_bitmap_name))));

  const base::HostOffset name{at.raw() + bitmap_entry_size + b.entry.extra_data_size};
  if (!base::plain_text(b.name))
    image.report(Finding{"bitmap/name-text"_rule}
                     .at(state.where() + ".name")
                     .on(name, b.name.size())
                     .found(Value::text(base::escape(b.name.substr(0, text_kept)))));
  if (!base::all_zero(b.padding))
    image.report(Finding{"bitmap/padding-nonzero"_rule}
                     .at(state.where())
                     .on(base::HostOffset{name.raw() + b.name.size()}, b.padding.size()));
}

// Whether an entry behind the stated number looks like one that a writer made.
bool plausible(const Image& image, const format::Bitmap& bitmap) {
  const auto& entry = bitmap.entry;
  return entry.table_offset.raw() != 0 && image.geometry->aligned(entry.table_offset) &&
         table_size_possible(image, entry) &&
         image.inside(entry.table_offset, std::uint64_t{entry.table_size} * 8) &&
         entry.type == dirty_tracking && entry.granularity_bits >= finest &&
         entry.granularity_bits <= coarsest && !bitmap.name.empty() &&
         bitmap.name.size() <= limits::max_bitmap_name;
}

class DirectoryCheck {
 public:
  // The extension's record lies at `at` and is called `where`.
  DirectoryCheck(Image& image, const BitmapsExtension& record, base::HostOffset at, std::string where)
      : image_(image),
        record_(record),
        at_(at),
        where_(std::move(where)),
        window_(image, record.directory_offset, "bitmap_directory"),
        tables_(image) {}

  void run() {
    if (!judge_extension()) return image_.doubt("the bitmap directory can't be found");
    walk();
    const bool whole = end_ == record_.directory_size && trusted_;
    // A size that the entries don't bear out must not claim what follows the directory.
    const std::uint64_t length = whole ? record_.directory_size : std::max(end_, bitmap_entry_size);
    image_.regions.push_back({Kind::bitmap_directory, record_.directory_offset, length});
    if (memory_ > usual_memory)
      image_.report(
          extension<&BitmapsExtension::count>("security/bitmap-memory"_rule)
              .saying(fmt::format("The bitmaps take {} when they are loaded.", base::human_size(memory_))));
  }

 private:
  template <auto Ptr>
  Finding extension(findings::RuleId rule) const {
    return field_finding<Ptr>(rule, record_, at_, where_);
  }

  // False: the directory can't be read.
  bool judge_extension() {
    if (record_.reserved != 0)
      image_.report(
          extension<&BitmapsExtension::reserved>("bitmap/reserved-word"_rule).wanted(Value::dec(0)));
    const bool counted = record_.count != 0 && record_.count <= limits::max_bitmaps;
    if (!counted)
      image_.report(extension<&BitmapsExtension::count>("bitmap/count-range"_rule)
                        .wanted(Value::text(fmt::format("1 to {}", limits::max_bitmaps))));
    const std::uint64_t least = counted ? record_.count * bitmap_entry_size : bitmap_entry_size;
    sized_ = record_.directory_size >= least && record_.directory_size <= limits::max_bitmap_directory;
    if (!sized_)
      image_.report(extension<&BitmapsExtension::directory_size>("bitmap/directory-size"_rule)
                        .wanted(record_.directory_size < least
                                    ? Value::at_least(least)
                                    : Value::at_most(limits::max_bitmap_directory)));
    trusted_ = counted && sized_;
    count_ = counted ? record_.count : 0;
    size_ = sized_ ? record_.directory_size : limits::max_bitmap_directory;
    if (!trusted_) image_.doubt("the bitmap directory's size is unknown");

    const auto offset = record_.directory_offset;
    if (offset.raw() == 0 || !image_.geometry->aligned(offset) || offset.raw() > limits::max_offset - size_) {
      image_.report(extension<&BitmapsExtension::directory_offset>("bitmap/directory-offset"_rule)
                        .wanted(multiple_of(image_.geometry->cluster_size())));
      return false;
    }
    const std::uint64_t claimed = sized_ ? size_ : bitmap_entry_size;
    if (!image_.inside(offset, claimed)) {
      image_.report(
          Finding{"bitmap/directory-past-eof"_rule}
              .at("bitmap_directory")
              .on(offset, claimed)
              .wanted(Value::text(fmt::format("a file of at least {:#x} bytes", offset.raw() + claimed)))
              .found(Value::hex(image_.eof)));
      trusted_ = false;
      image_.doubt("the bitmap directory is not all there");
    }
    size_ = offset.raw() < image_.eof ? std::min(size_, image_.eof - offset.raw()) : 0;
    return true;
  }

  // All entries up to the directory's size. Those behind the stated number, or without a size that can be believed, are
  // taken as long as they make sense.
  void walk() {
    std::uint32_t index = 0;
    bool readable = true;
    const std::uint32_t most = sized_ || count_ == 0 ? limits::max_bitmaps : count_;
    for (; end_ < size_ && index < most && !image_.progress.stop_requested(); ++index) {
      BitmapState state{.data = {}, .index = index};
      const bool sceptical = !sized_ || index >= count_;
      const std::uint64_t length = read(state.data);
      if (length == 0 || (sceptical && !plausible(image_, state.data))) {
        readable = sceptical;
        break;
      }
      const base::HostOffset at{record_.directory_offset.raw() + end_};
      end_ += length;
      check(state, at);
    }
    if (!readable) {
      if (trusted_ && !window_.at(end_, 1).empty())  // else the device failed, which is told
        image_.report(Finding{"bitmap/entry-bounds"_rule}
                          .at(fmt::format("bitmap[{}]", index))
                          .on(base::HostOffset{record_.directory_offset.raw() + end_}, size_ - end_)
                          .saying(fmt::format("The directory has {} bytes left for it.", size_ - end_)));
      image_.doubt("the bitmap directory can't be read to its end");
    } else if (trusted_ && (end_ != size_ || index != count_)) {
      auto finding = index != count_
                         ? extension<&BitmapsExtension::count>("bitmap/directory-count"_rule)
                         : extension<&BitmapsExtension::directory_size>("bitmap/directory-count"_rule);
      image_.report(std::move(finding)
                        .wanted(Value::dec(index != count_ ? index : end_))
                        .saying(fmt::format("{} entries take {} bytes of the directory.", index, end_)));
      image_.doubt("the bitmap directory does not fit its entries");
    }
  }

  // The entry at end_; its length with padding, or 0 when it does not fit. Not format::parse_bitmap(), which keeps all
  // that an entry claims: up to 4 GiB of extra data.
  std::uint64_t read(format::Bitmap& bitmap) {
    const std::uint64_t left = size_ - end_;
    const auto fixed = base::prefix<bitmap_entry_size>(window_.at(end_, std::min(left, bitmap_entry_size)));
    if (!fixed) return 0;
    bitmap.position = end_;
    bitmap.entry = format::decode<BitmapEntry>(*fixed);
    const std::uint64_t bare = bitmap_entry_size + bitmap.entry.extra_data_size + bitmap.entry.name_size;
    const std::uint64_t length = (bare + 7) & ~std::uint64_t{7};
    if (length > left) return 0;
    base::Cursor texts{window_.at(end_ + bitmap_entry_size + bitmap.entry.extra_data_size,
                                  bitmap.entry.name_size + (length - bare))};
    const auto name = texts.take(bitmap.entry.name_size), padding = texts.take(length - bare);
    if (!name || !padding) return 0;
    bitmap.name = format::as_text(*name);
    bitmap.padding.assign(padding->begin(), padding->end());
    return length;
  }

  void check(BitmapState& state, base::HostOffset at) {
    const std::uint64_t entries = check_place(image_, state, at);
    check_kind(image_, state, at);
    check_name(image_, state, at);
    if (!state.data.name.empty()) {
      const auto [first, fresh] =
          names_.try_emplace(std::hash<std::string_view>{}(state.data.name), state.index);
      if (!fresh)
        image_.report(
            Finding{"bitmap/name-duplicate"_rule}
                .at(state.where() + ".name")
                .on(base::HostOffset{at.raw() + bitmap_entry_size + state.data.entry.extra_data_size},
                    state.data.name.size())
                .found(Value::text(base::escape(state.data.name.substr(0, text_kept))))
                .saying(fmt::format("bitmap[{}] has the same name.", first->second)));
    }
    state.data.name.resize(std::min<std::size_t>(state.data.name.size(), text_kept));
    state.data.padding.clear();
    if (state.usable) memory_ += state.data.entry.table_size * image_.geometry->cluster_size();
    if (entries != 0) tables_.check(state, entries);
    image_.bitmaps.push_back(std::move(state));
  }

  Image& image_;
  const BitmapsExtension record_;
  const base::HostOffset at_;
  const std::string where_;
  Window window_;
  BitmapTables tables_;
  bool sized_ = true;         // the size is possible
  bool trusted_ = true;       // number and size are possible, so that they can be compared with the entries
  std::uint32_t count_ = 0;   // entries that must be there
  std::uint64_t size_ = 0;    // bytes that may be read
  std::uint64_t end_ = 0;     // bytes that the entries so far take
  std::uint64_t memory_ = 0;  // bytes that all bitmaps take when they are loaded
  std::unordered_map<std::uint64_t, std::size_t> names_;  // by their hashes: names have up to 65535 bytes
};

}  // namespace

void check_bitmaps(Image& image) {
  if (!image.geometry) return;
  const auto* extension = image.extensions.find(format::ExtensionType::bitmaps);
  if (extension == nullptr) {
    if (image.header.bitmaps_consistent())
      image.report(header_finding<&format::HeaderV3::autoclear_features>(
                       image, "feature/bitmaps-bit-without-extension"_rule)
                       .found(Value::hex(image.header.v3.autoclear_features)));
    return;
  }
  const auto where = fmt::format("ext[{}]", extension - image.extensions.list.data());
  const base::HostOffset at{extension->position + format::disk_size<format::ExtensionHeader>};
  if (!image.header.has_v3())
    image.report(Finding{"bitmap/v2"_rule}.at(where).on(at, extension->data.size()));
  else if (!image.header.bitmaps_consistent())
    image.report(
        header_finding<&format::HeaderV3::autoclear_features>(image, "feature/bitmaps-bit-clear"_rule)
            .found(Value::hex(image.header.v3.autoclear_features)));
  const auto record = format::exact<BitmapsExtension>(extension->data);
  if (!image.header.has_v3() || !image.header.bitmaps_consistent()) {
    if (record) read_stale_bitmaps(image, *record);
    return image.doubt("the bitmaps are stale, so their clusters have no owner");
  }
  if (!record) return image.doubt("the bitmaps extension can't be read");  // ext/bitmaps-length
  image.bitmaps_owned = true;
  DirectoryCheck(image, *record, at, where).run();
}

}  // namespace cowvet::analyzer
