// The steps of a copy, in the order of the disk. Promises: every byte of the source belongs to exactly one
// step; data comes in pieces of bounded length; where whole units are asked for, no step but the last ends
// within one.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "engine/copy_source.hpp"

namespace cowvet::engine {

struct CopyStep {
  CopyRun::Kind kind = CopyRun::Kind::data;
  std::uint64_t at = 0, length = 0;  // bytes
};

class CopyPlan {
 public:
  // What could not be looked at, and is to be zeros in the target.
  using Lost = std::function<void(std::uint64_t at, std::uint64_t length, const base::Error& why)>;

  // `unit` is what the target can't split, `piece` the most data of a step: both powers of two. With
  // `write_zeros`, zeros are data like any other. Without `lost`, what can't be looked at is an error.
  CopyPlan(CopySource& source, std::uint64_t unit, std::uint64_t piece, bool write_zeros, Lost lost)
      : source_(source), unit_(unit), piece_(piece), write_zeros_(write_zeros), lost_(std::move(lost)) {}

  // Nothing at the end.
  [[nodiscard]] base::Result<std::optional<CopyStep>> next();

 private:
  [[nodiscard]] base::Result<CopyRun> look(std::uint64_t at, std::uint64_t most);
  [[nodiscard]] base::Result<CopyRun> units(std::uint64_t at, std::uint64_t most);

  CopySource& source_;
  std::uint64_t unit_, piece_;
  bool write_zeros_;
  Lost lost_;
  std::uint64_t at_ = 0;
  CopyRun ahead_ = {CopyRun::Kind::data,
                    0};  // what was found behind the last step; its length is 0 where nothing was
};

}  // namespace cowvet::engine
