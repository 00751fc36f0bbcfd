// A repair of any sparse file, at each level, and again with a choice that its plan named, as a user would make it.
// Promises: the plan never objects to itself; what a check says afterwards is what the plan said; a second
// repair finds nothing to do; below --allow-loss no byte that could be read for certain is lost, and at the
// levels without a choice none reads otherwise; the engine reads no less than before; undo gives every byte
// back.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/check.hpp"
#include "engine/qcow2_disk.hpp"
#include "fuzz/mutator.hpp"
#include "fuzz/require.hpp"
#include "fuzz/sparse_device.hpp"
#include "repair/apply.hpp"
#include "repair/repair.hpp"
#include "repair/undo.hpp"
#include "storage/memory.hpp"

namespace cowvet::fuzz {
namespace {

using repair::Level;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t piece = 4096, most_read = 1 << 20;

// What the engine reads of the disk's first bytes, by pieces; nothing of those it can't read. Nothing at all where it
// refuses the image, or where other files hold a part of it.
std::vector<std::optional<Bytes>> disk_content(storage::Device& device) {
  std::vector<std::optional<Bytes>> pieces;
  const auto disk = engine::Qcow2Disk::open(device, {});
  if (!disk) return pieces;
  for (std::uint64_t at = 0; at < std::min((*disk)->size(), most_read); at += piece) {
    Bytes bytes(static_cast<std::size_t>(std::min(piece, (*disk)->size() - at)));
    const auto read = (*disk)->read(base::GuestOffset{at}, bytes);
    pieces.push_back(read ? std::optional(std::move(bytes)) : std::nullopt);
  }
  return pieces;
}

// What could be read for certain: a place that leads to metadata shows bytes too, and they are nobody's.
void compare_content(const std::vector<std::optional<Bytes>>& before,
                     const std::vector<std::optional<Bytes>>& after, const repair::Proof& proof) {
  if (before.empty()) return;
  require(after.size() >= before.size(), "the engine opens what it opened before, and it is not smaller");
  for (const auto* ranges : {&proof.changed, &proof.improved, &proof.settled, &proof.unreadable}) {
    std::uint64_t listed = 0;
    for (const auto& range : ranges->list) listed += range.length;
    if (listed != ranges->bytes) return;  // there are more
  }
  const auto certain = [&](std::uint64_t begin, std::uint64_t end) {
    for (const auto* ranges : {&proof.changed, &proof.improved, &proof.settled, &proof.unreadable})
      for (const auto& range : ranges->list)
        if (range.snapshot.empty() && range.begin.raw() < end && begin < range.begin.raw() + range.length)
          return false;
    return true;
  };
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i] && certain(i * piece, (i + 1) * piece))
      require(before[i] == after[i], "the engine reads what it read before");
}

// Both hold the same bytes: of `image`, only what was ever written may differ.
void require_same(const storage::Overlay& image, const storage::Device& was) {
  require(image.size() == was.size(), "undo gives the length back");
  Bytes now(64 << 10), then(64 << 10);
  for (const auto& range : image.changes())
    for (auto at = range.begin; at < range.end;) {
      const auto here = image.extent(at), there = was.extent(at);
      if (here.hole && there.hole) {
        at = std::min(here.end, there.end);
        continue;
      }
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(range.end - at, now.size()));
      (void)image.Device::read(at, std::span(now).first(length));
      (void)was.Device::read(at, std::span(then).first(length));
      require(std::ranges::equal(std::span(now).first(length), std::span(then).first(length)),
              "undo gives every byte back");
      at += length;
    }
}

// The same counts; told rule by rule where they are not, since nothing else shows what is behind it. Which zeros are
// holes is the file system's business: what was written and is zeros again is one in the file.
void require_same_findings(const findings::Summary& said, const findings::Summary& is) {
  using namespace findings::literals;
  bool same = true;
  for (std::size_t i = 0; i < findings::rule_count; ++i) {
    const auto rule = findings::RuleId::from_index(i);
    if (rule == "file/metadata-hole"_rule || rule == "compressed/payload-hole"_rule ||
        (said.by_rule[i] == is.by_rule[i] && said.gravest[i] == is.gravest[i]))
      continue;
    same = false;
    std::fprintf(stderr, "%s: said %llu, is %llu\n", std::string(rule->name).c_str(),
                 static_cast<unsigned long long>(said.by_rule[i].findings),
                 static_cast<unsigned long long>(is.by_rule[i].findings));
  }
  require(same, "the check says afterwards what the plan said");
}

// The first of what the plan lets a user choose.
std::optional<repair::Choice> first_choice(const repair::Plan& plan) {
  std::optional<repair::Choice> choice;
  const auto look = [&](const auto& steps) {
    for (const auto& step : steps)
      for (const auto& place : step.places)
        if (!choice && !place.candidates.empty())
          choice = {place.candidates.front().where, place.candidates.front().to};
  };
  look(plan.actions);
  look(plan.withheld);
  return choice;
}

void repaired(const storage::Device& device, const repair::Options& options) {
  base::Progress progress;
  const auto planned = repair::plan_repair(device, options, progress);
  if (!planned) {
    require(planned.error().kind != base::ErrorKind::cancelled, "nobody stopped the repair");
    return;
  }
  const auto& plan = planned->plan;
  if (const auto choice = options.choices.empty() ? first_choice(plan) : std::nullopt) {
    auto chosen = options;
    chosen.choices = {*choice};
    repaired(device, chosen);
  }
  // A plan that objects to itself is not carried out: nothing is harmed.
  if (!plan.objection.empty() || !plan.changes_anything()) return;
  if (plan.proof && !options.allow_loss) {
    require(plan.proof->lost.empty() && plan.proof->layers_gone.empty(),
            "nothing that could be read is lost");
    if (options.level != Level::all && options.choices.empty())
      require(plan.proof->changed.empty(), "what could be read reads the same");
  }

  storage::Overlay image(device);
  const auto content = disk_content(image);
  storage::MemoryDevice undo;
  const auto applied = repair::apply(image, planned->draft->image(), undo, {}, {}, progress);
  require(applied.has_value(), "the plan is carried out");
  if (plan.proof && options.level != Level::all) compare_content(content, disk_content(image), *plan.proof);

  // The second repair looks at the bytes alone: what it says of them is what the first one said.
  const auto again = repair::plan_repair(image, options, progress);
  require(again.has_value(), "a repaired image can be planned for");
  require_same_findings(plan.after.summary, again->plan.before.summary);
  require(!again->plan.changes_anything() || !again->plan.objection.empty(),
          "a second repair finds nothing to do");

  if (!applied->changed) return;
  require(repair::undo(image, undo, repair::Force::no, progress).has_value(), "undo succeeds");
  require_same(image, device);
}

void each_level(base::ConstBytes input) {
  const SparseDevice device(input);
  unsigned sum = 0;
  for (const std::byte b : input.first(std::min<std::size_t>(input.size(), 4096)))
    sum += std::to_integer<unsigned>(b);
  constexpr std::pair<Level, bool> levels[] = {
      {Level::lossless, false}, {Level::leaks, false}, {Level::all, false}, {Level::all, true}};
  const auto [level, allow_loss] = levels[sum % std::size(levels)];
  repaired(device, {.level = level, .allow_loss = allow_loss, .jobs = 1});
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::each_level({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t room,
                                               unsigned seed) {
  return cowvet::fuzz::mutate_image(data, size, room, seed);
}
