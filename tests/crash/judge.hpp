// What an image must be after a crash, or after an operation that failed. Promises: it opens, a check finds
// nothing above a leak, every sector is what was last flushed or was written since, snapshots are as before
// or after the operation; all that also after one more write, and after doing the operation again.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "tests/crash/operations.hpp"
#include "tests/crash/states.hpp"

namespace cowvet::crash {

using Snapshots = std::map<std::string, Bytes>;  // by id

struct Expected {
  std::vector<Bytes> contents;  // the disk as last flushed, and after each operation since
  Snapshots before, after;
};

[[nodiscard]] Bytes content(const engine::Disk& disk);
[[nodiscard]] Snapshots snapshots_of(const engine::Qcow2Disk& disk);

// What is wrong with a state as it was left, after one more write, and, with `again`, after the operation is
// done again; empty: nothing.
[[nodiscard]] std::string judge(const Configuration& configuration, const Operation& operation,
                                const Bytes& state, const Expected& expected, bool again);

}  // namespace cowvet::crash
