#include "format/snapshot.hpp"

#include <algorithm>
#include <limits>

#include "format/extensions.hpp"

namespace cowvet::format {

std::optional<std::uint64_t> Snapshot::extra_field(std::size_t offset) const {
  if (extra.size() < offset + 8) return std::nullopt;
  auto bytes = base::prefix<8>(base::ConstBytes(extra).subspan(offset));
  return base::load_be<std::uint64_t, 0>(*bytes);
}

std::uint64_t Snapshot::vm_state_size() const { return extra_field(0).value_or(entry.vm_state_size); }

std::optional<std::uint64_t> Snapshot::disk_size_bytes() const { return extra_field(8); }

std::optional<std::uint64_t> Snapshot::icount() const {
  auto value = extra_field(16);
  if (value == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
  return value;
}

SnapshotStep parse_snapshot(base::ConstBytes rest, std::uint64_t position) {
  base::Cursor cursor{rest};
  SnapshotStep step;
  step.needed = disk_size<SnapshotEntry>;
  auto fixed = cursor.take(disk_size<SnapshotEntry>);
  if (!fixed) return step;
  Snapshot s;
  s.position = position;
  s.entry = decode<SnapshotEntry>(*base::prefix<disk_size<SnapshotEntry>>(*fixed));
  step.needed += std::uint64_t{s.entry.extra_data_size} + s.entry.id_size + s.entry.name_size;

  auto extra = cursor.take(s.entry.extra_data_size);
  if (!extra) return step;
  auto id = cursor.take(s.entry.id_size);
  if (!id) return step;
  auto name = cursor.take(s.entry.name_size);
  if (!name) return step;
  s.extra.assign(extra->begin(), extra->end());
  s.id = as_text(*id);
  s.name = as_text(*name);
  const auto pad = cursor.take(std::min<std::size_t>((8 - step.needed % 8) % 8, cursor.rest().size()));
  s.padding.assign(pad->begin(), pad->end());
  step.snapshot = std::move(s);
  return step;
}

std::vector<std::byte> encode_snapshot(const Snapshot& snapshot) {
  const auto fixed = encode(snapshot.entry);
  std::vector<std::byte> out(fixed.begin(), fixed.end());
  out.insert(out.end(), snapshot.extra.begin(), snapshot.extra.end());
  for (const auto& text : {snapshot.id, snapshot.name})
    for (char c : text) out.push_back(static_cast<std::byte>(c));
  out.insert(out.end(), snapshot.padding.begin(), snapshot.padding.end());
  return out;
}

}  // namespace cowvet::format
