// What the engine shows of a chain, compared with the model. Each function says where the first difference is; nothing
// for none.
#pragma once
#include <optional>
#include <string>

#include "engine/disk.hpp"
#include "model/examine.hpp"

namespace cowvet::model {

[[nodiscard]] bool same(base::ConstBytes a, base::ConstBytes b);
// Whether the disk reads as `state` says.
[[nodiscard]] std::optional<std::string> compare_content(const engine::Disk& disk, const State& state);
// Whether what the disk says of its extents fits: held pieces, zeros.
[[nodiscard]] std::optional<std::string> compare_extents(const engine::Disk& disk, const State& state,
                                                         std::uint64_t piece);
// All that an image shows of itself: its disk, snapshots and bitmaps. `extents`: what it holds too, which is each
// program's own choice where the guest can't tell.
[[nodiscard]] std::optional<Disagreement> compare(const engine::Qcow2Disk& disk, const Layer& layer,
                                                  bool extents = true);
// A raw data file alone is the disk.
[[nodiscard]] std::optional<Disagreement> compare_data_file(base::ConstBytes file, const Layer& layer);

}  // namespace cowvet::model
