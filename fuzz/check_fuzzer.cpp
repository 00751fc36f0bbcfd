// The whole check, plain and with --deep, on any sparse file. Promises: it ends with a verdict whatever the file holds,
// says the same a second time, and hands on its findings in order. The mutator knows the format's structures.
#include <algorithm>

#include "analyzer/check.hpp"
#include "fuzz/mutator.hpp"
#include "fuzz/require.hpp"
#include "fuzz/sparse_device.hpp"

namespace cowvet::fuzz {
namespace {

constexpr std::size_t kept_per_rule = 20;

analyzer::Verdict checked(const storage::Device& device, bool deep) {
  findings::Collector collector(kept_per_rule);
  base::Progress progress;
  analyzer::Options options;
  options.deep = deep;
  options.jobs = 1;
  auto verdict = analyzer::check(device, options, collector, progress);
  require(verdict.has_value(), "a check ends with a verdict");
  return *std::move(verdict);
}

void check(base::ConstBytes input) {
  const SparseDevice device(input);
  // One input in four is checked again: that costs as much as looking at another one.
  unsigned sum = 0;
  for (const std::byte b : input.first(std::min<std::size_t>(input.size(), 4096)))
    sum += std::to_integer<unsigned>(b);
  for (const bool deep : {false, true}) {
    const auto first = checked(device, deep);
    require(std::ranges::is_sorted(first.findings), "findings are sorted");
    if (sum % 4 != 0) continue;
    const auto second = checked(device, deep);
    require(first.summary == second.summary, "the same image gives the same counts");
    require(first.findings == second.findings, "the same image gives the same findings");
  }
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::check({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room,
                                               unsigned seed) {
  return cowvet::fuzz::mutate_image(data, size, room, seed);
}
