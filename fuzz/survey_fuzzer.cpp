// The file systems of a guest's disk, parts of which are lost. Promises: whatever superblocks, trees and tables claim,
// the survey ends, in bounded time and memory; it tells only of places that are asked for, in order, and never
// twice of one; any bytes can be held against it.
#include <algorithm>
#include <vector>

#include "fuzz/require.hpp"
#include "fuzz/sparse_device.hpp"
#include "repair/guest_survey.hpp"

namespace cowvet::fuzz {
namespace {

// How an input opens: what is lost of the disk that the rest of it describes.
struct Loss {
  std::uint64_t unit;  // bytes that are found or lost together
  unsigned of, which;  // of so many units about one is lost; 0: the first alone

  explicit Loss(base::ConstBytes bytes)
      : unit(std::uint64_t{4096} << std::to_integer<unsigned>(bytes[0]) % 5),
        of(std::to_integer<unsigned>(bytes[1]) % 8),
        which(std::to_integer<unsigned>(bytes[2])) {}
  [[nodiscard]] bool takes(std::uint64_t number) const {
    return of == 0 ? number == 0 : (number * 0x9e3779b97f4a7c15ULL >> 32) % (of + 1) == which % (of + 1);
  }
};
constexpr std::size_t loss_bytes = 3;

class Disk final : public repair::GuestReader {
 public:
  Disk(const SparseDevice& device, const Loss& loss) : device_(device), loss_(loss) {}
  [[nodiscard]] std::uint64_t size() const override { return device_.size(); }
  [[nodiscard]] std::uint64_t unit() const override { return loss_.unit; }
  [[nodiscard]] bool read(std::uint64_t offset, base::MutableBytes into) const override {
    if (offset > size() || into.size() > size() - offset) return false;
    if (into.empty()) return true;
    for (std::uint64_t u = offset / loss_.unit; u <= (offset + into.size() - 1) / loss_.unit; ++u)
      if (loss_.takes(u)) return false;
    (void)device_.read(offset, into);
    return true;
  }

 private:
  const SparseDevice& device_;
  const Loss& loss_;
};

// The lost ones of the units that hold anything, and of the first ones.
std::vector<repair::Expectations::Window> windows_of(const SparseDevice& device, const Loss& loss) {
  constexpr std::uint64_t first_ones = 64;
  std::vector<repair::Expectations::Window> windows;
  std::uint64_t next = 0;  // unit
  const auto take = [&](std::uint64_t begin, std::uint64_t end) {
    for (next = std::max(next, begin); next < end; ++next)
      if (const std::uint64_t at = next * loss.unit; loss.takes(next) && at < device.size())
        windows.push_back({at, std::min(at + loss.unit, device.size())});
  };
  take(0, first_ones);
  for (std::uint64_t at = 0; at < device.size();) {
    const auto run = device.extent(at);
    if (!run.hole) take(run.begin / loss.unit, (run.end - 1) / loss.unit + 1);
    at = run.end;
  }
  return windows;
}

void survey(base::ConstBytes input) {
  if (input.size() < loss_bytes) return;
  const Loss loss(input);
  const SparseDevice device(input.subspan(loss_bytes));
  const Disk disk(device, loss);
  const auto windows = windows_of(device, loss);
  if (windows.empty()) return;
  repair::Expectations expectations(windows);
  repair::survey_guest(disk, expectations);

  std::uint64_t told = 0;
  expectations.for_each_check([&](const repair::Area& area, const repair::PlaceProof&) {
    require(told <= area.begin && area.begin < area.end, "no place is told of twice");
    told = area.end;
    require(expectations.wanted(area.begin, area.end), "only what is asked for is told");
  });
  std::vector<std::byte> bytes;
  for (const auto& window : windows) {
    bytes.resize(static_cast<std::size_t>(window.end - window.begin));
    (void)device.read(window.begin, bytes);
    const repair::Content content(bytes);
    (void)expectations.judge(window.begin, content);
    (void)expectations.judge(windows.front().begin, content);
    (void)expectations.proves(window.begin, window.end);
    require(expectations.oddity_of_nothing(window.begin, window.end, loss.unit) >= 0,
            "nothing is not less than odd");
  }
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::survey({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
