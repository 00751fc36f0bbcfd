// Everything that can be had of any sparse file: its layers in a new image, and the disks that it held once. Promises:
// each layer's map has no gap, and what it calls lost is zeros in the copy; a check finds nothing wrong with the
// copy; of a carved disk nothing that is said to be intact lies in metadata that is used.
#include <cstdio>
#include <string>
#include <vector>

#include "analyzer/check.hpp"
#include "engine/create.hpp"
#include "engine/qcow2_disk.hpp"
#include "fuzz/mutator.hpp"
#include "fuzz/require.hpp"
#include "fuzz/sparse_device.hpp"
#include "repair/carve.hpp"
#include "repair/salvage.hpp"
#include "repair/understood.hpp"
#include "storage/memory.hpp"

namespace cowvet::fuzz {
namespace {

constexpr std::uint64_t longest = 4 << 20;  // bytes of a layer that is copied: it is all in memory
constexpr std::uint64_t most_fragments = 1 << 16;

void lost_is_zeros(const engine::Qcow2Disk& copy, const repair::LayerMap& map) {
  std::vector<std::byte> bytes;
  for (const auto& range : map.ranges()) {
    if (range.fate != repair::Fate::lost) continue;
    bytes.resize(static_cast<std::size_t>(range.end - range.begin));
    require(copy.read(base::GuestOffset{range.begin}, bytes).has_value(), "the copy can be read");
    require(base::all_zero(bytes), "what is lost is zeros in the copy");
  }
}

void salvaged(const storage::Device& device) {
  base::Progress progress;
  const auto understood = repair::Understood::open(device, {.jobs = 1}, progress);
  if (!understood || (*understood)->encrypted()) return;
  const auto& best = (*understood)->best();
  for (const auto& layer : best.layers())
    if (layer.end > longest) return;
  storage::MemoryDevice memory;
  const std::uint64_t size = base::round_up(best.layers().front().size, 512).value_or(0);
  require(engine::create_qcow2(memory, nullptr, {.size = size}, progress).has_value(), "a copy can be made");
  {
    const auto copy = engine::Qcow2Disk::open(memory, {.writable = true});
    require(copy.has_value(), "what was made can be opened");
    const auto layers =
        repair::salvage_all((*understood)->readable(), **copy, {.target_backed = false, .jobs = 1}, progress);
    require(layers.has_value(), "what can be read is copied");
    require(layers->size() == best.layers().size(), "every layer is copied");
    for (const auto& layer : *layers) {
      std::uint64_t at = 0;
      for (const auto& range : layer.map.ranges()) {
        require(range.begin == at && range.begin < range.end, "a layer's map has no gap");
        at = range.end;
      }
      require(at == layer.layer.size, "a layer's map tells of the whole disk");
    }
    lost_is_zeros(**copy, layers->front().map);
    require((*copy)->close().has_value(), "the copy can be finished");
  }
  findings::Collector findings(16);
  const auto verdict = analyzer::check(memory, {.jobs = 1}, findings, progress);
  require(verdict.has_value(), "the copy can be checked");
  for (const auto& finding :
       verdict->findings) {  // snapshots may still be strange in what they say of themselves
    if (finding.severity < findings::Severity::leak) continue;
    std::fprintf(stderr, "%s: %s\n", std::string(finding.rule->name).c_str(), finding.where.c_str());
    require(false, "a check finds nothing wrong with the copy");
  }
}

void carved(const storage::Device& device) {
  base::Progress progress;
  const auto carving = repair::Carving::run(device, progress);
  if (!carving) return;
  const auto& view = (*carving)->view();
  for (const auto& disk : (*carving)->disks()) {
    require(disk.confidence() >= 0 && disk.confidence() <= 1, "a confidence lies between 0 and 1");
    const auto judge = (*carving)->judge();
    std::uint64_t pieces = 0;
    view.visit(disk.layer, [&](const repair::Piece& piece) {
      for (repair::Piece rest = piece; rest.length != 0;) {
        const auto part = judge(rest);
        require(part.begin == rest.begin && part.length != 0 && part.length <= rest.length,
                "a judgement is of the piece's beginning");
        require(part.kind != repair::Piece::Kind::data || !part.why.empty() || !view.owned(part.host),
                "nothing that is said to be intact lies in metadata that is used");
        rest.begin += part.length;
        rest.length -= part.length;
        rest.host += rest.kind == repair::Piece::Kind::data ? part.length : 0;
        if (++pieces > most_fragments) return false;
      }
      return true;
    });
  }
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const cowvet::fuzz::SparseDevice device({reinterpret_cast<const std::byte*>(data), size});
  cowvet::fuzz::salvaged(device);
  cowvet::fuzz::carved(device);
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room,
                                               unsigned seed) {
  return cowvet::fuzz::mutate_image(data, size, room, seed);
}
