#include "repair/guest_survey.hpp"

#include <algorithm>

#include "format/geometry.hpp"
#include "repair/guest_words.hpp"

namespace cowvet::repair {

namespace {

using format::limits::sector;
constexpr std::size_t most_partitions = 128;
constexpr std::uint64_t start_bytes = 4096;  // that tell what begins there

using Begins = bool (*)(base::ConstBytes);
using Survey = void (*)(const GuestReader&, std::uint64_t, Expectations&);
constexpr std::pair<Begins, Survey> file_systems[] = {
    {begins_ext, survey_ext}, {begins_xfs, survey_xfs}, {begins_ntfs, survey_ntfs}, {begins_fat, survey_fat}};

bool boots(base::ConstBytes bytes) { return little<std::uint16_t>(bytes, 510) == 0xaa55; }
bool is_gpt(base::ConstBytes bytes) {
  return says(bytes, sector, "EFI PART") && little<std::uint64_t>(bytes, sector + 24) == 1;
}
// A table of partitions as PCs have them: entries that are in use have a type, a start and a length.
bool is_mbr(base::ConstBytes bytes) {
  if (!boots(bytes)) return false;
  bool any = false;
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint64_t at = 446 + 16 * i;
    const auto flag = little<std::uint8_t>(bytes, at);
    if (flag != 0 && flag != 0x80) return false;
    any = any || (little<std::uint8_t>(bytes, at + 4) != 0 && little<std::uint32_t>(bytes, at + 8) != 0 &&
                  little<std::uint32_t>(bytes, at + 12) != 0);
  }
  return any;
}

bool begins_something(base::ConstBytes bytes) {
  return std::ranges::any_of(file_systems, [&](const auto& one) { return one.first(bytes); });
}

// Where partitions begin, bytes.
std::vector<std::uint64_t> partitions(const GuestReader& disk, base::ConstBytes first) {
  std::vector<std::uint64_t> begins;
  if (is_gpt(first)) {
    const std::uint64_t at = little<std::uint64_t>(first, sector + 72) * sector;
    const std::uint64_t count =
        std::min<std::uint64_t>(little<std::uint32_t>(first, sector + 80), most_partitions);
    const std::uint64_t size = little<std::uint32_t>(first, sector + 84);
    if (size < 128 || size > 4096 || at >= disk.size()) return begins;
    std::vector<std::byte> entry(128);
    for (std::uint64_t i = 0; i < count; ++i)
      if (disk.read(at + i * size, entry) && !base::all_zero(std::span(entry).first(16)))
        begins.push_back(little<std::uint64_t>(entry, 32));
  } else if (is_mbr(first)) {
    for (unsigned i = 0; i < 4; ++i)
      if (little<std::uint8_t>(first, 446 + 16 * i + 4) != 0)
        begins.push_back(little<std::uint32_t>(first, 446 + 16 * i + 8));
  }
  std::erase_if(begins, [&](std::uint64_t lba) { return lba == 0 || lba >= disk.size() / sector; });
  for (auto& begin : begins) begin *= sector;
  return begins;
}

}  // namespace

void for_each_run(base::ConstBytes map, std::uint64_t bits,
                  const std::function<void(std::uint64_t, std::uint64_t, bool)>& use) {
  bits = std::min<std::uint64_t>(bits, map.size() * 8);
  const auto set = [&](std::uint64_t i) {
    return (std::to_integer<unsigned>(map[static_cast<std::size_t>(i / 8)]) >> (i % 8) & 1) != 0;
  };
  for (std::uint64_t i = 0; i < bits;) {
    const bool value = set(i);
    std::uint64_t end = i + 1;
    while (end < bits && set(end) == value) ++end;
    use(i, end - i, value);
    i = end;
  }
}

void survey_guest(const GuestReader& disk, Expectations& expectations) {
  const std::uint64_t length = std::min(start_bytes, disk.unit());
  std::vector<std::byte> first(static_cast<std::size_t>(std::min(length, disk.size())));
  std::vector<std::uint64_t> begins{0};
  if (disk.read(0, first)) {
    for (const auto begin : partitions(disk, first)) begins.push_back(begin);
  } else {
    expectations.add_check(0, first.size(), "the first bytes of a disk", [](base::ConstBytes bytes) {
      return begins_something(bytes) || is_mbr(bytes) || is_gpt(bytes);
    });
  }
  for (const auto begin : begins) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, disk.size() - begin)));
    if (disk.read(begin, bytes)) {
      for (const auto& [begins_here, survey] : file_systems)
        if (begins_here(bytes)) {
          survey(disk, begin, expectations);
          break;
        }
    } else if (begin != 0) {
      expectations.add_check(begin, begin + bytes.size(), "the first bytes of a file system",
                             begins_something);
    }
  }
  expectations.seal();
}

}  // namespace cowvet::repair
