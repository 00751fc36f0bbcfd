#include "repair/guest_disk.hpp"

#include <algorithm>

#include "format/compression.hpp"

namespace cowvet::repair {

namespace {
constexpr std::size_t most_cached = 8ULL << 20;  // bytes of tables
}

GuestDisk::GuestDisk(const Draft& draft) : draft_(draft), g_(draft.geometry()) {}

const std::vector<std::byte>* GuestDisk::table(std::uint64_t offset) const {
  if (const auto known = std::ranges::find(cache_, offset, [](const auto& item) { return item.first; });
      known != cache_.end()) {
    cache_.splice(cache_.begin(), cache_, known);
    return &cache_.front().second;
  }
  if (!g_.aligned(base::HostOffset{offset}) || offset >= draft_.image().size()) return nullptr;
  while (!cache_.empty() && (cache_.size() + 1) * g_.cluster_size() > most_cached) cache_.pop_back();
  cache_.emplace_front(offset, draft_.bytes(offset, g_.cluster_size()));
  return &cache_.front().second;
}

GuestDisk::Entry GuestDisk::entry(std::uint64_t cluster) const {
  constexpr std::uint64_t all = 0xffffffffU;
  if (const auto supposed = clusters_.find(cluster); supposed != clusters_.end())
    return {true, supposed->second, all};
  if (doubted_clusters_.contains(cluster)) return {};
  const std::uint64_t index = cluster >> g_.l2_bits(), inner = cluster & (g_.l2_entries() - 1);
  std::uint64_t at = 0;
  bool doubted = doubted_.contains(index);
  if (const auto supposed = tables_.find(index); supposed != tables_.end()) {
    at = supposed->second;
    doubted = false;
  } else if (index < draft_.header().v2.l1_size) {
    at = draft_.word(draft_.header().v2.l1_table_offset.raw() + index * 8) & format::entry_offset_mask;
  }
  if (at == 0) return {.known = !doubted};
  const auto* bytes = table(at);
  if (bytes == nullptr) return {};
  const base::BigEndianTable<std::uint64_t> words(*bytes);
  Entry entry{.known = true, .word = words[static_cast<std::size_t>(inner)], .subclusters = all};
  if (g_.extended_l2()) {
    entry.word = words[static_cast<std::size_t>(2 * inner)];
    entry.subclusters = words[static_cast<std::size_t>(2 * inner + 1)];
  }
  if (doubted && (entry.word == 0 || (entry.word & format::l2_word.reserved_mask) != 0)) return {};
  return entry;
}

bool GuestDisk::read_stored(std::uint64_t word, base::MutableBytes into) const {
  const format::L2Entry entry{word};
  const std::uint64_t eof = draft_.image().size();
  if (!entry.compressed()) {
    const std::uint64_t at = entry.offset().raw();
    if (at == 0 || at >= eof) return false;
    return draft_.image().read(at, into).os_error == 0;
  }
  if (word != decoded_word_ || decoded_.empty()) {
    decoded_.assign(static_cast<std::size_t>(g_.cluster_size()), std::byte{0});
    decoded_word_ = 0;
    const auto codec = draft_.header().compression();
    const auto range = g_.compressed_range(entry);
    if (!codec || range.offset.raw() >= eof || range.length() > 2 * g_.cluster_size()) return false;
    format::Decoder decoder;
    const auto payload = draft_.bytes(range.offset.raw(), std::min(range.length(), eof - range.offset.raw()));
    const auto status = decoder.decode(*codec, payload, decoded_).status;
    if (status != format::Decoded::Status::ok && status != format::Decoded::Status::overlong) return false;
    decoded_word_ = word;
  }
  std::copy_n(decoded_.begin(), std::min(into.size(), decoded_.size()), into.begin());
  return true;
}

bool GuestDisk::read(std::uint64_t offset, base::MutableBytes into) const {
  if (offset > size() || into.size() > size() - offset) return false;
  std::vector<std::byte> whole;
  while (!into.empty()) {
    const std::uint64_t cluster = offset >> g_.cluster_bits(), inner = offset & (g_.cluster_size() - 1);
    const auto piece =
        into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), g_.cluster_size() - inner)));
    const auto found = entry(cluster);
    if (!found.known) return false;
    const format::L2Entry l2{found.word};
    if (l2.compressed()) {
      whole.resize(static_cast<std::size_t>(g_.cluster_size()));
      if (!read_stored(found.word, whole)) return false;
      std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(inner), piece.size(), piece.begin());
    } else if (l2.offset().raw() == 0 || (l2.zero() && !g_.extended_l2())) {
      // Nothing here: the backing file's content, or zeros.
      if (l2.word == 0 && draft_.verdict().backing_name) return false;
      std::ranges::fill(piece, std::byte{0});
    } else {
      if (!g_.aligned(l2.offset()) || l2.offset().raw() >= draft_.image().size() ||
          draft_.image().read(l2.offset().raw() + inner, piece).os_error != 0)
        return false;
      if (g_.extended_l2())
        for (std::size_t i = 0; i < piece.size(); ++i) {
          const std::uint64_t bit = (inner + i) / g_.subcluster_size();
          if ((found.subclusters >> bit & 1) != 0) continue;
          if ((found.subclusters >> (32 + bit) & 1) == 0 && draft_.verdict().backing_name) return false;
          piece[i] = std::byte{0};
        }
    }
    into = into.subspan(piece.size());
    offset += piece.size();
  }
  return true;
}

}  // namespace cowvet::repair
