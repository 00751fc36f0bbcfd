// Other readings of a damaged image: a legal value of one header field that decides how everything else is read, and
// that contradicts everything else. Promises: a reading is proposed only when the refcount table speaks for it.
// Hands on: the readings worth a check of their own, and whether such a check explains the damage.
#pragma once
#include <cstdint>
#include <vector>

#include "analyzer/verdict.hpp"
#include "findings/finding.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

// The image with another value in one field: a finding about the field, and the value that it has in this reading.
struct Reading {
  findings::Finding finding;
  std::uint64_t value = 0;
  // The field's bytes on disk.
  [[nodiscard]] std::vector<std::byte> bytes() const;
};

// Whether so much is wrong that one field may be the reason.
[[nodiscard]] bool worth_other_readings(const Verdict& stored);
// The readings to try, as far as the image is small enough for further checks.
[[nodiscard]] std::vector<Reading> other_readings(const storage::Device& device, const Verdict& stored);
// Whether a reading leaves next to nothing of what is wrong with the image as it is stored.
[[nodiscard]] bool explains(const Verdict& reading, const Verdict& stored);
// Clusters for which something is wrong that the reading of the tables decides.
[[nodiscard]] std::uint64_t wrong_clusters(const Verdict& verdict);

}  // namespace cowvet::analyzer
