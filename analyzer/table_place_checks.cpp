// Where the header says that the L1 and the refcount table lie. Promises: a table is called usable only when it may be
// read at the stated place as far as the file goes; its region is named even past the end of the file.
#include <algorithm>

#include "analyzer/header_checks.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::HeaderV2;
namespace limits = format::limits;

namespace {

// Whether [offset, offset + length) ends at or below 2^63 - 1.
bool fits(base::HostOffset offset, std::uint64_t length) {
  return length <= limits::max_offset && offset.raw() <= limits::max_offset - length;
}

Finding past_eof(const Image& image, findings::RuleId rule, const Region& region) {
  return Finding{rule}
      .at(region.where())
      .on(region.begin, region.length)
      .wanted(Value::text(fmt::format("a file of at least {:#x} bytes", region.begin.raw() + region.length)))
      .found(Value::hex(image.eof));
}

// Reports what the disk's end loses to an L1 table that is shorter than the disk needs.
void judge_l1_coverage(Image& image) {
  const auto& v2 = image.header.v2;
  const std::uint64_t needed = image.geometry->l1_entries(v2.size);
  if (v2.size > limits::max_virtual_size || v2.l1_size >= needed) return;
  const std::uint64_t covered = v2.l1_size * image.geometry->span();
  image.report(header_finding<&HeaderV2::l1_size>(image, "header/l1-coverage"_rule)
                   .wanted(Value::text(fmt::format("at least {}", needed)))
                   .hits({base::GuestOffset{covered}, v2.size - covered, {}}));
  image.doubt("the active L1 table is shorter than the disk needs");
}

// The guest range behind the entries of the L1 table that lie past the end of the file.
void judge_l1_end(Image& image, const Region& region) {
  const auto& v2 = image.header.v2;
  auto finding = past_eof(image, "l1/table-past-eof"_rule, region);
  const std::uint64_t whole_entries =
      image.eof > region.begin.raw() ? (image.eof - region.begin.raw()) / 8 : 0;
  const std::uint64_t first = whole_entries * image.geometry->span();
  const std::uint64_t last = std::min(v2.size, v2.l1_size * image.geometry->span());
  if (first < last) finding.guest.push_back({base::GuestOffset{first}, last - first, {}});
  image.report(std::move(finding));
  image.doubt("the active L1 table is cut off by the end of the file");
}

void place_l1(Image& image) {
  const auto& v2 = image.header.v2;
  const Region region{Kind::active_l1, v2.l1_table_offset, std::uint64_t{v2.l1_size} * 8};
  bool usable = true;
  const auto broken = [&](Finding&& finding) {
    image.report(std::move(finding));
    usable = false;
  };
  if (v2.l1_size > limits::max_l1_entries)
    broken(header_finding<&HeaderV2::l1_size>(image, "header/l1-size-limit"_rule)
               .wanted(Value::text(fmt::format("at most {}", limits::max_l1_entries)))
               .hits(whole_disk(image)));
  judge_l1_coverage(image);
  if (!image.geometry->aligned(region.begin))
    broken(header_finding<&HeaderV2::l1_table_offset>(image, "header/l1-offset-unaligned"_rule)
               .wanted(Value::text(fmt::format("a multiple of {}", image.geometry->cluster_size())))
               .hits(whole_disk(image)));
  if (region.begin.raw() == 0 && region.length > 0)
    broken(header_finding<&HeaderV2::l1_table_offset>(image, "header/l1-offset-zero"_rule)
               .wanted(Value::text("the offset of an L1 table"))
               .hits(whole_disk(image)));
  if (!fits(region.begin, region.length))
    broken(header_finding<&HeaderV2::l1_table_offset>(image, "header/l1-offset-overflow"_rule)
               .wanted(Value::text(fmt::format("a table that ends at or below {:#x}", limits::max_offset)))
               .hits(whole_disk(image)));
  if (usable) {
    image.regions.push_back(region);
    if (region.length > 0 && !image.inside(region.begin, region.length)) judge_l1_end(image, region);
  } else {
    image.doubt("the active L1 table can't be found");
  }
  image.l1_usable = usable && (region.length == 0 || region.begin.raw() < image.eof);
}

void place_refcount_table(Image& image) {
  const auto& v2 = image.header.v2;
  const std::uint64_t length = v2.refcount_table_clusters * image.geometry->cluster_size();
  const Region region{Kind::refcount_table, v2.refcount_table_offset, length};
  bool usable = true;
  const auto broken = [&](Finding&& finding) {
    image.report(std::move(finding));
    usable = false;
  };
  if (!image.geometry->aligned(region.begin))
    broken(header_finding<&HeaderV2::refcount_table_offset>(image, "refcount/table-offset-unaligned"_rule)
               .wanted(Value::text(fmt::format("a multiple of {}", image.geometry->cluster_size()))));
  if (region.begin.raw() == 0)
    broken(header_finding<&HeaderV2::refcount_table_offset>(image, "refcount/table-offset-zero"_rule)
               .wanted(Value::text("the offset of a refcount table")));
  if (length == 0)
    broken(header_finding<&HeaderV2::refcount_table_clusters>(image, "refcount/table-missing"_rule)
               .wanted(Value::text("at least 1")));
  if (length > limits::max_refcount_table)
    broken(header_finding<&HeaderV2::refcount_table_clusters>(image, "refcount/table-too-large"_rule)
               .wanted(Value::text(
                   fmt::format("at most {}", limits::max_refcount_table / image.geometry->cluster_size()))));
  if (!fits(region.begin, length))
    broken(header_finding<&HeaderV2::refcount_table_offset>(image, "refcount/table-overflow"_rule)
               .wanted(Value::text(fmt::format("a table that ends at or below {:#x}", limits::max_offset))));
  if (usable) {
    image.regions.push_back(region);
    if (!image.inside(region.begin, length)) {
      image.report(past_eof(image, "refcount/table-past-eof"_rule, region));
      image.doubt("the refcount table is cut off by the end of the file");
    }
  } else {
    image.doubt("the refcount table can't be found");
  }
  image.refcount_table_usable = usable && region.begin.raw() < image.eof;
}

}  // namespace

void check_table_places(Image& image) {
  place_l1(image);
  place_refcount_table(image);
}

}  // namespace cowvet::analyzer
